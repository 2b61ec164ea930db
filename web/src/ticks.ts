// SPDX-License-Identifier: MIT
// Where a chart's lines go.

/** Three or four round steps from 0 that reach the greatest value. */
export function ticks(most: number): number[] {
  if (!(most > 0)) return [0, 1];
  const rough = most / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999) ?? 10 * power;
  const n = Math.ceil(most / step - 1e-9);
  return Array.from({ length: n + 1 }, (_, i) => i * step);
}

/** The rows with most of `value` by name, and what is left as one. */
export function biggest<R>(
  rows: R[],
  nameOf: (row: R) => string,
  value: (row: R) => number,
  n: number,
): { names: string[]; rest: boolean } {
  const sums = new Map<string, number>();
  for (const row of rows) sums.set(nameOf(row), (sums.get(nameOf(row)) ?? 0) + value(row));
  const names = [...sums].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([k]) => k);
  // One more is shown by itself rather than as what is left.
  return names.length <= n + 1
    ? { names, rest: false }
    : { names: names.slice(0, n), rest: true };
}
