/** Follows the time: asks again every few seconds while the page is in sight, until it is paused. */
import { useEffect } from "preact/hooks";
import { here, setParams } from "../state/location";
import type { Range } from "../state/time";
import { refresh } from "./selection";

/** As often as agents send windows. */
const EVERY_MS = 10_000;

/** Is the page to follow the time? */
export function isLive(): boolean {
  return here.value.params.get("live") === "1";
}

export function LiveButton({ range, fixed }: { range: Range; fixed: boolean }) {
  const live = isLive() && !fixed;
  useEffect(() => {
    if (!live) return;
    const timer = setInterval(() => document.visibilityState === "visible" && refresh(), EVERY_MS);
    return () => clearInterval(timer);
  }, [live]);
  const start = () => {
    refresh();
    // A range that stands still becomes one of the same length that ends now.
    const from = `now-${Math.max(60, Math.round((range.until - range.from) / 1000))}s`;
    setParams(fixed ? { live: "1", from, until: null, "tl.from": null, "tl.until": null, z: null } : { live: "1" });
  };
  return (
    <button
      type="button"
      class={`button live hide-narrow${live ? " is-on" : ""}`}
      aria-pressed={live}
      data-testid="live"
      title={live ? "Stop following the time" : "Follow the time, every 10 s"}
      onClick={live ? () => setParams({ live: null }, { replace: true }) : start}
    >
      {live ? "Pause" : "Live"}
    </button>
  );
}
