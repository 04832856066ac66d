/** The frame of every page: where you are, the way to a trace, the theme. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { go, here, href } from "../state/location";
import { isNarrow } from "../state/screen";
import { chooseTheme, theme } from "../state/theme";
import { chooseZone, zone } from "../state/zone";
import * as fmt from "./format";
import { Popover } from "./Popover";
import { Toast } from "./toast";

export function Shell({ title, children, narrow }: { title: string; children: ComponentChildren; narrow?: boolean }) {
  useEffect(() => {
    document.title = title === "" ? "Tephra" : `${title} · Tephra`;
  }, [title]);
  const path = here.value.path;
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="top">
        <a class="brand" href="/" aria-label="Tephra, all services">
          <Mark />
          <span>Tephra</span>
        </a>
        <nav aria-label="Pages">
          <a href="/" aria-current={path === "/" ? "page" : undefined}>
            Services
          </a>
          <a href={href("/diff", { service: serviceHere() })} aria-current={path === "/diff" ? "page" : undefined}>
            Compare
          </a>
          <a href="/status" aria-current={path === "/status" ? "page" : undefined}>
            Status
          </a>
        </nav>
        {isNarrow.value ? (
          <Popover label="Trace" testId="trace-open">
            <TraceBox />
          </Popover>
        ) : (
          <TraceBox />
        )}
        <ZoneButton />
        <ThemeButton />
      </header>
      <Toast />
      <main id="main" class={narrow ? "narrow" : ""} tabIndex={-1}>
        {here.value.newer ? (
          <p class="banner">This link was made by a newer Tephra; parts of it may be missing here.</p>
        ) : null}
        <PinBanner />
        {children}
      </main>
    </>
  );
}

/** What a pinned view says of itself. */
function PinBanner() {
  const { params, pinned } = here.value;
  const note = params.get("note");
  const kept = Number(params.get("kept"));
  if (pinned === null && note === null) return null;
  return (
    <p class="banner" data-testid="pin-note">
      Pinned view{note ? `: ${note}` : ""}
      {kept > 0 ? <span class="quiet"> · kept until {fmt.date(kept)}</span> : null}
    </p>
  );
}

function serviceHere(): string | null {
  const service = /^\/s\/([^/]+)/.exec(here.value.path);
  return service ? decodeURIComponent(service[1]!) : here.value.params.get("service");
}

/** Layers, the lowest one glowing. */
function Mark() {
  return (
    <svg class="mark" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
      <rect x="6" y="2" width="5" height="3.4" rx=".8" class="m3" />
      <rect x="4" y="6.2" width="10" height="3.4" rx=".8" class="m2" />
      <rect x="3" y="10.4" width="13" height="3.4" rx=".8" class="m1" />
      <rect x="1" y="14.6" width="18" height="3.4" rx=".8" class="m0" />
    </svg>
  );
}

function TraceBox() {
  const bad = useSignal(false);
  return (
    <form
      class="trace-box"
      role="search"
      aria-label="Find a trace"
      onSubmit={(e) => {
        e.preventDefault();
        const text = new FormData(e.currentTarget).get("trace");
        const id = traceIdIn(typeof text === "string" ? text : "");
        bad.value = id === null;
        if (id) go(`/trace/${id}`);
      }}
    >
      <input
        name="trace"
        aria-label="Trace id"
        placeholder="Paste a trace id"
        spellcheck={false}
        autocomplete="off"
        aria-invalid={bad.value}
        data-testid="trace-box"
        onInput={() => (bad.value = false)}
      />
      {bad.value ? (
        <span class="field-error" role="alert">
          A trace id has 32 hex digits
        </span>
      ) : null}
    </form>
  );
}

/** The id in a bare id, a `traceparent` or a link; null if there is none. */
export function traceIdIn(text: string): string | null {
  const match = /(?:^|[^0-9a-f])([0-9a-f]{32})(?![0-9a-f])/i.exec(text.trim());
  return match ? match[1]!.toLowerCase() : null;
}

const NEXT = { auto: "light", light: "dark", dark: "auto" } as const;
const THEME_WORD = { auto: "as the system", light: "light", dark: "dark" };

function ThemeButton() {
  const now = theme.value;
  return (
    <button
      type="button"
      class="button icon"
      data-testid="theme"
      aria-label={`Colours: ${THEME_WORD[now]}. Change to ${THEME_WORD[NEXT[now]]}`}
      title={`Colours: ${THEME_WORD[now]}`}
      onClick={() => chooseTheme(NEXT[now])}
    >
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
        <circle cx="8" cy="8" r="6" class="ring" />
        {now === "auto" ? <path d="M8 2a6 6 0 0 1 0 12z" class="fill" /> : null}
        {now === "dark" ? <circle cx="8" cy="8" r="6" class="fill" /> : null}
      </svg>
    </button>
  );
}

function ZoneButton() {
  const utc = zone.value === "utc";
  return (
    <button
      type="button"
      class="button zone"
      data-testid="zone"
      aria-label={`Times: ${utc ? "UTC. Change to this device's" : "this device's. Change to UTC"}`}
      title={utc ? "Times are UTC" : "Times are this device's"}
      onClick={() => chooseZone(utc ? "local" : "utc")}
    >
      {utc ? "UTC" : "Local"}
    </button>
  );
}
