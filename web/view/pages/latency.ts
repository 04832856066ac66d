/** How long requests took, when, as cells of a map: a column for each step of time, a row for a quarter of a doubling. */
import type { HeatmapAnswer } from "../api/contract";

/** Bins of one row: 16 to a doubling would be rows of a pixel. */
const BINS_PER_ROW = 4;

export interface LatencyMap {
  columns: number;
  rows: number;
  /** The lowest row, counted from the shortest duration there is. */
  firstRow: number;
  rowsPerDoubling: number;
  /** Requests by column and row, the lowest row first. */
  cells: Float64Array;
  /** The most of one cell. */
  most: number;
  total: number;
}

/** The map of an answer; null where nothing ended. */
export function latencyMap(answer: HeatmapAnswer): LatencyMap | null {
  const rowOf = (bin: number) => Math.floor(bin / BINS_PER_ROW);
  let [first, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const column of answer.columns)
    for (let i = 0; i < column.length; i += 2) {
      first = Math.min(first, rowOf(column[i]!));
      last = Math.max(last, rowOf(column[i]!));
    }
  if (first > last) return null;
  const rows = last - first + 1;
  const columns = answer.columns.length;
  const cells = new Float64Array(columns * rows);
  let total = 0;
  answer.columns.forEach((column, x) => {
    for (let i = 0; i < column.length; i += 2) {
      const at = x * rows + rowOf(column[i]!) - first;
      cells[at] = cells[at]! + column[i + 1]!;
      total += column[i + 1]!;
    }
  });
  const most = cells.reduce((a, b) => Math.max(a, b), 0);
  const rowsPerDoubling = answer.bins_per_doubling / BINS_PER_ROW;
  return { columns, rows, firstRow: first, rowsPerDoubling, cells, most, total };
}

/** The durations between which a row lies, in µs. */
export function rowBounds(map: LatencyMap, row: number): [number, number] {
  const at = (r: number) => 2 ** ((map.firstRow + r) / map.rowsPerDoubling);
  return [at(row), at(row + 1)];
}

/** How strong a cell is drawn, 0…1: by the logarithm, so that one request in a thousand is still seen. */
export function strength(count: number, most: number): number {
  return count <= 0 ? 0 : 0.15 + 0.85 * (Math.log1p(count) / Math.log1p(Math.max(most, 1)));
}

/** Durations to write beside the map, in µs, and where they stand from its lower edge, 0…1. */
export function durationTicks(map: LatencyMap): { us: number; at: number }[] {
  const [low] = rowBounds(map, 0);
  const [, high] = rowBounds(map, map.rows - 1);
  const height = Math.log2(high / low);
  const decades = [];
  for (let us = 1; us <= high; us *= 10) if (us >= low) decades.push(us);
  const shown = decades.length >= 2 ? decades : [low, high];
  return shown.map((us) => ({ us, at: Math.log2(us / low) / height }));
}
