/** Text in boxes: measured once per character, shortened where it says least. */

/** Widths of a font's characters in CSS pixels; measuring each label would cost more than drawing it. */
export class GlyphWidths {
  private readonly ascii = new Float32Array(128);
  private readonly other = new Map<string, number>();

  constructor(private readonly ctx: CanvasRenderingContext2D) {
    for (let c = 32; c < 127; c++) this.ascii[c] = ctx.measureText(String.fromCharCode(c)).width;
  }

  of(text: string): number {
    let width = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      width += c < 128 ? this.ascii[c]! : this.wide(text[i]!);
    }
    return width;
  }

  /** The longest start of `text` that fits, with an ellipsis if it was cut; "" if not even two characters fit. */
  fit(text: string, room: number): string {
    if (this.of(text) <= room) return text;
    let width = this.wide("…");
    let n = 0;
    for (; n < text.length; n++) {
      const c = text.charCodeAt(n);
      width += c < 128 ? this.ascii[c]! : this.wide(text[n]!);
      if (width > room) break;
    }
    return n < 2 ? "" : `${text.slice(0, n)}…`;
  }

  private wide(char: string): number {
    let w = this.other.get(char);
    if (w === undefined) {
      w = this.ctx.measureText(char).width;
      this.other.set(char, w);
    }
    return w;
  }
}

/** Without hashes and type arguments: `<A as core::B<C>>::f::h0123456789abcdef` → `<A as core::B>::f`. */
export function tidyName(name: string): string {
  const bare = name.replace(/::h[0-9a-f]{16}$/, "");
  let out = "";
  let depth = 0;
  for (let i = 0; i < bare.length; i++) {
    const c = bare[i]!;
    // A `<` at the start of a path is `<T as Trait>`; elsewhere it opens type arguments.
    if (c === "<" && (depth > 0 || (i > 0 && /[\w:]/.test(bare[i - 1]!)))) depth++;
    else if (c === ">" && depth > 0 && bare[i - 1] !== "-") depth--;
    else if (depth === 0) out += c;
  }
  return depth === 0 ? out.replace(/::(?=::)/g, "").replace(/::$/, "") : bare;
}

/** The last segment, with its owner if it is a method: `a::b::C::f` → `C::f`, `a::b::f` → `f`. */
export function shortName(name: string): string {
  const tidy = tidyName(name);
  const segments = splitPath(tidy);
  const last = segments.at(-1)!;
  const owner = segments.at(-2);
  if (owner === undefined) return tidy;
  return last.startsWith("{") || /^[A-Z<]/.test(owner) ? `${shortOwner(owner)}::${last}` : last;
}

/** `<alloc::vec::Vec as Clone>` → `Vec`. */
function shortOwner(owner: string): string {
  const impl = /^<(.+?)(?: as .+)?>$/.exec(owner);
  return impl ? impl[1]!.slice(impl[1]!.lastIndexOf(":") + 1) : owner;
}

/** Splits on `::` outside angle brackets. */
function splitPath(path: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < path.length; i++) {
    const c = path[i];
    if (c === "<") depth++;
    else if (c === ">") depth--;
    else if (c === ":" && path[i + 1] === ":" && depth === 0) {
      out.push(path.slice(start, i));
      start = i + 2;
      i++;
    }
  }
  out.push(path.slice(start));
  return out.filter((s) => s !== "");
}
