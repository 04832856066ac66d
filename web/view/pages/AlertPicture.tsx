/** An alert in pictures: where its window and baseline lie in time, and the comparison of own code, small enough for a phone. */
import { useComputed, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { apiPath, getFlame, getJson } from "../api/client";
import type { AlertAnswer, Timeline as TimelineData } from "../api/contract";
import { useResource } from "../api/resource";
import { FlamePane } from "../explore/FlamePane";
import { createModel } from "../explore/model";
import type { Profile } from "../profile/tree";
import { go, showing } from "../state/location";
import { Timeline } from "../ui/Timeline";
import { contextOf, diffPath, labelsOf, sidesOf } from "./selection";

/** Rows of the graph; the comparison has them all. */
const ROWS_MAX = 9;
const NOTHING = -1;

export function AlertPicture({ answer }: { answer: AlertAnswer }) {
  const { diff } = answer.links;
  const params = new URL(diff, location.origin).searchParams;
  const sides = sidesOf(params, answer.window.until);
  const context = contextOf(params, [sides.a, sides.b], answer.window.until);
  const line = useResource(
    apiPath("/api/v1/timeline", {
      service: answer.service,
      type: answer.type.name,
      ...labelsOf(params),
      from: Math.round(context.from),
      until: Math.round(context.until),
    }),
    (path, signal) => getJson<TimelineData>(path, signal),
  );
  const flame = useResource(diffPath(params, sides, "flame"), getFlame);
  const profile = flame.state.value.value;
  const leave = () => go(diff);
  return (
    <section class="alert-picture" aria-label="The change in pictures" data-testid="picture">
      <Timeline
        data={line.state.value.value}
        context={context}
        a={sides.a}
        b={sides.b}
        loading={line.state.value.loading}
        onB={leave}
        eventHref={() => diff}
      />
      <p class="quiet">A: the baseline, B: the alert's window.</p>
      {profile && profile.header.a.total > 0 && profile.tree.totalB[0]! > 0 ? (
        <OwnCode profile={profile} diff={diff} />
      ) : null}
    </section>
  );
}

function OwnCode({ profile, diff }: { profile: Profile; diff: string }) {
  const current = useSignal(profile);
  current.value = profile;
  const model = useMemo(() => createModel(current), []);
  const none = useComputed(() => NOTHING);
  const open = (node: number) => {
    if (node > 0) go(showing(diff, model.frames.value.name(model.shown.value.frame[node]!)));
    else if (node === 0) go(diff);
  };
  return (
    <>
      <FlamePane
        model={model}
        input={model.input}
        title="Own code, now against the baseline"
        testId="alert-flame"
        selected={none}
        maxRows={ROWS_MAX}
        onSelect={open}
        onFocus={open}
      />
      <p class="quiet">
        Own code in the window: orange took more than in the baseline, blue less. A tap opens it in the comparison.
      </p>
    </>
  );
}
