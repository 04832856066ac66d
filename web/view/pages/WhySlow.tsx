/** Why requests of a route are slow: those that were chosen against the others, in sentences, labels, costs and evidence. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { apiPath, getJson } from "../api/client";
import type { CompareAnswer, LabelShare, TypeCost } from "../api/contract";
import { useResource } from "../api/resource";
import { familyColour, familyLabel } from "../flame/palette";
import { type Chosen, chosenQuery } from "../state/chosen";
import { href, showing } from "../state/location";
import { isDark } from "../state/theme";
import type { Range } from "../state/time";
import * as fmt from "../ui/format";
import { Name } from "../ui/Name";
import { PartialNote } from "../ui/PartialNote";
import { FailureLine, Loading } from "../ui/States";
import { Bar } from "../ui/VirtualRows";
import {
  type CostRow,
  costRows,
  costsInOrder,
  differenceWords,
  evidenceWords,
  pieces,
  type SideNames,
  sideNames,
  sideWords,
} from "./why";

interface Props {
  service: string;
  route: string;
  range: Range;
  chosen: Chosen;
  /** What else narrows the requests: labels, without the route. */
  labels: Record<string, string[]>;
}

export function WhySlow({ service, route, range, chosen, labels }: Props) {
  const panel = useRef<HTMLElement>(null);
  // Asked for from a table further down, it would open out of sight.
  useEffect(() => panel.current?.scrollIntoView({ block: "nearest" }), [route]);
  const time = { from: Math.round(range.from), until: Math.round(range.until) };
  const query = { ...chosenQuery(chosen), ...labels };
  const path = apiPath("/api/v1/requests/compare", { service, route, ...time, ...query });
  // As time moves on, the former answer stays until the next is there; for another question it does not.
  const asked = useResource(path, (p, signal) => getJson<CompareAnswer>(p, signal), JSON.stringify([route, query]));
  const { value, error } = asked.state.value;
  const flame = (type: string, more: Record<string, string> = {}) =>
    href(`/s/${encodeURIComponent(service)}`, { type, ...time, ...labels, "label.route": route, ...more });
  return (
    <section class="why" ref={panel} aria-labelledby="why-slow" data-testid="why">
      <h2 id="why-slow">Why slow</h2>
      {error ? (
        <FailureLine error={error} retry={asked.retry} />
      ) : value ? (
        <Answer answer={value} names={sideNames(chosen)} flame={flame} />
      ) : (
        <Loading what="Comparing requests" />
      )}
    </section>
  );
}

type FlameLink = (type: string, more?: Record<string, string>) => string;

function Answer({ answer, names, flame }: { answer: CompareAnswer; names: SideNames; flame: FlameLink }) {
  const costs = costsInOrder(answer.costs);
  const functions = costs.flatMap((cost) => cost.functions);
  const typeOf = (name: string) => costs.find((c) => c.functions.some((f) => f.full_name === name))?.type;
  return (
    <>
      <PartialNote partial={answer.partial ?? undefined} />
      <div class={costs.length > 0 ? "why-answer" : ""}>
        <div class="why-words">
          <ul class="why-sentences" data-testid="why-sentences">
            {answer.sentences.map((sentence) => (
              <li key={sentence}>
                {pieces(sentence, functions).map(({ kind, text }, i) =>
                  kind === "function" ? (
                    <a key={`${i}`} href={showing(flame(typeOf(text) ?? "cpu"), text)}>
                      <Name of={text} />
                    </a>
                  ) : kind === "quote" ? (
                    <code key={`${i}`}>{text}</code>
                  ) : (
                    text
                  ),
                )}
              </li>
            ))}
          </ul>
          <dl class="why-sides">
            <dt>{names.chosen}</dt>
            <dd>{sideWords(answer.chosen)}</dd>
            <dt>{names.othersInFull}</dt>
            <dd>{sideWords(answer.others)}</dd>
          </dl>
          {answer.labels.length > 0 ? <Labels labels={answer.labels} names={names} flame={flame} /> : null}
        </div>
        <div class="why-costs">
          {costs.map((cost) => (
            <Cost
              key={cost.type}
              cost={cost}
              rate={answer.evidence.false_discovery_rate}
              names={names}
              link={(name) => showing(flame(cost.type), name)}
            />
          ))}
        </div>
        {costs.length + answer.labels.length > 0 ? (
          <p class="why-evidence quiet" data-testid="why-evidence">
            {evidenceWords(answer)}
          </p>
        ) : null}
      </div>
    </>
  );
}

function Labels({ labels, names, flame }: { labels: readonly LabelShare[]; names: SideNames; flame: FlameLink }) {
  return (
    <table class="plain" data-testid="why-labels">
      <caption>Labels that tell them apart</caption>
      <Head first="Label" columns={[names.chosen, names.others, "Requests"]} />
      <tbody>
        {labels.map((l) => (
          <tr key={`${l.name}=${l.value}`} class={l.significant ? "" : "is-noise"}>
            <th scope="row">
              <span class="quiet">{l.name} = </span>
              <a href={flame("cpu", { [`label.${l.name}`]: l.value })} title="What is sampled in these requests">
                {l.value === "" ? "no value" : l.value}
              </a>
              {l.significant ? null : <Noise />}
            </th>
            {[l.chosen_share, l.others_share].map((share, i) => (
              <td class="num share" key={`${i}`}>
                <Bar share={share} />
                <span>{fmt.percent(share)}</span>
              </td>
            ))}
            <td class="num">
              {fmt.count(l.chosen_requests)} <span class="quiet">: {fmt.count(l.others_requests)}</span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface CostProps {
  cost: TypeCost;
  rate: number;
  names: SideNames;
  link(name: string): string;
}

function Cost({ cost, rate, names, link }: CostProps) {
  const { functions, families } = costRows(cost, rate);
  const row = (r: CostRow) => (
    <tr key={r.name} class={r.noise ? "is-noise" : ""}>
      <th scope="row" class="has-swatch">
        <span class="swatch" style={{ backgroundColor: familyColour(r.family, isDark.value) }} />
        {r.isFunction ? (
          <a href={link(r.name)}>
            <Name of={r.name} />
          </a>
        ) : (
          familyLabel(r.family)
        )}
        {r.noise ? <Noise /> : null}
      </th>
      <td class="num share">
        <Bar share={r.share} />
        <span>{fmt.value(r.chosen, cost.unit)}</span>
      </td>
      <td class="num">{fmt.value(r.others, cost.unit)}</td>
      <td class="num hide-narrow">{fmt.signed(r.chosen - r.others, cost.unit)}</td>
    </tr>
  );
  return (
    <table class={`plain${cost.significant ? "" : " is-noise"}`} data-testid="why-cost" data-type={cost.type}>
      <caption>
        {fmt.typeLabel(cost.type)} per request: <b class="num">{fmt.value(cost.chosen_per_request, cost.unit)}</b>{" "}
        against <b class="num">{fmt.value(cost.others_per_request, cost.unit)}</b>
        <span class="quiet">
          {" "}
          {cost.significant
            ? `(${differenceWords(cost.chosen_per_request, cost.others_per_request, cost.unit)})`
            : "(no difference beyond chance)"}
        </span>
      </caption>
      <Head first="Function" columns={[names.chosen, names.others, DIFFERENCE]} />
      <tbody>{functions.length > 0 ? functions.map(row) : <None>No function differs.</None>}</tbody>
      {families.length > 0 ? (
        <tbody>
          <tr>
            <th scope="rowgroup" colSpan={4} class="quiet">
              Families
            </th>
          </tr>
          {families.map(row)}
        </tbody>
      ) : null}
    </table>
  );
}

/** Left out on phones, where there is no room for it. */
const DIFFERENCE = "Difference";

function Head({ first, columns }: { first: string; columns: readonly string[] }) {
  return (
    <thead>
      <tr>
        <th scope="col">{first}</th>
        {columns.map((name) => (
          <th scope="col" class={name === DIFFERENCE ? "num hide-narrow" : "num"} key={name}>
            {name}
          </th>
        ))}
      </tr>
    </thead>
  );
}

function None({ children }: { children: ComponentChildren }) {
  return (
    <tr>
      <td colSpan={4} class="quiet">
        {children}
      </td>
    </tr>
  );
}

function Noise() {
  return <span class="why-noise"> within noise</span>;
}
