/** A function's name as people say it: whole when hovered, and whole when it is copied. */
import { plainName } from "../profile/names";

/** Where [`copyWholeNames`] finds the whole name. */
const WHOLE = "data-whole";

export function Name({ of: name }: { of: string }) {
  return (
    <span title={name} {...{ [WHOLE]: name }}>
      {breakable(plainName(name))}
    </span>
  );
}

/** Lets long paths wrap after `::`. */
export function breakable(name: string) {
  return name.split(/(?<=::|\/)/).flatMap((part, i) => (i === 0 ? [part] : [<wbr key={i} />, part]));
}

/** Puts whole names on the clipboard where what is selected shows them in full, but plain. */
export function copyWholeNames(): void {
  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    if (!selection || selection.rangeCount === 0 || !event.clipboardData) return;
    const text = wholeText(selection.getRangeAt(0));
    if (text === null) return;
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  });
}

function wholeText(range: Range): string | null {
  const { commonAncestorContainer: ancestor } = range;
  const within = (ancestor instanceof Element ? ancestor : ancestor.parentElement)?.closest(`[${WHOLE}]`);
  // A part of a name is copied as that part.
  if (within) return range.toString() === within.textContent ? within.getAttribute(WHOLE) : null;
  const shown = [...range.cloneContents().querySelectorAll(`[${WHOLE}]`)];
  const names = shown.map((el): [string, string] => [el.textContent, el.getAttribute(WHOLE)!]);
  return names.length === 0 ? null : withWhole(String(getSelection()), names);
}

/** `text` with each plain name, in order, replaced by its whole one. Pure. */
export function withWhole(text: string, names: readonly (readonly [plain: string, whole: string])[]): string {
  let out = "";
  let rest = text;
  for (const [plain, whole] of names) {
    const at = rest.indexOf(plain);
    if (at < 0 || plain !== plainName(whole)) continue;
    out += rest.slice(0, at) + whole;
    rest = rest.slice(at + plain.length);
  }
  return out + rest;
}

/** `text` with the whole names in it said plain. Pure. */
export function withPlain(text: string, names: readonly string[]): string {
  return cutAtNames(text, names)
    .map((part) => (part.isName ? plainName(part.text) : part.text))
    .join("");
}

/** `text` cut at the whole names in it, which are to be shown plain. Pure. */
export function cutAtNames(text: string, names: readonly string[]): { text: string; isName: boolean }[] {
  const out: { text: string; isName: boolean }[] = [];
  let rest = text;
  for (;;) {
    let best: [at: number, name: string] | null = null;
    for (const name of names) {
      const at = name === "" ? -1 : rest.indexOf(name);
      // Of two that begin here, the longer one is meant.
      if (at >= 0 && (!best || at < best[0] || (at === best[0] && name.length > best[1].length))) best = [at, name];
    }
    if (!best) break;
    if (best[0] > 0) out.push({ text: rest.slice(0, best[0]), isName: false });
    out.push({ text: best[1], isName: true });
    rest = rest.slice(best[0] + best[1].length);
  }
  if (rest !== "") out.push({ text: rest, isName: false });
  return out;
}
