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
    .map((part) => (part.name === null ? part.text : plainName(part.name)))
    .join("");
}

/** `text` cut at the names in it, whole or as they are said; `name` is the whole one of such a part. Pure. */
export function cutAtNames(text: string, names: readonly string[]): { text: string; name: string | null }[] {
  const forms = names
    .filter((name) => name !== "")
    .flatMap((name): [form: string, name: string][] => [
      [name, name],
      [plainName(name), name],
    ]);
  const out: { text: string; name: string | null }[] = [];
  let done = 0;
  for (let at = 0; at < text.length; at++) {
    const here = forms.filter(([form]) => text.startsWith(form, at) && standsAlone(text, at, form.length));
    if (here.length === 0) continue;
    // Of several that begin here, the longest is meant.
    const [form, name] = here.reduce((x, y) => (y[0].length > x[0].length ? y : x));
    if (at > done) out.push({ text: text.slice(done, at), name: null });
    out.push({ text: form, name });
    done = at + form.length;
    at = done - 1;
  }
  if (done < text.length) out.push({ text: text.slice(done), name: null });
  return out;
}

/** `main` is no name within `remains`. */
function standsAlone(text: string, at: number, length: number): boolean {
  return !/[\w:]/.test(text[at - 1] ?? "") && !/\w/.test(text[at + length] ?? "");
}
