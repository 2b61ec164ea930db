// SPDX-License-Identifier: MIT
// The page of measurements: a list, what is chosen side by side, curves and histograms.
import { useEffect, useState } from 'preact/hooks';
import { day, number, t } from '../i18n';
import { tb } from '../i18n/bench';
import { tp } from '../i18n/people';
import { sorry } from '../people';
import { go, href } from '../route';
import { alike, num, runs, text, type Run, type Times } from '../runs';
import { me } from '../store';
import { Curves, Histogram, Levels } from './bench_charts';
import { MenuButton } from './chat';
import '../styles/people.css';
import '../styles/bench.css';

const MOST = 6;

export function Bench({ ids }: { ids: string[] }) {
  const [all, setAll] = useState<{ folder: boolean; more: boolean; runs: Run[] } | null>(null);
  const [open, setOpen] = useState<Run[]>([]);
  const [gone, setGone] = useState('');
  const allowed = !me.value || me.value.user.role === 'admin';
  const asked = ids.slice(0, MOST);
  useEffect(() => {
    document.title = `${t('bench')} · ${t('app')}`;
    if (allowed) runs.list().then(setAll, sorry);
  }, []);
  useEffect(() => {
    let over = false;
    if (!allowed) return;
    void Promise.all(asked.map((id) => runs.one(id).catch(() => id))).then((got) => {
      if (over) return;
      setOpen(got.filter((r): r is Run => typeof r !== 'string'));
      setGone(got.filter((r): r is string => typeof r === 'string').join(', '));
    });
    return () => {
      over = true;
    };
  }, [asked.join()]);
  const pick = (id: string): void =>
    go({ name: 'bench', ids: ids.includes(id) ? ids.filter((x) => x !== id) : [...asked, id] });
  return (
    <main class="screen">
      <div class="bar">
        <MenuButton />
        <h1>{t('bench')}</h1>
      </div>
      <div class="scroll" id="page" tabIndex={-1}>
        <div class="page bench">
          <h2 class="title">{tb('title')}</h2>
          {!allowed && <p class="late">{tp('adminOnly')}</p>}
          {allowed && (
            <>
              <p class="lede">{tb('lede')}</p>
              <p class="note-box">{tb('unverified')}</p>
              {all && !all.runs.length && (
                <p class="none">{tb(all.folder ? 'none' : 'noFolder')}</p>
              )}
              {all && all.runs.length > 0 && <List all={all} ids={asked} onPick={pick} />}
              {gone && (
                <p class="none bad-text" role="alert">
                  {tb('gone', { name: gone })}
                </p>
              )}
              {open.length > 0 && <Open of={open} />}
            </>
          )}
          <p class="quiet-note">
            <a href={href({ name: 'admin', tab: '' })}>{t('admin')}</a>
          </p>
        </div>
      </div>
    </main>
  );
}

const kindOf = (r: Run): string =>
  r.kind === 'serve'
    ? `${tb('serve')}, ${tb('levels', { n: num(r.n_levels) ?? r.levels?.length ?? 0 })}`
    : [
        text(r.benchmark),
        text(r.scenario),
        r.mode === 'accuracy' && tb('accuracy'),
        text(r.compliance) && tb('compliance', { test: text(r.compliance) }),
      ]
        .filter(Boolean)
        .join(', ');

/** What must not be taken for a result of MLPerf, or of the chip. */
function Marks({ of }: { of: Run }) {
  return (
    <>
      {of.machine?.device && <span class="tag sim">{tb('simulated')}</span>}
      {of.official_benchmark !== true && <span class="tag">{tb('unofficial')}</span>}
    </>
  );
}

function List({
  all,
  ids,
  onPick,
}: {
  all: { more: boolean; runs: Run[] };
  ids: string[];
  onPick: (id: string) => void;
}) {
  return (
    <section class="block">
      <div class="sec">
        <h3>{tb('list')}</h3>
        <p>{tb('listHint')}</p>
      </div>
      <div class="tbl" tabIndex={0} role="region" aria-label={tb('list')}>
        <table class="runs">
          <thead>
            <tr>
              <th scope="col">{tb('run')}</th>
              <th scope="col">{tb('what')}</th>
              <th scope="col">{tb('verdict')}</th>
              <th scope="col" class="r">
                {tb('speed')}
              </th>
              <th scope="col" class="r">
                {tb('when')}
              </th>
            </tr>
          </thead>
          <tbody>
            {all.runs.map((r) => (
              <tr key={r.id}>
                <th scope="row">
                  <label>
                    <input
                      type="checkbox"
                      checked={ids.includes(r.id)}
                      disabled={!ids.includes(r.id) && ids.length >= MOST}
                      aria-label={tb('pick', { name: r.id })}
                      onChange={() => onPick(r.id)}
                    />
                    <span dir="auto">{r.id}</span>
                  </label>
                </th>
                <td>
                  {kindOf(r)}
                  <Marks of={r} />
                </td>
                <td class={`verdict ${text(r.verdict)}`}>{text(r.verdict)}</td>
                <td class="r num">{show(r.tokens_per_s, 1)}</td>
                <td class="r">{num(r.unix_time) ? day(r.unix_time!) : ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {all.more && <p class="quiet-note">{tb('more')}</p>}
    </section>
  );
}

const show = (v: unknown, digits: number): string => {
  const n = num(v);
  return n === null ? '' : number(n, digits);
};
const times = (v: Times | null | undefined, digits: number): string =>
  v ? [v.p50, v.p90, v.p99].map((n) => show(n, digits) || '–').join(' / ') : '';

function rowsOf(of: Run[]): [string, string[]][] {
  const ms = (name: 'ttft' | 'tpot' | 'latency', digits: number): [string, string[]] => [
    `${tb(name)}, p50 / p90 / p99 ms`,
    of.map((r) => times(r[`${name}_ms`], digits)),
  ];
  const rows: [string, string[]][] = [
    [tb('what'), of.map(kindOf)],
    [tb('verdict'), of.map((r) => text(r.verdict))],
    [tb('speed'), of.map((r) => show(r.tokens_per_s, 1))],
    [tb('samples'), of.map((r) => show(r.samples_per_s, 3))],
    ms('ttft', 1),
    ms('tpot', 2),
    ms('latency', 1),
    [
      tb('answered'),
      of.map((r) =>
        num(r.queries) === null ? '' : tb('of', { n: show(r.answered, 0), all: show(r.queries, 0) }),
      ),
    ],
    [
      tb('energy'),
      of.map((r) =>
        r.kind === 'serve'
          ? ''
          : text(r.energy?.source)
            ? tb('energyPer', {
                j: show(r.energy?.joules_per_token, 4),
                source: text(r.energy?.source),
              })
            : tb('energyNone'),
      ),
    ],
    [tb('model'), of.map((r) => text(r.model).split('/').at(-1) ?? '')],
    [
      tb('machine'),
      of.map((r) =>
        [
          text(r.machine?.device?.title) && `${tb('simulated')}: ${text(r.machine?.device?.title)}`,
          text(r.machine?.cpu) || text(r.url),
          num(r.machine?.threads) !== null && tb('threads', { n: show(r.machine?.threads, 0) }),
          num(r.machine?.memory_gib) !== null && tb('memory', { n: show(r.machine?.memory_gib, 1) }),
        ]
          .filter(Boolean)
          .join(', '),
      ),
    ],
    [
      tb('build'),
      of.map((r) =>
        text(r.build?.damso)
          ? `damso ${text(r.build?.damso)}, LoadGen ${text(r.build?.loadgen)}`
          : '',
      ),
    ],
  ];
  return rows.filter(([, cells]) => cells.some(Boolean));
}

function Open({ of }: { of: Run[] }) {
  const serve = of.filter((r) => r.kind === 'serve');
  return (
    <>
      <section class="block">
        <div class="sec">
          <h3>{tb('side')}</h3>
          {!alike(of) && <p>{tb('sameNot')}</p>}
        </div>
        <div class="tbl" tabIndex={0} role="region" aria-label={tb('side')}>
          <table class="side-by">
            <thead>
              <tr>
                <th scope="col">{tb('figure')}</th>
                {of.map((r) => (
                  <th key={r.id} scope="col">
                    <span dir="auto">{r.id}</span>
                    <Marks of={r} />
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rowsOf(of).map(([name, cells]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  {cells.map((cell, i) => (
                    <td key={i} class="num">
                      {cell}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {of
          .filter((r) => text(r.why))
          .map((r) => (
            <p key={r.id} class="quiet-note">
              {r.id}: {tb('ended', { why: text(r.why) })}
            </p>
          ))}
      </section>
      {serve.length > 0 && <Curves of={serve} />}
      {serve.map((r) => (
        <Levels key={r.id} of={r} />
      ))}
      {of
        .filter((r) => r.kind === 'mlperf')
        .map((r) => (
          <Histogram key={r.id} of={r} />
        ))}
    </>
  );
}
