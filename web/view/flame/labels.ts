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
