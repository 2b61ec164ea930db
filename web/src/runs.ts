// SPDX-License-Identifier: MIT
// The typed client of /api/v1/runs. What is in those files the server did not write: each value is
// looked at before it is used.
import { path, request } from './api';

export interface Times {
  p50?: number;
  p90?: number;
  p99?: number;
}
export interface Level {
  clients?: number;
  rate?: number;
  errors?: number;
  system_tps?: number;
  user_tps?: number;
  ttft_ms?: Times;
  tpot_ms?: Times;
  pareto?: boolean;
}
export interface Run {
  id: string;
  kind: 'mlperf' | 'serve';
  benchmark?: string;
  official_benchmark?: boolean;
  scenario?: string;
  mode?: string;
  compliance?: string | null;
  verdict?: string;
  why?: string | null;
  model?: string;
  url?: string;
  queries?: number;
  answered?: number;
  samples_per_s?: number;
  tokens_per_s?: number;
  unix_time?: number;
  set_sha256?: string;
  n_levels?: number;
  levels?: Level[];
  latency_ms?: Times | null;
  ttft_ms?: Times | null;
  tpot_ms?: Times | null;
  histogram?: { from_ms?: number; bar_ms?: number; counts?: number[] } | null;
  energy?: { source?: string | null; joules_per_token?: number };
  machine?: {
    cpu?: string;
    threads?: number;
    memory_gib?: number;
    device?: { title?: string };
  };
  build?: { damso?: string; loadgen?: string };
}

export const runs = {
  list: () => request<{ folder: boolean; more: boolean; runs: Run[] }>('GET', path('runs')),
  one: (id: string) => request<Run>('GET', path('runs', id)),
};

/** A number, or nothing: files may hold anything. */
export const num = (v: unknown): number | null =>
  typeof v === 'number' && Number.isFinite(v) ? v : null;
export const text = (v: unknown): string => (typeof v === 'string' ? v.slice(0, 300) : '');
/** An array of at most n objects. */
export const list = <T>(v: unknown, n: number): T[] =>
  Array.isArray(v) ? (v.filter((x) => x && typeof x === 'object').slice(0, n) as T[]) : [];

/** Whether runs answer the same questions in the same way. */
export function alike(of: Run[]): boolean {
  const key = (r: Run): string => JSON.stringify([r.kind, r.benchmark, r.scenario, r.mode, r.set_sha256]);
  return new Set(of.map(key)).size <= 1;
}
