// SPDX-License-Identifier: MIT
// One answer at two chips' speeds: when its tokens come, what of its text is there, and how much
// slower than on the chips it is shown, since they may be too fast to see.
import type { ChipRun } from './api';

/** Milliseconds of the chip until its last token. */
export const endOf = (run: ChipRun, tokens: number): number =>
  run.ttft_ms + (run.tpot_ms ?? 0) * Math.max(0, tokens - 1);

/** Tokens that are there after so many milliseconds of the chip. */
export function tokensAt(run: ChipRun, tokens: number, ms: number): number {
  if (ms < run.ttft_ms || tokens <= 0) return 0;
  if (!run.tpot_ms) return tokens;
  return Math.min(tokens, 1 + Math.floor((ms - run.ttft_ms) / run.tpot_ms + 1e-9));
}

/** The beginning of a text that stands for so many of its tokens, by its length, in whole characters. */
export function textAt(text: string, tokens: number, all: number): string {
  if (tokens >= all) return text;
  const chars = [...text];
  return chars.slice(0, Math.floor((chars.length * tokens) / Math.max(1, all))).join('');
}

const WATCHED_MS = 4000;

/** 1, 2, 5, 10, 20, ...: so many times slower that the slower chip takes long enough to be watched. */
export function slowness(ms: number): number {
  let n = 1;
  for (let i = 0; n * ms < WATCHED_MS && i < 30; i++) n = [2, 5, 10][i % 3]! * 10 ** Math.floor(i / 3);
  return n;
}

/** Places of the ticks of a lane, at most one a `gap` pixels: the first of those that meet. */
export function ticksOf(run: ChipRun, tokens: number, ms: number, scale: number, gap = 1.6): number[] {
  const step = Math.max(run.tpot_ms ?? 0, 1e-9);
  const every = Math.max(1, Math.ceil(gap / (step * scale)));
  const out: number[] = [];
  const there = tokensAt(run, tokens, ms);
  for (let i = 0; i < there; i += every) out.push((run.ttft_ms + i * (run.tpot_ms ?? 0)) * scale);
  return out;
}
