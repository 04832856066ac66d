/** Pointer, wheel and touch on the graph, as the few things they mean. */

export interface GestureEvents {
  tap(x: number, y: number): void;
  doubleTap(x: number, y: number): void;
  menu(x: number, y: number, clientX: number, clientY: number): void;
  hover(x: number, y: number, clientX: number, clientY: number): void;
  leave(): void;
  /** `factor` > 1 zooms in around pixel `x`. */
  zoom(x: number, factor: number): void;
  /** Positive moves the view right and down. */
  pan(dx: number, dy: number): void;
  canPan(): boolean;
}

/** A press that moves less is a click. */
const SLOP_PX = 4;

export class Gestures {
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private readonly off = new AbortController();
  private start: { x: number; y: number } | null = null;
  private dragging = false;
  private pinch = 0;

  constructor(
    private readonly el: HTMLElement,
    private readonly events: GestureEvents,
  ) {
    const on = <K extends keyof HTMLElementEventMap>(type: K, f: (e: HTMLElementEventMap[K]) => void, passive = true) =>
      el.addEventListener(type, f, { signal: this.off.signal, passive });
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", (e) => this.up(e));
    on("pointercancel", (e) => this.up(e, true));
    on("pointerleave", () => events.leave());
    on("wheel", (e) => this.wheel(e), false);
    on("dblclick", (e) => events.doubleTap(...this.local(e)));
    on(
      "contextmenu",
      (e) => {
        e.preventDefault();
        events.menu(...this.local(e), e.clientX, e.clientY);
      },
      false,
    );
  }

  destroy(): void {
    this.off.abort();
  }

  private local(e: { clientX: number; clientY: number }): [number, number] {
    const box = this.el.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  }

  private down(e: PointerEvent): void {
    // A press on the scroll bar is the scroller's.
    if (e.button !== 0 || this.local(e)[0] >= this.el.clientWidth) return;
    this.pointers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    this.start = { x: e.clientX, y: e.clientY };
    this.dragging = false;
    this.pinch = this.spread();
  }

  private move(e: PointerEvent): void {
    const before = this.pointers.get(e.pointerId);
    if (!before) {
      if (e.pointerType !== "touch") this.events.hover(...this.local(e), e.clientX, e.clientY);
      return;
    }
    const now = { x: e.clientX, y: e.clientY };
    this.pointers.set(e.pointerId, now);
    if (this.pointers.size === 2) {
      this.pinching(e);
      return;
    }
    if (!this.dragging && this.start && Math.hypot(now.x - this.start.x, now.y - this.start.y) < SLOP_PX) return;
    if (!this.dragging) {
      this.dragging = true;
      this.events.leave();
      if (this.events.canPan()) this.el.setPointerCapture(e.pointerId);
    }
    // Vertical touch panning is the scroller's own.
    const dy = e.pointerType === "touch" ? 0 : before.y - now.y;
    if (this.events.canPan() || dy !== 0) this.events.pan(before.x - now.x, dy);
  }

  private pinching(e: PointerEvent): void {
    const spread = this.spread();
    this.dragging = true;
    if (this.pinch > 0 && spread > 0) {
      const points = [...this.pointers.values()];
      const middle = { clientX: (points[0]!.x + points[1]!.x) / 2, clientY: e.clientY };
      this.events.zoom(this.local(middle)[0], spread / this.pinch);
    }
    this.pinch = spread;
  }

  private up(e: PointerEvent, cancelled = false): void {
    if (!this.pointers.delete(e.pointerId)) return;
    if (!this.dragging && !cancelled && this.pointers.size === 0) this.events.tap(...this.local(e));
    if (this.pointers.size === 0) this.dragging = false;
    this.pinch = 0;
  }

  private wheel(e: WheelEvent): void {
    const unit = e.deltaMode === 1 ? 16 : 1;
    if (e.ctrlKey || e.metaKey) {
      e.preventDefault();
      this.events.zoom(this.local(e)[0], Math.exp(-e.deltaY * unit * 0.004));
      return;
    }
    const dx = (e.shiftKey ? e.deltaY : e.deltaX) * unit;
    if (Math.abs(dx) > Math.abs(e.shiftKey ? 0 : e.deltaY) && this.events.canPan()) {
      e.preventDefault();
      this.events.pan(dx, 0);
    }
  }

  private spread(): number {
    const points = [...this.pointers.values()];
    return points.length === 2 ? Math.hypot(points[0]!.x - points[1]!.x, points[0]!.y - points[1]!.y) : 0;
  }
}
