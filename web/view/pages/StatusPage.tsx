/** `/status`: is everything that was sampled stored, and if not, where did it go. */
import { useEffect } from "preact/hooks";
import { getJson } from "../api/client";
import type { Condition, StatusAnswer } from "../api/contract";
import { useResource } from "../api/resource";
import { href } from "../state/location";
import * as fmt from "../ui/format";
import { Shell } from "../ui/Shell";
import { Failure, Loading } from "../ui/States";
import { isSilent, sortAgents } from "./agents";
import { pressure } from "./pressure";

const REFRESH_MS = 10_000;

export function StatusPage() {
  const status = useResource("/api/v1/status", (path, signal) => getJson<StatusAnswer>(path, signal));
  const { value, error, loading } = status.state.value;
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") status.retry();
    }, REFRESH_MS);
    return () => clearInterval(timer);
  });
  return (
    <Shell title="Status">
      <section class="page" aria-label="Status">
        {error ? <Failure error={error} retry={status.retry} page={!value} /> : null}
        {!value && loading ? <Loading what="Asking the collector" page /> : null}
        {value ? <Report status={value} /> : null}
      </section>
    </Shell>
  );
}

function Report({ status }: { status: StatusAnswer }) {
  const { store, ingest, symbols } = status;
  const perSample = store.samples > 0 ? `${fmt.digits(store.bytes / store.samples)} B per sample` : "";
  const held = pressure(status);
  const { here, ended } = sortAgents(status.agents, Date.now());
  const refused = Object.entries(ingest.refused).filter(([, n]) => n > 0);
  return (
    <>
      <div class="page-head">
        <h1>Status</h1>
        <p class="quiet">
          tephra {status.version} · up {fmt.duration(Math.round(status.uptime_s) * 1000)} ·{" "}
          <code>{status.data_dir}</code>
        </p>
      </div>
      {status.conditions.length > 0 ? <Conditions all={status.conditions} /> : null}
      <dl class="tiles" data-testid="tiles">
        <Tile label="Stored samples" value={fmt.value(store.samples, "")} note={perSample} />
        <Tile
          label="On disk"
          value={fmt.bytes(store.bytes)}
          note={`${fmt.plural(store.segments, "segment")}, ${fmt.bytes(status.disk_free_bytes)} free`}
        />
        <Tile
          label="Windows taken in"
          value={fmt.value(ingest.windows_total, "")}
          note={`${fmt.count(ingest.duplicates_total)} duplicates, counted once`}
        />
        <Tile
          label="Refused"
          value={fmt.count(refused.reduce((s, [, n]) => s + n, 0))}
          note={
            refused.map(([why, n]) => `${why.replaceAll("_", " ")} ${fmt.count(n)}`).join(", ") || "nothing since start"
          }
        />
        <Tile label="Symbols" value={fmt.plural(symbols.builds, "build")} note={fmt.bytes(symbols.bytes)} />
      </dl>
      {held.length > 0 ? (
        <div class="notes" data-testid="pressure">
          {held.map((text) => (
            <p class="note" key={text}>
              {text}
            </p>
          ))}
        </div>
      ) : null}
      <h2>Agents</h2>
      {status.agents.length === 0 ? (
        <p class="quiet">
          No agent has reported yet. <a href="/">How to add one</a>
        </p>
      ) : (
        <>
          <AgentTable agents={here} ended={false} />
          {ended.length > 0 ? (
            <details class="ended" data-testid="ended">
              <summary>{fmt.plural(ended.length, "instance")} ended, while others of their service go on</summary>
              <AgentTable agents={ended} ended />
            </details>
          ) : null}
        </>
      )}
    </>
  );
}

function AgentTable({ agents, ended }: { agents: StatusAnswer["agents"]; ended: boolean }) {
  return (
    <div class="scroll-x">
      <table class="plain" data-testid={ended ? "agents-ended" : "agents"}>
        <thead>
          <tr>
            <th scope="col">Service</th>
            <th scope="col">Instance</th>
            <th scope="col" class="hide-narrow">
              Agent
            </th>
            <th scope="col">Last seen</th>
            <th scope="col" class="num hide-narrow">
              Sampled
            </th>
            <th scope="col" class="num hide-narrow">
              Stored
            </th>
            <th scope="col" class="num hide-narrow">
              CPU covered
            </th>
            <th scope="col">Accounting</th>
          </tr>
        </thead>
        <tbody>
          {agents.map((a) => (
            <tr key={`${a.service} ${a.instance}`}>
              <th scope="row">
                <a href={href(`/s/${encodeURIComponent(a.service)}`)}>{a.service}</a>
              </th>
              <td>{a.instance}</td>
              <td class="hide-narrow">{a.agent_version}</td>
              <td>
                <Seen at={a.last_seen} silent={!ended && isSilent(a, Date.now())} />
              </td>
              <td class="num hide-narrow">{fmt.count(a.sampled)}</td>
              <td class="num hide-narrow">{fmt.count(a.stored)}</td>
              <td class="num hide-narrow">{fmt.percent(a.cpu_covered_share)}</td>
              <td>
                <Accounting agent={a} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What is the case now, the worst first. */
function Conditions({ all }: { all: Condition[] }) {
  return (
    <ul class="notes conditions" data-testid="conditions">
      {all.map((c) => (
        <li class={`note is-${c.severity}`} key={`${c.kind} ${c.subject}`}>
          <b>{c.severity === "unready" ? "Stopped" : c.severity === "degraded" ? "Degraded" : "Notice"}</b> {c.message}{" "}
          <span class="quiet">
            {c.kind}, since {fmt.ago(c.since_ms, Date.now())}
          </span>
        </li>
      ))}
    </ul>
  );
}

function Tile({ label, value, note }: { label: string; value: string; note: string }) {
  return (
    <div class="tile">
      <dt>{label}</dt>
      <dd>
        <b class="num">{value}</b>
        <span class="quiet">{note}</span>
      </dd>
    </div>
  );
}

function Seen({ at, silent }: { at: number; silent: boolean }) {
  return (
    <span class={silent ? "seen is-silent" : "seen"}>
      {silent ? "silent, last heard " : ""}
      {fmt.ago(at, Date.now())}
    </span>
  );
}

/** sampled = stored + Σ dropped, or how much is still on its way. */
function Accounting({ agent }: { agent: StatusAnswer["agents"][number] }) {
  const dropped = Object.entries(agent.dropped).filter(([, n]) => n > 0);
  const lost = dropped.reduce((s, [, n]) => s + n, 0);
  const open = agent.sampled - agent.stored - lost;
  const words = dropped.map(([why, n]) => `${why.replaceAll("_", " ")} ${fmt.count(n)}`);
  if (open > 0) words.push(`${fmt.count(open)} on the way`);
  return words.length === 0 ? <span class="good">every sample stored</span> : <span>{words.join(", ")}</span>;
}
