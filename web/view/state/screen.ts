/** What the device says: its width, its colours, how much may move. */
import { type Signal, signal } from "@preact/signals";

/** As wide as a phone; tables become cards. The same width is in the style sheets. */
export const isNarrow = signal(false);
export const systemDark = signal(false);
/** The system owns the colours (Windows high contrast and the like). */
export const forcedColours = signal(false);

/** Follows the device from now on. */
export function watchScreen(): void {
  follow("(max-width: 640px)", isNarrow);
  follow("(prefers-color-scheme: dark)", systemDark);
  follow("(forced-colors: active)", forcedColours);
}

function follow(query: string, into: Signal<boolean>): void {
  const media = matchMedia(query);
  into.value = media.matches;
  media.addEventListener("change", () => {
    into.value = media.matches;
  });
}

export function reducedMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
