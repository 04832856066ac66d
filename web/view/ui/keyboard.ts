/** Whose keys are whose. */

/**
 * True when a key belongs to what it was pressed in: a field, a menu, an open dialog. A dialog that has just closed may hold
 * the focus until the next frame, and must not swallow keys meant for the page.
 */
export function ownsKeys(target: EventTarget | null): boolean {
  return (target as Element | null)?.closest?.("input, textarea, select, [role=menu], dialog[open]") != null;
}
