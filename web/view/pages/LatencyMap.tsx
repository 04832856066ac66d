/** A map of how long requests took when: what percentiles hide, two kinds of requests or a tail that came at noon, is seen here. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { apiPath, getJson } from "../api/client";
import type { HeatmapAnswer } from "../api/contract";
import { useResource } from "../api/resource";
import { type Brush, type Chosen, chosenParams, readChosen, SLOWEST } from "../state/chosen";
import { here, setParams } from "../state/location";
import { theme } from "../state/theme";
import type { Range } from "../state/time";
import { Choice } from "../ui/Choice";
import * as fmt from "../ui/format";
import { BrushForm } from "./BrushForm";
import { boxOf, brushBetween, brushWords, cellAt, type Point } from "./brush";
import { type LatencyMap as Cells, durationTicks, latencyMap, rowBounds, strength } from "./latency";
import { WhySlow } from "./WhySlow";

const us = (n: number) => fmt.duration(Number((n / 1000).toPrecision(2)));

interface Props {
  service: string;
  range: Range;
  /** Other labels than the route, which narrow the requests. */
  labels: Record<string, string[]>;
  /** Of which the reader can choose one. */
  routes: readonly string[];
}

export function LatencyMap({ service, range, labels, routes }: Props) {
  const { params } = here.value;
  const label = params.get("label.route") ?? "";
  const route = params.get("route") || label;
  const chosen = route === "" ? null : readChosen(params);
  const time = { from: Math.round(range.from), until: Math.round(range.until) };
  const path = apiPath("/api/v1/requests/heatmap", { service, ...time, ...labels, route });
  const asked = useResource(path, (p, signal) => getJson<HeatmapAnswer>(p, signal));
  const answer = asked.state.value.value;
  const map = useMemo(() => (answer ? latencyMap(answer) : null), [answer]);
  // Beside a table that says what went wrong, or that there is nothing.
  if (!answer || !map) return null;
  const brush = chosen && "brush" in chosen ? chosen.brush : null;
  // A rectangle that ends at some minute means nothing where the time shown moves on.
  const select = (made: Brush) => setParams({ ...chosenParams({ brush: made }), ...(made.during ? time : {}) });
  const names = routes.includes(route) || route === "" ? routes : [route, ...routes];
  return (
    <>
      <figure class="latency" data-testid="latency">
        <figcaption>
          How long {route ? `requests to ${route}` : "requests"} took, over time: the stronger the colour, the more
        </figcaption>
        <Drawn answer={answer} map={map} brush={brush} onBrush={route === "" ? null : select} />
      </figure>
      <div class="why-bar">
        <Choice
          label="Route"
          testId="why-route"
          value={route}
          options={[
            ...(label === "" ? [["", "all"] as const] : []),
            ...names.filter((name) => name !== "").map((name) => [name, name] as const),
          ]}
          onChange={(name) => setParams({ ...chosenParams(null), route: name })}
        />
        {route === "" ? (
          <span class="quiet">Choose one to learn why its slow requests are slow.</span>
        ) : (
          <Asking chosen={chosen} />
        )}
      </div>
      {route === "" ? null : (
        <BrushForm brush={brush} shown={[answer.from, answer.from + map.columns * answer.step_ms]} onBrush={select} />
      )}
      {chosen ? <WhySlow service={service} route={route} range={range} chosen={chosen} labels={labels} /> : null}
    </>
  );
}

/** What is asked about, and how to ask about the slowest. */
function Asking({ chosen }: { chosen: Chosen | null }) {
  const isPreset = chosen !== null && "slowest" in chosen && chosen.slowest === SLOWEST.slowest;
  return (
    <>
      <button
        type="button"
        class="button"
        aria-pressed={isPreset}
        data-testid="why-slowest"
        onClick={() => setParams(chosenParams(SLOWEST))}
      >
        Slowest 1 % against the median
      </button>
      {chosen ? (
        <button type="button" class="button" data-testid="brush-clear" onClick={() => setParams(chosenParams(null))}>
          Clear selection
        </button>
      ) : null}
      <span class="quiet" data-testid="brush-words">
        {!chosen ? "or drag over the map" : "brush" in chosen ? `Selected: ${brushWords(chosen.brush)}` : ""}
      </span>
    </>
  );
}

interface DrawnProps {
  answer: HeatmapAnswer;
  map: Cells;
  brush: Brush | null;
  /** Null where nothing can be selected. */
  onBrush: ((brush: Brush) => void) | null;
}

/** A pointer that moved less far was not meant to draw. */
const DRAG_PX = 5;

interface Drag {
  start: Point;
  now: Point;
  /** It moved far enough. */
  meant: boolean;
}

function Drawn({ answer, map, brush, onBrush }: DrawnProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [under, setUnder] = useState("");
  const [drag, setDrag] = useState<Drag | null>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (context && canvas.current) draw(context, getComputedStyle(canvas.current).color, map);
  }, [map, theme.value]);
  const end = answer.from + map.columns * answer.step_ms;
  const [low] = rowBounds(map, 0);
  const [, high] = rowBounds(map, map.rows - 1);
  const said = `${fmt.plural(map.total, "request")}, ${fmt.range(answer.from, end)}; they took from ${us(low)} to ${us(high)}`;
  const drawn = drag?.meant ? brushBetween(map, answer, drag.start, drag.now) : null;
  const box = (drawn ?? brush) && boxOf(map, answer, (drawn ?? brush)!);
  const point = (e: PointerEvent): Point => {
    const { left, width, bottom, height } = canvas.current!.getBoundingClientRect();
    return [(e.clientX - left) / width, (bottom - e.clientY) / height];
  };
  const tell = (at: Point) => {
    const [x, y] = cellAt(map, at);
    const [from, until] = rowBounds(map, y);
    const when = fmt.time(answer.from + x * answer.step_ms, Date.now(), true);
    setUnder(`${when}: ${fmt.plural(map.cells[x * map.rows + y]!, "request")} took ${us(from)} to ${us(until)}`);
  };
  return (
    <>
      <div class="latency-plot">
        <div class="latency-ticks" aria-hidden="true">
          {durationTicks(map).map((tick) => (
            <span key={tick.us} style={{ bottom: `${tick.at * 100}%` }}>
              {us(tick.us)}
            </span>
          ))}
        </div>
        <div class="latency-field">
          <canvas
            ref={canvas}
            class={onBrush ? "is-brushed" : ""}
            width={map.columns}
            height={map.rows}
            role="img"
            aria-label={said}
            onPointerDown={(e) => {
              if (!onBrush || e.button !== 0 || !e.isPrimary) return;
              e.currentTarget.setPointerCapture(e.pointerId);
              setDrag({ start: point(e), now: point(e), meant: false });
            }}
            onPointerMove={(e) => {
              const now = point(e);
              tell(now);
              if (!drag) return;
              const { width, height } = e.currentTarget.getBoundingClientRect();
              const far = Math.hypot((now[0] - drag.start[0]) * width, (now[1] - drag.start[1]) * height);
              setDrag({ ...drag, now, meant: drag.meant || far >= DRAG_PX });
            }}
            onPointerUp={() => {
              if (drawn) onBrush?.(drawn);
              setDrag(null);
            }}
            onPointerCancel={() => setDrag(null)}
            onPointerLeave={() => setUnder("")}
          />
          {box ? (
            <div
              class="latency-brush"
              data-testid="latency-brush"
              style={{
                left: `${box.left * 100}%`,
                width: `${(box.right - box.left) * 100}%`,
                bottom: `${box.bottom * 100}%`,
                height: `${(box.top - box.bottom) * 100}%`,
              }}
            />
          ) : null}
        </div>
      </div>
      <p class="quiet">{drawn ? brushWords(drawn) : under || said}</p>
    </>
  );
}

/** A pixel for each cell; the page stretches them. */
function draw(context: CanvasRenderingContext2D, color: string, map: Cells): void {
  context.clearRect(0, 0, map.columns, map.rows);
  context.fillStyle = color;
  for (let x = 0; x < map.columns; x++)
    for (let y = 0; y < map.rows; y++) {
      context.globalAlpha = strength(map.cells[x * map.rows + y]!, map.most);
      if (context.globalAlpha > 0) context.fillRect(x, map.rows - 1 - y, 1, 1);
    }
}
