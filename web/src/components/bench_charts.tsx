// SPDX-License-Identifier: MIT
// Charts of measurements: the curve of users against the whole, histograms of times.
import { number } from '../i18n';
import { tb } from '../i18n/bench';
import { list, num, text, type Level, type Run } from '../runs';
import { ticks } from '../ticks';
import { Figure, N_SERIES, short } from './chart';

const LEFT = 46;
const BOTTOM = 40;
const TOP = 26;
const LEVELS = 64;

const levels = (r: Run): Level[] =>
  list<Level>(r.levels, LEVELS).filter((l) => (num(l.user_tps) ?? -1) >= 0 && (num(l.system_tps) ?? -1) >= 0);
const loadOf = (l: Level): string =>
  num(l.clients) ? number(l.clients!) : tb('rate', { n: num(l.rate) ?? 0 });
/** The look of a series: three have their own; the fourth and on are grey. */
const series = (i: number): string => `s${Math.min(i, N_SERIES) + 1}`;

function Mark({ i, x, y, on }: { i: number; x: number; y: number; on: boolean }) {
  const css = on ? 'pt on' : 'pt hollow';
  if (i === 1) return <rect class={css} x={x - 3.6} y={y - 3.6} width="7.2" height="7.2" />;
  if (i === 2) return <path class={css} d={`M${x} ${y - 4.6}l4.6 8h-9.2z`} />;
  return <circle class={css} cx={x} cy={y} r="4" />;
}

export function Curves({ of }: { of: Run[] }) {
  const curves = of.map((r) => levels(r).sort((a, b) => a.user_tps! - b.user_tps!));
  return (
    <section class="block">
      <div class="sec">
        <h3>{tb('pareto')}</h3>
        <p>{tb('paretoOf')}</p>
      </div>
      <Figure
        title={`${tb('pareto')}: ${tb('paretoOf')}`}
        legend={
          <ul class="legend">
            {of.map((r, i) => (
              <li key={r.id}>
                <svg class={`chart ${series(i)}`} width="22" height="10" aria-hidden="true">
                  <path class="ln" d="M0 5h22" />
                  <Mark i={i} x={11} y={5} on />
                </svg>
                <span dir="auto">{r.id}</span>
              </li>
            ))}
          </ul>
        }
        table={() => ({
          head: [`${tb('run')}, ${tb('load')}`, tb('perUser'), tb('system')],
          rows: of.flatMap((r, i) =>
            curves[i]!.map((l) => [
              `${r.id}, ${loadOf(l)}`,
              number(l.user_tps!, 1),
              number(l.system_tps!, 1),
            ]),
          ),
        })}
        draw={(width) => <Plane width={width} curves={curves} />}
      />
    </section>
  );
}

function Plane({ width, curves }: { width: number; curves: Level[][] }) {
  const height = width < 420 ? 240 : 330;
  const right = width - 8;
  const all = curves.flat();
  const xs = ticks(Math.max(1, ...all.map((l) => l.user_tps!)));
  const ys = ticks(Math.max(1, ...all.map((l) => l.system_tps!)));
  const x = (v: number): number => LEFT + (v / xs.at(-1)!) * (right - LEFT);
  const y = (v: number): number => height - BOTTOM - (v / ys.at(-1)!) * (height - BOTTOM - TOP);
  return (
    <svg class="chart" width={width} height={height} aria-hidden="true">
      {ys.map((v) => (
        <g key={`y${v}`}>
          <line class={v ? 'grid' : 'axis'} x1={LEFT} x2={right} y1={y(v)} y2={y(v)} />
          <text x={LEFT - 9} y={y(v) + 4} text-anchor="end">
            {short(v)}
          </text>
        </g>
      ))}
      {xs.map((v) => (
        <text key={`x${v}`} x={x(v)} y={height - BOTTOM + 17} text-anchor="middle">
          {short(v)}
        </text>
      ))}
      <text x={right} y={height - 4} text-anchor="end">
        {tb('perUser')}
      </text>
      <text x={LEFT + 6} y={10}>
        {tb('system')}
      </text>
      {curves.map((curve, i) => (
        <g key={i} class={series(i)}>
          <path
            class="ln"
            d={curve
              .filter((l) => l.pareto)
              .map((l, k) => `${k ? 'L' : 'M'}${x(l.user_tps!).toFixed(1)} ${y(l.system_tps!).toFixed(1)}`)
              .join('')}
          />
          {curve.map((l, k) => (
            <g key={k}>
              <title>{`${loadOf(l)}: ${number(l.user_tps!, 1)} ${tb('perUser')}, ${number(l.system_tps!, 1)} ${tb('system')}`}</title>
              <Mark i={i} x={x(l.user_tps!)} y={y(l.system_tps!)} on={l.pareto === true} />
            </g>
          ))}
        </g>
      ))}
    </svg>
  );
}

export function Levels({ of }: { of: Run }) {
  const cell = (v: unknown, digits: number): string => (num(v) === null ? '' : number(num(v)!, digits));
  return (
    <section class="block">
      <div class="sec">
        <h3 dir="auto">{of.id}</h3>
        <p>{text(of.url)}</p>
      </div>
      <div class="tbl" tabIndex={0} role="region" aria-label={of.id}>
        <table>
          <thead>
            <tr>
              <th scope="col">{tb('load')}</th>
              {[tb('system'), tb('perUser'), 'TTFT p50 ms', 'TTFT p90 ms', 'TPOT p50 ms', 'TPOT p90 ms', tb('errors')].map(
                (h) => (
                  <th key={h} scope="col" class="r">
                    {h}
                  </th>
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {list<Level>(of.levels, LEVELS).map((l, i) => (
              <tr key={i}>
                <th scope="row" class="num">
                  {loadOf(l)}
                </th>
                <td class="r num">{cell(l.system_tps, 1)}</td>
                <td class="r num">{cell(l.user_tps, 1)}</td>
                <td class="r num">{cell(l.ttft_ms?.p50, 1)}</td>
                <td class="r num">{cell(l.ttft_ms?.p90, 1)}</td>
                <td class="r num">{cell(l.tpot_ms?.p50, 2)}</td>
                <td class="r num">{cell(l.tpot_ms?.p90, 2)}</td>
                <td class="r num">{cell(l.errors, 0)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

export function Histogram({ of }: { of: Run }) {
  const from = num(of.histogram?.from_ms) ?? 0;
  const bar = num(of.histogram?.bar_ms) ?? 0;
  const counts = (Array.isArray(of.histogram?.counts) ? of.histogram.counts : [])
    .slice(0, 200)
    .map((n) => Math.max(0, num(n) ?? 0));
  if (!counts.length) return null;
  const title = tb('histogram', { name: of.id });
  return (
    <section class="block">
      <div class="sec">
        <h3>{title}</h3>
      </div>
      <Figure
        title={title}
        table={() => ({
          head: ['ms', tb('answers')],
          rows: counts
            .map((n, i): [string, number] => [tb('from', { n: number(from + i * bar, 1) }), n])
            .filter(([, n]) => n > 0),
        })}
        draw={(width) => <Bars width={width} counts={counts} from={from} bar={bar} />}
      />
    </section>
  );
}

function Bars({
  width,
  counts,
  from,
  bar,
}: {
  width: number;
  counts: number[];
  from: number;
  bar: number;
}) {
  const height = width < 420 ? 160 : 190;
  const right = width - 6;
  const marks = ticks(Math.max(1, ...counts));
  const y = (v: number): number => height - 22 - (v / marks.at(-1)!) * (height - 22 - TOP);
  const step = (right - LEFT) / counts.length;
  return (
    <svg class="chart s1" width={width} height={height} aria-hidden="true">
      {marks.map((v) => (
        <g key={v}>
          <line class={v ? 'grid' : 'axis'} x1={LEFT} x2={right} y1={y(v)} y2={y(v)} />
          <text x={LEFT - 9} y={y(v) + 4} text-anchor="end">
            {short(v)}
          </text>
        </g>
      ))}
      {counts.map((n, i) => (
        <rect
          key={i}
          class="pt"
          x={LEFT + i * step + 0.5}
          y={y(n)}
          width={Math.max(1, step - 1)}
          height={height - 22 - y(n)}
        />
      ))}
      <text x={LEFT} y={height - 4}>
        {number(from, 1)} ms
      </text>
      <text x={right} y={height - 4} text-anchor="end">
        {number(from + bar * counts.length, 1)} ms
      </text>
    </svg>
  );
}
