/** A line that says that something was done, and goes by itself. */
import { signal } from "@preact/signals";

const SHOWN_MS = 2500;

const text = signal("");
let timer = 0;

/** Says `words`, to eyes and to screen readers. */
export function say(words: string): void {
  text.value = words;
  clearTimeout(timer);
  timer = window.setTimeout(() => {
    text.value = "";
  }, SHOWN_MS);
}

/** Puts `content` on the clipboard and says so; or says why not. */
export function copy(content: string, what: string): void {
  const refused = () => say(`${what} not copied: this browser allows it only over HTTPS`);
  if (navigator.clipboard) navigator.clipboard.writeText(content).then(() => say(`${what} copied`), refused);
  else refused();
}

export function Toast() {
  return (
    <div class={`toast${text.value === "" ? "" : " is-on"}`} role="status" aria-live="polite" data-testid="toast">
      {text.value}
    </div>
  );
}
