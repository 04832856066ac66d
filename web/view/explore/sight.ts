/** What is chosen lands in sight: the pane scrolls, the page scrolls, and a box too thin to see is zoomed to. */
import { signal } from "@preact/signals";
import type { FlameCanvas } from "../flame/FlameCanvas";
import { BY_NAME, setParams } from "../state/location";

/** Grows whenever something is to be brought into sight that may be chosen already. */
export const sought = signal(0);

/** Selects a function by name, wherever the graph has it, and shows it there. */
export function chooseFunction(name: string): void {
  setParams({ fn: name, sel: BY_NAME, view: null, focus: null, z: null });
  sought.value++;
}

/** Between a box and the edge of what can be seen, in CSS pixels. */
const MARGIN = 8;

/** Scrolls page and pane until `node` can be seen, above a sheet that lies over the page. */
export function bringIntoSight(canvas: FlameCanvas, node: number, zoom: boolean): void {
  const seen = canvas.reveal(node, zoom);
  if (!seen) return;
  const [ceiling, floor] = [MARGIN, innerHeight - sheetHeight() - MARGIN];
  if (seen.top >= ceiling && seen.bottom <= floor) return;
  // With the whole graph above it where there is room, else as near to its top as possible.
  const wanted = Math.max(seen.paneTop, seen.bottom - (floor - ceiling));
  scrollBy({ top: Math.min(wanted, seen.top) - ceiling, behavior: "instant" });
}

/** How much of the screen the details cover, as they do on phones. */
function sheetHeight(): number {
  const sheet = document.querySelector(".details:not(.is-empty)");
  return sheet && getComputedStyle(sheet).position === "fixed" ? sheet.getBoundingClientRect().height : 0;
}

/** Calls `then` once what was just rendered is laid out; returns what calls it off. */
export function afterLayout(then: () => void): () => void {
  let frame = requestAnimationFrame(() => {
    frame = requestAnimationFrame(then);
  });
  return () => cancelAnimationFrame(frame);
}
