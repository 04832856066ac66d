/** Which CPU samples of a trace lie in which of its spans, and which service has most of it. */
import type { TraceAnswer } from "../api/contract";

type Service = TraceAnswer["services"][number];
type Span = Service["spans"][number];
type Sample = Service["samples"][number];

/** The service to open: the one with most CPU samples, then most samples, then most time. */
export function mostOf(services: readonly Service[]): Service | undefined {
  const rank = (s: Service) => [
    s.types.find((t) => t.type.name === "cpu")?.samples ?? 0,
    s.types.reduce((sum, t) => sum + t.samples, 0),
    s.spans.reduce((sum, span) => sum + span.duration_us, 0),
  ];
  return [...services].sort((x, y) => {
    const [a, b] = [rank(x), rank(y)];
    const k = a.findIndex((v, i) => v !== b[i]);
    return k < 0 ? 0 : b[k]! - a[k]!;
  })[0];
}

/**
 * CPU samples by the entry span they belong to. Most carry the id of a span inside it, which has no summary: those go to
 * the entry span that was open at the time, the innermost if several were, or to the only one there is.
 */
export function ticksBySpan(service: Service): Map<Span, Sample[]> {
  const ticks = new Map<Span, Sample[]>(service.spans.map((span) => [span, []]));
  for (const sample of service.samples) {
    if (sample[2] === "cpu") ticks.get(ownerOf(sample, service.spans) as Span)?.push(sample);
  }
  return ticks;
}

function ownerOf([at, spanId]: Sample, spans: Span[]): Span | undefined {
  const named = spans.find((span) => span.span_id === spanId);
  if (named || spans.length === 1) return named ?? spans[0];
  return spans
    .filter((span) => span.start_ms <= at && at <= span.start_ms + span.duration_us / 1000)
    .sort((x, y) => y.start_ms - x.start_ms)[0];
}
