/** Whose clock times are told by: this device's, or UTC, which everybody shares. Remembered on this device. */
import { signal } from "@preact/signals";
import { remember, remembered, watchRemembered } from "./remembered";

export type Zone = "local" | "utc";
const KEY = "zone";
const ZONES: readonly [Zone, ...Zone[]] = ["local", "utc"];

export const zone = signal<Zone>("local");

export function chooseZone(next: Zone): void {
  zone.value = next;
  remember(KEY, next);
}

/** Takes what was chosen before, here or in another tab. */
export function watchZone(): void {
  const asRemembered = () => {
    zone.value = remembered(KEY, ZONES);
  };
  asRemembered();
  watchRemembered(KEY, asRemembered);
}
