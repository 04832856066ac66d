/** Choices that are remembered on this device. Private windows may refuse storage: a choice then lasts as long as the page. */

const PREFIX = "tephra.";

/** What was chosen for `key`, if it is one of `allowed`; else the first of these. */
export function remembered<T extends string>(key: string, allowed: readonly [T, ...T[]]): T {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return allowed.find((choice) => choice === text) ?? allowed[0];
  } catch {
    return allowed[0];
  }
}

/** Remembers `choice` for `key`. */
export function remember(key: string, choice: string): void {
  try {
    localStorage.setItem(PREFIX + key, choice);
  } catch {
    // See above.
  }
}

/** Calls back when another tab changes what is remembered for `key`. */
export function watchRemembered(key: string, changed: () => void): void {
  addEventListener("storage", (event) => {
    if (event.key === PREFIX + key || event.key === null) changed();
  });
}
