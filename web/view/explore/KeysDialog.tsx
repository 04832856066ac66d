/** The key sheet. The browser alone knows whether it is open: a copy of that would lag behind quick fingers. */
const ID = "keys";

/** In the order of the sheet; what the keys do is in `keys.ts`. */
const KEY_SHEET: readonly [string, string][] = [
  ["↑ ↓ ← →", "caller, widest callee, previous and next in the row"],
  ["Enter", "focus the selected frame"],
  ["Backspace", "back"],
  ["Esc", "clear one level: search, focus, zoom, selection"],
  ["+ − 0", "zoom in, out, reset"],
  ["w a s d", "zoom and pan"],
  ["/", "search; n and N step through matches"],
  ["1 … 6", "views"],
  ["f p h x o >", "focus, pivot, hide, without, only with, start at the selected frame"],
  ["F", "type a filter; u takes the last change of the filters back"],
  ["t", "hide the towers of runtimes and servers, or show them"],
  [". ,", "next and previous significant change"],
  ["r", "swap A and B (comparison)"],
  ["m", "menu of the selected frame"],
  ["y", "copy the link to this view"],
];

/** Opens the sheet. */
export function showKeys(): void {
  const sheet = document.getElementById(ID) as HTMLDialogElement | null;
  if (!sheet?.open) sheet?.showModal();
}

export function KeysDialog() {
  return (
    <dialog id={ID} class="sheet" aria-label="Keyboard shortcuts">
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
