/** Light, dark or as the system says; what was chosen is remembered on this device. */
import { computed, signal } from "@preact/signals";
import { remember, remembered, watchRemembered } from "./remembered";

export type Theme = "auto" | "light" | "dark";
const KEY = "theme";
const THEMES: readonly [Theme, ...Theme[]] = ["auto", "light", "dark"];

const systemDark = signal(false);
const forced = signal(false);
export const theme = signal<Theme>("auto");
export const isDark = computed(() => (theme.value === "auto" ? systemDark.value : theme.value === "dark"));
/** The system owns the colours (Windows high contrast and the like). */
export const forcedColours = computed(() => forced.value);

export function chooseTheme(next: Theme): void {
  use(next);
  remember(KEY, next);
}

export function watchTheme(): void {
  follow("(prefers-color-scheme: dark)", systemDark);
  follow("(forced-colors: active)", forced);
  const asRemembered = () => use(remembered(KEY, THEMES));
  asRemembered();
  watchRemembered(KEY, asRemembered);
}

function follow(query: string, into: { value: boolean }): void {
  const media = matchMedia(query);
  into.value = media.matches;
  media.addEventListener("change", () => {
    into.value = media.matches;
  });
}

function use(t: Theme): void {
  theme.value = t;
  if (t === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
}

export function reducedMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
