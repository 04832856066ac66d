/** Writes down what happened and when, for everybody who looks at the service: a note, a deploy or an alert on the timeline. */
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { postJson } from "../api/client";
import type { TephraEvent } from "../api/contract";
import { parseTime } from "../state/time";
import { zone } from "../state/zone";
import { Popover } from "../ui/Popover";
import { say } from "../ui/toast";

/** The collector refuses longer ones. */
const TITLE_MAX = 400;

export function NoteButton({ service, at, onAdded }: { service: string; at: number; onAdded: () => void }) {
  const error = useSignal("");
  const form = useRef<HTMLFormElement>(null);
  const save = () => {
    const data = new FormData(form.current!);
    const when = readClock(String(data.get("at")));
    const title = String(data.get("title")).trim();
    if (title === "") error.value = "Say what happened.";
    else if (!Number.isFinite(when)) error.value = "Write the time as 2026-11-27 13:40, or as now-10m.";
    else
      postJson<TephraEvent>("/api/v1/events", { kind: data.get("kind"), service, title, at: Math.round(when) }).then(
        () => {
          form.current?.reset();
          form.current?.closest("details")?.removeAttribute("open");
          say("Marked on the timeline");
          onAdded();
        },
        (cause: Error) => {
          error.value = cause.message;
        },
      );
  };
  return (
    <Popover label="Mark" testId="note">
      <form
        ref={form}
        class="pin-form"
        onSubmit={(e) => {
          e.preventDefault();
          save();
        }}
        onInput={() => {
          error.value = "";
        }}
      >
        <p class="quiet">A mark on the timeline, for everybody.</p>
        <input name="title" placeholder="What happened" aria-label="What happened" maxLength={TITLE_MAX} />
        <div class="note-when">
          <select name="kind" aria-label="Kind">
            <option value="note">Note</option>
            <option value="deploy">Deploy</option>
            <option value="alert">Alert</option>
          </select>
          <input name="at" aria-label="When" defaultValue={clockText(at)} key={at} />
        </div>
        <button type="submit" class="button primary">
          Add
        </button>
        {error.value ? (
          <p class="field-error" role="alert">
            {error.value}
          </p>
        ) : null}
      </form>
    </Popover>
  );
}

/** `2026-11-27 13:40:05`, by the clock that was chosen. */
export function clockText(at: number): string {
  const shift = zone.value === "utc" ? 0 : new Date(at).getTimezoneOffset() * 60e3;
  return new Date(at - shift).toISOString().slice(0, 19).replace("T", " ");
}

/** The moment that such a text means, or any other form of a time; NaN for what is none. */
export function readClock(text: string): number {
  const plain = text.trim().replace(/^(\d{4}-\d\d-\d\d) (?=\d)/, "$1T");
  if (!/^\d{4}-\d\d-\d\dT[\d:.]+$/.test(plain)) return parseTime(plain, Date.now());
  return Date.parse(zone.value === "utc" ? `${plain}Z` : plain);
}
