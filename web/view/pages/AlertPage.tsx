/** `/alert`: what changed, since when, and what it hurts; readable on a phone with nothing to click first. */
import { getJson } from "../api/client";
import type { AlertAnswer } from "../api/contract";
import { useResource } from "../api/resource";
import { here, setParams, showing } from "../state/location";
import { zone } from "../state/zone";
import * as fmt from "../ui/format";
import { Glossary, WordsLink } from "../ui/Glossary";
import { withPlain } from "../ui/Name";
import { Shell } from "../ui/Shell";
import { capital, Failure, Loading } from "../ui/States";
import { AlertPicture } from "./AlertPicture";
import { MoverList, namesOf, Sentences, Worded } from "./Findings";

const VS_WORD: Record<string, string> = {
  prev: "just before",
  "1d": "a day ago",
  "1w": "a week ago",
  deploy: "before the deploy",
};

export function AlertPage() {
  const params = new URLSearchParams(here.value.params);
  for (const own of ["v", "mirror"]) params.delete(own);
  const alert = useResource(
    `/alert.json?${params}`,
    (path, signal) => getJson<AlertAnswer>(path, signal),
    params.get("service") ?? "",
  );
  const { value, error, loading } = alert.state.value;
  return (
    <Shell
      title={
        value
          ? withPlain(
              value.headline,
              value.movers.map((m) => m.name),
            )
          : "Alert"
      }
      narrow
    >
      {loading && !value ? <Loading what="Comparing with the time before" page /> : null}
      {error ? <Failure error={error} retry={alert.retry} page={!value} /> : null}
      {value ? <Answer answer={value} busy={loading} /> : null}
    </Shell>
  );
}

function Answer({ answer, busy }: { answer: AlertAnswer; busy: boolean }) {
  const { window: w, baseline, deploy, alert, unit } = answer;
  const rest = answer.sentences.filter((s) => s.text !== answer.headline);
  return (
    <article class="alert" aria-busy={busy} data-testid="alert">
      <p class="alert-kicker">
        {alert ? <b>{alert.title}</b> : <b>{answer.service}</b>}
        {alert && !alert.title.includes(answer.service) ? ` · ${answer.service}` : ""} ·{" "}
        {fmt.typeLabel(answer.type.name)} ·{" "}
        <time dateTime={new Date(answer.at).toISOString()}>
          {zone.value === "utc" ? "" : `${fmt.time(answer.at)} (`}
          {fmt.utcTime(answer.at)}
          {zone.value === "utc" ? "" : ")"}
        </time>
        {Date.now() - answer.at > 0 ? `, ${fmt.ago(answer.at, Date.now())}` : ""}
      </p>
      <h1 data-testid="headline">
        <Worded text={answer.headline} names={answer.movers.map((m) => m.name)} />
      </h1>
      <p class={`confidence is-${answer.confidence}`} data-testid="confidence">
        <b>{{ high: "High confidence", low: "Low confidence", none: "No conclusion" }[answer.confidence]}</b>
        {answer.confidence_why ? ` · ${answer.confidence_why}` : ""} <WordsLink />
      </p>
      <AlertPicture answer={answer} />
      {rest.length > 0 ? <Sentences sentences={rest} nameOf={namesOf(answer.movers)} /> : null}
      {answer.movers.length > 0 ? (
        <section aria-label="What moved">
          <h2>What moved</h2>
          <MoverList movers={answer.movers.slice(0, 6)} unit={unit} to={(m) => showing(answer.links.diff, m.name)} />
        </section>
      ) : null}
      {deploy ? (
        <p class="deploy-line" data-testid="deploy">
          <span class="deploy-mark" aria-hidden="true">
            ◆
          </span>{" "}
          Deploy <b>{deploy.title}</b> at {fmt.time(deploy.at)}
          {deploy.link && /^https?:/.test(deploy.link) ? (
            <>
              {" · "}
              <a href={deploy.link} rel="noreferrer">
                open
              </a>
            </>
          ) : null}
        </p>
      ) : null}
      <nav class="alert-links" aria-label="Look closer">
        <a
          class="button primary"
          href={answer.movers[0] ? showing(answer.links.diff, answer.movers[0].name) : answer.links.diff}
          data-testid="open-diff"
        >
          Open the comparison
        </a>
        <a class="button" href={answer.links.flame} data-testid="open-flame">
          Flame graph
        </a>
        {answer.links.trace ? (
          <a class="button" href={answer.links.trace} data-testid="open-trace">
            A slow trace
          </a>
        ) : null}
      </nav>
      {answer.traces.length > 0 ? (
        <section aria-label="Requests it hurts">
          <h2>Slow requests in this window</h2>
          <ul class="trace-list">
            {answer.traces.slice(0, 5).map((t) => (
              <li key={t.trace_id}>
                <a href={`/trace/${t.trace_id}`}>
                  <b class="num">{fmt.duration(t.duration_us / 1000)}</b> {t.route}{" "}
                  <span class="quiet">{fmt.time(t.start_ms, undefined, true)}</span>
                </a>
              </li>
            ))}
          </ul>
        </section>
      ) : null}
      <section class="baseline" aria-label="Baseline" data-testid="baseline">
        <h2>Compared with</h2>
        <p>
          {fmt.range(w.from, w.until)} against {fmt.range(baseline.from, baseline.until)}
          {VS_WORD[baseline.vs] ? `, ${VS_WORD[baseline.vs]}` : ""}. {capital(baseline.why)}
        </p>
        <div class="segments" role="group" aria-label="Baseline">
          {Object.entries(VS_WORD).map(([vs, word]) => {
            const refused = answer.tried.find((t) => t.vs === vs);
            return (
              <button
                key={vs}
                type="button"
                aria-pressed={baseline.vs === vs}
                title={refused?.why_not}
                onClick={() => setParams({ vs })}
              >
                {word}
              </button>
            );
          })}
        </div>
        {answer.tried.length > 0 ? (
          <ul class="quiet tried">
            {answer.tried.map((t) => (
              <li key={t.vs}>
                Not {VS_WORD[t.vs] ?? t.vs}: {t.why_not}
              </li>
            ))}
          </ul>
        ) : null}
      </section>
      {answer.types.length > 0 ? (
        <p class="quiet" data-testid="other-types">
          Other profiles:{" "}
          {answer.types
            .map(
              (t) =>
                `${fmt.typeLabel(t.name)} ${t.delta_share >= 0 ? "+" : "−"}${fmt.percent(Math.abs(t.delta_share))}`,
            )
            .join(" · ")}
        </p>
      ) : null}
      <Glossary />
    </article>
  );
}
