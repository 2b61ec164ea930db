// SPDX-License-Identifier: MIT
// The app's language: t() finds words, Intl formats numbers and dates.
import { signal } from '@preact/signals';
import { en } from './en';
import { withJosa, type Particle } from './josa';
import { ko, type Key } from './ko';

export type { Key };
export type Lang = 'ko' | 'en';

function firstLang(): Lang {
  const kept = globalThis.localStorage?.getItem('damso.lang');
  if (kept === 'ko' || kept === 'en') return kept;
  return globalThis.navigator?.language?.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}

export const lang = signal<Lang>(firstLang());

export function setLang(next: Lang): void {
  lang.value = next;
  localStorage.setItem('damso.lang', next);
}

/** Fills `{x}` and `{x:particle}`; what is in double braces stays as it is. */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/(?<!\{)\{(\w+)(?::([가-힣]+))?\}(?!\})/gu, (whole, name, particle) => {
    const value = values[name];
    if (value === undefined) return whole;
    return particle ? withJosa(String(value), particle as Particle) : String(value);
  });
}

export function t(key: Key, values?: Record<string, string | number>): string {
  const text = (lang.value === 'ko' ? ko : en)[key];
  return values ? fill(text, values) : text;
}

export const number = (n: number, digits = 0): string =>
  new Intl.NumberFormat(lang.value, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(n);

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${number(n / 1000, n < 1e4 ? 1 : 0)} kB` : `${number(n / 1e6, 1)} MB`;
}

const DAY = 86400;

/** "3일 전", then "7월 12일", then "2025년 7월 12일". `then` in Unix seconds. */
export function day(then: number, now = Date.now() / 1000): string {
  const startOfDay = new Date(now * 1000).setHours(0, 0, 0, 0) / 1000;
  const ago = then >= startOfDay ? 0 : Math.ceil((startOfDay - then) / DAY);
  if (ago >= 0 && ago < 7 && then <= now + DAY)
    return new Intl.RelativeTimeFormat(lang.value, { numeric: 'auto' }).format(-ago, 'day');
  const date = new Date(then * 1000);
  const sameYear = date.getFullYear() === new Date(now * 1000).getFullYear();
  return new Intl.DateTimeFormat(lang.value, {
    year: sameYear ? undefined : 'numeric',
    month: 'long',
    day: 'numeric',
  }).format(date);
}

export type Group = 'pinned' | 'today' | 'yesterday' | 'last7' | 'last30' | `month:${string}`;

/** The heading of the sidebar under which a chat of that time stands. */
export function groupOf(then: number, now = Date.now() / 1000): Group {
  const startOfDay = new Date(now * 1000).setHours(0, 0, 0, 0) / 1000;
  if (then >= startOfDay) return 'today';
  if (then >= startOfDay - DAY) return 'yesterday';
  if (then >= startOfDay - 7 * DAY) return 'last7';
  if (then >= startOfDay - 30 * DAY) return 'last30';
  const date = new Date(then * 1000);
  return `month:${date.getFullYear()}-${date.getMonth() + 1}`;
}

export function groupName(group: Group): string {
  if (!group.startsWith('month:')) return t(group as Key);
  const [year, month] = group.slice(6).split('-').map(Number) as [number, number];
  return new Intl.DateTimeFormat(lang.value, { year: 'numeric', month: 'long' }).format(
    new Date(year, month - 1, 1),
  );
}

/** The language of a text, for `lang` attributes and the voice that reads it. */
export function langOf(text: string): Lang {
  const hangul = (text.slice(0, 2000).match(/[가-힣]/gu) ?? []).length;
  const latin = (text.slice(0, 2000).match(/[A-Za-z]/g) ?? []).length;
  return hangul * 4 >= latin && hangul > 0 ? 'ko' : latin > 0 ? 'en' : lang.peek();
}
