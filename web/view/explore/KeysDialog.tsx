/** The key sheet. */
import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { KEY_SHEET } from "./keys";

export function KeysDialog({ open }: { open: Signal<boolean> }) {
  const ref = useRef<HTMLDialogElement>(null);
  const wanted = open.value;
  useEffect(() => {
    if (wanted && !ref.current!.open) ref.current!.showModal();
  }, [wanted]);
  return (
    <dialog ref={ref} class="sheet" aria-label="Keyboard shortcuts" onClose={() => (open.value = false)}>
      <form method="dialog">
        <h2>Keys</h2>
        <dl class="keys">
          {KEY_SHEET.map(([keys, does]) => (
            <div key={keys}>
              <dt>{keys.split(" ").map((k) => (/^[…]$|^and$/.test(k) ? ` ${k} ` : <kbd key={k}>{k}</kbd>))}</dt>
              <dd>{does}</dd>
            </div>
          ))}
        </dl>
        <p class="quiet">
          Wheel scrolls, Ctrl-wheel or pinch zooms, drag pans, double click focuses, right click opens the menu.
        </p>
        <button type="submit" class="button">
          Close
        </button>
      </form>
    </dialog>
  );
}
