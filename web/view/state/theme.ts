/** Light, dark or as the system says; what was chosen is remembered on this device. */
import { computed, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
const KEY = "tephra.theme";

function remembered(): Theme {
  try {
    const t = localStorage.getItem(KEY);
    return t === "light" || t === "dark" ? t : "auto";
  } catch {
    return "auto";
  }
}

const systemDark = signal(false);
const forced = signal(false);
export const theme = signal<Theme>("auto");
export const isDark = computed(() => (theme.value === "auto" ? systemDark.value : theme.value === "dark"));
/** The system owns the colours (Windows high contrast and the like). */
export const forcedColours = computed(() => forced.value);

export function chooseTheme(next: Theme): void {
  theme.value = next;
  apply(next);
  try {
    if (next === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // Private windows may refuse storage; the choice then lasts as long as the page.
  }
}

export function watchTheme(): void {
  follow("(prefers-color-scheme: dark)", systemDark);
  follow("(forced-colors: active)", forced);
  theme.value = remembered();
  apply(theme.value);
}

function follow(query: string, into: { value: boolean }): void {
  const media = matchMedia(query);
  into.value = media.matches;
  media.addEventListener("change", () => {
    into.value = media.matches;
  });
}

function apply(t: Theme): void {
  if (t === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
}

export function reducedMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
