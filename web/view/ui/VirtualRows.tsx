/** A scroller that keeps only the rows in sight in the document; arrow keys move the active row. */
import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import * as fmt from "./format";

interface Props {
  count: number;
  rowPx: number;
  active: Signal<number>;
  label: string;
  row(index: number): ComponentChildren;
  onPick(index: number): void;
  onKey?(event: KeyboardEvent): void;
}

const OVERSCAN = 8;
/** Height of a row that is a card, as on phones: the name above its numbers. */
export const CARD_PX = 52;

export function VirtualRows({ count, rowPx, active, label, row, onPick, onKey }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = useSignal(600);
  useEffect(() => {
    const el = scroller.current!;
    const watch = new ResizeObserver(() => {
      height.value = el.clientHeight;
    });
    watch.observe(el);
    return () => watch.disconnect();
  }, []);
  const shown = active.value;
  useEffect(() => {
    const el = scroller.current!;
    const y = shown * rowPx;
    if (y < el.scrollTop) el.scrollTop = y;
    else if (y + rowPx > el.scrollTop + el.clientHeight) el.scrollTop = y + rowPx - el.clientHeight;
    // The focus travels with the active row, so that it is spoken.
    if (el.contains(document.activeElement))
      el.querySelector<HTMLElement>("[tabindex='0']")?.focus({ preventScroll: true });
  }, [shown]);
  const first = Math.max(0, Math.floor(top.value / rowPx) - OVERSCAN);
  const last = Math.min(count, Math.ceil((top.value + height.value) / rowPx) + OVERSCAN);
  const rows: ComponentChildren[] = [];
  for (let k = first; k < last; k++) rows.push(row(k));
  const activeShown = shown >= first && shown < last;
  const move = (to: number) => {
    active.value = Math.min(count - 1, Math.max(0, to));
    onPick(active.value);
  };
  const page = Math.max(1, Math.floor(height.value / rowPx) - 1);
  const steps: Record<string, number> = {
    ArrowDown: 1,
    ArrowUp: -1,
    PageDown: page,
    PageUp: -page,
    Home: -count,
    End: count,
  };
  return (
    <div
      ref={scroller}
      class="rows"
      role="rowgroup"
      aria-label={label}
      // Reached through its active row; by itself only while that row is out of sight.
      tabIndex={activeShown ? -1 : 0}
      onScroll={(e) => {
        top.value = e.currentTarget.scrollTop;
      }}
      onKeyDown={(e) => {
        const step = steps[e.key];
        if (step !== undefined && count > 0) {
          e.preventDefault();
          move(active.value + step);
        } else onKey?.(e);
      }}
    >
      <div class="rows-space" style={{ height: `${count * rowPx}px` }}>
        <div class="rows-shown" style={{ transform: `translateY(${first * rowPx}px)` }}>
          {rows}
        </div>
      </div>
    </div>
  );
}

/** A share as a number with a bar behind it, which fills the cell at `most`. */
export function ShareCell({ share, most = 1 }: { share: number; most?: number }) {
  return (
    <div role="gridcell" class="num share">
      <Bar share={share / most} />
      <span>{fmt.percent(share)}</span>
    </div>
  );
}

/** A share behind a number. */
export function Bar({ share }: { share: number }) {
  return <span class="bar" aria-hidden="true" style={{ width: `${Math.min(100, Math.max(0, share * 100))}%` }} />;
}
