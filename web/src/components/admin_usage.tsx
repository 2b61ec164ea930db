// SPDX-License-Identifier: MIT
// What was used: tokens and requests a day, by model or by person.
import { useEffect, useState } from 'preact/hooks';
import { lang, number } from '../i18n';
import { tp } from '../i18n/people';
import { admin, sorry, type UsageRow } from '../people';
import { biggest } from '../ticks';
import { Figure, N_SERIES, seriesClass, StackChart } from './chart';
import { Seg } from './ui';

const DAYS = ['7', '30', '90'] as const;
type What = 'tokens' | 'requests';
type By = 'model' | 'user';

const dayText = (n: number, long: boolean): string =>
  new Intl.DateTimeFormat(lang.value, {
    timeZone: 'UTC',
    month: long ? 'long' : 'numeric',
    day: 'numeric',
  }).format(new Date(n * 86400_000));

export function Usage() {
  const [days, setDays] = useState<(typeof DAYS)[number]>('30');
  const [what, setWhat] = useState<What>('tokens');
  const [by, setBy] = useState<By>('model');
  const [got, setGot] = useState<{ from: number; to: number; rows: UsageRow[] } | null>(null);
  useEffect(() => {
    admin.usage(Number(days)).then(setGot, sorry);
  }, [days]);
  return (
    <section class="block">
      <div class="sec">
        <h3>{tp('usage')}</h3>
        <p>{tp('usageLede')}</p>
      </div>
      <div class="choose">
        <Seg
          name="usage-what"
          label={tp('usageWhat')}
          value={what}
          onPick={setWhat}
          options={[
            ['tokens', tp('what_tokens')],
            ['requests', tp('what_requests')],
          ]}
        />
        <Seg
          name="usage-by"
          label={tp('usageBy')}
          value={by}
          onPick={setBy}
          options={[
            ['model', tp('by_model')],
            ['user', tp('by_user')],
          ]}
        />
        <Seg
          name="usage-days"
          label={tp('usageDays')}
          value={days}
          onPick={setDays}
          options={DAYS.map((d) => [d, tp(`days_${d}`)])}
        />
      </div>
      {got && !got.rows.length && <p class="none">{tp('usageNone')}</p>}
      {got && got.rows.length > 0 && <Chart got={got} what={what} by={by} />}
    </section>
  );
}

function Chart({
  got,
  what,
  by,
}: {
  got: { from: number; to: number; rows: UsageRow[] };
  what: What;
  by: By;
}) {
  const value = (r: UsageRow): number =>
    what === 'tokens' ? r.prompt_tokens + r.answer_tokens : r.requests;
  const nameOf = (r: UsageRow): string =>
    by === 'model' ? r.model : r.name || r.owner || tp('local');
  const { names, rest } = biggest(got.rows, nameOf, value, N_SERIES);
  const series = rest ? [...names, tp('others')] : names;
  const place = (r: UsageRow): number => {
    const at = names.indexOf(nameOf(r));
    return at < 0 ? series.length - 1 : at;
  };
  const all = Array.from({ length: got.to - got.from + 1 }, (_, i) => ({
    day: got.from + i,
    parts: series.map(() => 0),
  }));
  const sums = series.map(() => 0);
  for (const r of got.rows) {
    const at = place(r);
    const row = all[r.day - got.from];
    if (row) row.parts[at]! += value(r);
    sums[at]! += value(r);
  }
  const title = tp('usageChart', { what: tp(`what_${what}`), by: tp(`by_${by}`) });
  return (
    <Figure
      title={title}
      legend={
        <ul class="legend">
          {series.map((name, i) => (
            <li key={name}>
              <i class={`sw ${seriesClass(i)}`} />
              <span dir="auto">{name}</span>
              <b class="num">{number(sums[i]!)}</b>
            </li>
          ))}
        </ul>
      }
      table={() => ({
        head: [tp('day'), ...series, tp('total')],
        rows: all
          .filter((d) => d.parts.some(Boolean))
          .map((d) => [dayText(d.day, true), ...d.parts, d.parts.reduce((a, v) => a + v, 0)])
          .reverse(),
      })}
      draw={(width) => (
        <StackChart
          width={width}
          bars={all.map((d) => ({
            label: dayText(d.day, false),
            title: `${dayText(d.day, true)}: ${series
              .map((name, i) => `${name} ${number(d.parts[i]!)}`)
              .join(', ')}`,
            parts: d.parts,
          }))}
        />
      )}
    />
  );
}
