/** A button with a panel under it; closes on Escape, on a click outside and after a choice. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export function Popover({
  label,
  children,
  testId,
  align = "end",
}: {
  label: ComponentChildren;
  children: ComponentChildren;
  testId?: string;
  align?: "start" | "end";
}) {
  const ref = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (e: Event) => {
      if (ref.current?.open && !ref.current.contains(e.target as Node)) ref.current.open = false;
    };
    addEventListener("pointerdown", close);
    return () => removeEventListener("pointerdown", close);
  }, []);
  return (
    <details
      ref={ref}
      class={`popover is-${align}`}
      data-testid={testId}
      onKeyDown={(e) => {
        if (e.key !== "Escape" || !ref.current?.open) return;
        e.stopPropagation();
        ref.current.open = false;
        ref.current.querySelector("summary")?.focus();
      }}
    >
      <summary class="button">{label}</summary>
      <div class="popover-panel">{children}</div>
    </details>
  );
}
