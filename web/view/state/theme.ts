/** Light, dark or as the system says; what was chosen is remembered on this device. */
import { computed, signal } from "@preact/signals";
import { remember, remembered, watchRemembered } from "./remembered";
import { systemDark } from "./screen";

export type Theme = "auto" | "light" | "dark";
const KEY = "theme";
const THEMES: readonly [Theme, ...Theme[]] = ["auto", "light", "dark"];

export const theme = signal<Theme>("auto");
export const isDark = computed(() => (theme.value === "auto" ? systemDark.value : theme.value === "dark"));
export function chooseTheme(next: Theme): void {
  use(next);
  remember(KEY, next);
}

export function watchTheme(): void {
  const asRemembered = () => use(remembered(KEY, THEMES));
  asRemembered();
  watchRemembered(KEY, asRemembered);
}

function use(t: Theme): void {
  theme.value = t;
  if (t === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
}
