/** What the collector holds back or files together, in words for the status page: nothing of it is silent. */
import type { StatusAnswer } from "../api/contract";
import * as fmt from "../ui/format";

export function pressure({ ingest }: StatusAnswer): string[] {
  const words: string[] = [];
  if (!ingest.ready)
    words.push("No windows are taken at the moment: agents keep theirs and send them again. /readyz says why.");
  if (ingest.overloaded_total > 0)
    words.push(
      `${fmt.plural(ingest.overloaded_total, "window")} came when there was no room (${fmt.bytes(ingest.memory_max_bytes)}, shared between services); their agents send them again.`,
    );
  for (const { service, windows } of ingest.overflows)
    words.push(
      `${service} has more than ${fmt.count(ingest.series_max)} series within an hour; those beyond count as instance __other__ (${fmt.plural(windows, "window")} so far). Leave out the label that changes with every request or process.`,
    );
  return words;
}
