/** A map of how long requests took when: what percentiles hide, two kinds of requests or a tail that came at noon, is seen here. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { apiPath, getJson } from "../api/client";
import type { HeatmapAnswer } from "../api/contract";
import { useResource } from "../api/resource";
import { param } from "../state/location";
import { theme } from "../state/theme";
import type { Range } from "../state/time";
import * as fmt from "../ui/format";
import { type LatencyMap as Cells, durationTicks, latencyMap, rowBounds, strength } from "./latency";

const us = (n: number) => fmt.duration(Number((n / 1000).toPrecision(2)));

interface Props {
  service: string;
  range: Range;
  /** Other labels than the route, which narrow the requests. */
  labels: Record<string, string[]>;
}

export function LatencyMap({ service, range, labels }: Props) {
  const route = param("label.route").value;
  const [from, until] = [Math.round(range.from), Math.round(range.until)];
  const path = apiPath("/api/v1/requests/heatmap", { service, from, until, ...labels, route });
  const asked = useResource(path, (p, signal) => getJson<HeatmapAnswer>(p, signal));
  const answer = asked.state.value.value;
  const map = useMemo(() => (answer ? latencyMap(answer) : null), [answer]);
  // Beside a table that says what went wrong, or that there is nothing.
  if (!answer || !map) return null;
  return (
    <figure class="latency" data-testid="latency">
      <figcaption>
        How long {route ? `requests to ${route}` : "requests"} took, over time: the stronger the colour, the more
      </figcaption>
      <Drawn answer={answer} map={map} />
    </figure>
  );
}

function Drawn({ answer, map }: { answer: HeatmapAnswer; map: Cells }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [under, setUnder] = useState("");
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (context && canvas.current) draw(context, getComputedStyle(canvas.current).color, map);
  }, [map, theme.value]);
  const end = answer.from + map.columns * answer.step_ms;
  const [low] = rowBounds(map, 0);
  const [, high] = rowBounds(map, map.rows - 1);
  const said = `${fmt.plural(map.total, "request")}, ${fmt.range(answer.from, end)}; they took from ${us(low)} to ${us(high)}`;
  const point = (e: PointerEvent) => {
    const box = (e.currentTarget as HTMLElement).getBoundingClientRect();
    const x = Math.min(map.columns - 1, Math.max(0, Math.floor(((e.clientX - box.left) / box.width) * map.columns)));
    const y = Math.min(map.rows - 1, Math.max(0, Math.floor(((box.bottom - e.clientY) / box.height) * map.rows)));
    const [from, until] = rowBounds(map, y);
    const at = fmt.time(answer.from + x * answer.step_ms, Date.now(), true);
    setUnder(`${at}: ${fmt.plural(map.cells[x * map.rows + y]!, "request")} took ${us(from)} to ${us(until)}`);
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
        <canvas
          ref={canvas}
          width={map.columns}
          height={map.rows}
          role="img"
          aria-label={said}
          onPointerMove={point}
          onPointerLeave={() => setUnder("")}
        />
      </div>
      <p class="quiet">{under || said}</p>
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
