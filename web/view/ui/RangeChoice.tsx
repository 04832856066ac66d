/** How far back: the usual ranges, and the one in force where it is another. */

import { PRESETS, type Range } from "../state/time";
import { Choice } from "./Choice";
import * as fmt from "./format";

interface Props {
  params: URLSearchParams;
  range: Range;
  /** A part of what `params` say is selected. */
  narrowed?: boolean;
  /** With a preset's `from`; empty for the default. */
  onChange(from: string): void;
}

const OTHER = "custom";

export function RangeChoice({ params, range, narrowed, onChange }: Props) {
  const from = params.get("from") ?? "";
  const isPreset = !narrowed && !params.has("until") && PRESETS.some((preset) => preset.from === from);
  const options = PRESETS.map((preset) => [preset.from, preset.label] as const);
  return (
    <Choice
      label="Range"
      testId="range"
      value={isPreset ? from : OTHER}
      options={isPreset ? options : [...options, [OTHER, fmt.range(range.from, range.until)]]}
      onChange={(chosen) => chosen !== OTHER && onChange(chosen)}
    />
  );
}
