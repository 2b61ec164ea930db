// SPDX-License-Identifier: MIT
// The admin's page: what the server does now, and the tabs beside it.
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { t } from '../i18n';
import { gigabytes, tp, type PeopleKey } from '../i18n/people';
import { admin, type Live } from '../people';
import { href } from '../route';
import { me } from '../store';
import { Keys } from './admin_keys';
import { Models } from './admin_models';
import { People } from './admin_people';
import { Usage } from './admin_usage';
import { Figure, LineChart, short } from './chart';
import { MenuButton } from './chat';
import { Icon } from './icon';
import '../styles/people.css';

const TABS = ['', 'people', 'keys', 'models', 'usage'] as const;
const POLL_MS = 1000;
const SPAN_S = 60;

/** What the server said last, and the minute before it. */
export const live = signal<Live | null>(null);
const lost = signal(false);
const past = signal<{ at: number; tokens: number }[]>([]);

const tokensOf = (now: Live): number =>
  now.models.reduce((sum, m) => sum + (m.load?.answer_tokens ?? 0), 0);

export async function look(): Promise<void> {
  try {
    const now = await admin.live();
    live.value = now;
    lost.value = false;
    const before = past.peek().filter((p) => now.now - p.at <= SPAN_S + 2);
    past.value = [...before, { at: now.now, tokens: tokensOf(now) }];
  } catch {
    lost.value = true; // said in the bar; the next look follows
  }
}

/** Asks each second while somebody looks at the page. */
function useLive(): void {
  useEffect(() => {
    let timer = 0;
    let over = false;
    const turn = async (): Promise<void> => {
      if (document.visibilityState === 'visible') await look();
      if (!over) timer = window.setTimeout(() => void turn(), POLL_MS);
    };
    void turn();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, []);
}

function uptime(now: Live): string {
  const s = Date.now() / 1000 - now.started;
  if (s < 3600) return tp('up_minutes', { n: Math.max(1, Math.round(s / 60)) });
  if (s < 2 * 86400) return tp('up_hours', { n: Math.floor(s / 3600) });
  return tp('up_days', { n: Math.floor(s / 86400) });
}

export function Admin({ tab }: { tab: string }) {
  const at = (TABS as readonly string[]).includes(tab) ? (tab as (typeof TABS)[number]) : '';
  useEffect(() => {
    document.title = `${tp(`tab_${at}`)} · ${t('admin')} · ${t('app')}`;
  }, [at]);
  if (me.value && me.value.user.role !== 'admin')
    return (
      <main class="screen">
        <div class="bar">
          <MenuButton />
          <h1>{t('admin')}</h1>
        </div>
        <p class="late" id="page" tabIndex={-1}>
          {tp('adminOnly')}
        </p>
      </main>
    );
  return <Page at={at} />;
}

function Page({ at }: { at: (typeof TABS)[number] }) {
  useLive();
  const now = live.value;
  return (
    <main class="screen">
      <div class="bar">
        <MenuButton />
        <h1>{t('admin')}</h1>
        {lost.value ? (
          <span class="state bad" role="status">
            <Icon name="off" small />
            {tp('lost')}
          </span>
        ) : (
          now && (
            <span class="state on">
              <span class="busy-dot" />
              {uptime(now)}
            </span>
          )
        )}
      </div>
      <div class="scroll" id="page" tabIndex={-1}>
        <div class="page">
          <h2 class="title">{tp('adminTitle')}</h2>
          <nav class="tabs" aria-label={tp('tabs')}>
            {TABS.map((name) => (
              <a
                key={name}
                href={href({ name: 'admin', tab: name })}
                aria-current={name === at ? 'page' : undefined}
              >
                {tp(`tab_${name}`)}
              </a>
            ))}
            <a href={href({ name: 'bench', ids: [] })}>{t('bench')}</a>
          </nav>
          {at === '' && now && <Overview now={now} />}
          {at === 'people' && <People />}
          {at === 'keys' && <Keys />}
          {at === 'models' && now && <Models now={now} />}
          {at === 'usage' && <Usage />}
        </div>
      </div>
    </main>
  );
}

/** Tokens a second between two looks each, oldest first. */
function speeds(): { ago: number; speed: number }[] {
  const all = past.value;
  const end = all.at(-1)?.at ?? 0;
  const out: { ago: number; speed: number }[] = [];
  for (let i = 1; i < all.length; i++) {
    const [a, b] = [all[i - 1]!, all[i]!];
    if (b.at > a.at && end - b.at <= SPAN_S)
      // A model that was closed took its count with it.
      out.push({ ago: end - b.at, speed: Math.max(0, b.tokens - a.tokens) / (b.at - a.at) });
  }
  return out;
}

function Fig({ name, value, unit }: { name: string; value: string; unit: string }) {
  return (
    <div class="fig">
      <dt>{name}</dt>
      <dd>
        {value}
        <small>{unit}</small>
      </dd>
    </div>
  );
}

function Overview({ now }: { now: Live }) {
  const list = speeds();
  // The mean of three seconds: a number that can be read.
  const lately = list.filter((p) => p.ago < 3);
  const speed = lately.length ? lately.reduce((s, p) => s + p.speed, 0) / lately.length : 0;
  const sum = (of: 'running' | 'queued'): number =>
    now.models.reduce((n, m) => n + (m.load?.[of] ?? 0), 0);
  return (
    <>
      <div class="live">
        <section>
          <dl class="figs">
            <Fig name={tp('speed')} value={short(Math.round(speed))} unit={tp('perSecond')} />
            <Fig
              name={tp('talking')}
              value={String(sum('running'))}
              unit={tp('ofPlaces', { n: now.parallel })}
            />
            <Fig name={tp('waiting')} value={String(sum('queued'))} unit={tp('people')} />
          </dl>
          <Figure
            title={tp('chartSpeed')}
            table={() => ({
              head: [tp('time'), tp('perSecond')],
              rows: list
                .filter((_, i) => i % 5 === list.length % 5)
                .map((p) => [tp('secondsAgo', { n: Math.round(p.ago) }), Math.round(p.speed)])
                .reverse(),
            })}
            draw={(width) => (
              <LineChart
                width={width}
                points={list.map((p) => ({ x: 1 - p.ago / SPAN_S, y: p.speed }))}
                from={tp('minuteAgo')}
                to={tp('now')}
              />
            )}
          />
        </section>
        <Memory now={now} />
      </div>
      <Models now={now} brief />
    </>
  );
}

function Memory({ now }: { now: Live }) {
  const of = (part: 'weights' | 'context' | 'work'): number =>
    now.models.reduce((n, m) => n + (m.memory?.[part] ?? 0), 0);
  const pages = now.models.reduce((n, m) => n + (m.load?.pages ?? 0), 0);
  const free = now.models.reduce((n, m) => n + (m.load?.pages_free ?? 0), 0);
  const used = pages ? Math.round(100 * (1 - free / pages)) : 0;
  const [weights, context, work] = [of('weights'), of('context'), of('work')];
  const taken = now.memory - now.available;
  // Reserved is not yet taken: what is left over of both belongs to others.
  const other = Math.max(0, taken - Math.min(now.resident, weights + context + work));
  const rest = Math.max(0, now.memory - weights - context - work - other);
  const parts: [PeopleKey, number, string][] = [
    ['mem_weights', weights, 'm1'],
    ['mem_context', context, 'm2'],
    ['mem_work', work, 'm3'],
    ['mem_other', other, 'm4'],
    ['mem_free', rest, 'm5'],
  ];
  const label = tp('memoryOf', {
    list: parts.map(([key, n]) => `${tp(key)} ${gigabytes(n)}`).join(', '),
    all: gigabytes(now.memory),
  });
  return (
    <section>
      <div class="sec">
        <h3>{tp('memory')}</h3>
        <p class="num">
          {gigabytes(now.memory - rest)} / {gigabytes(now.memory)}
        </p>
      </div>
      <div class="stack" role="img" aria-label={label}>
        {parts.map(([key, n, css]) => (
          <i key={key} class={css} style={{ width: `${(100 * n) / now.memory}%` }} />
        ))}
      </div>
      <ul class="mem">
        {parts.map(([key, n, css]) => (
          <li key={key}>
            <i class={`sw ${css}`} />
            <span>
              {tp(key)}
              {key === 'mem_context' && pages > 0 && (
                <small>{tp('mem_used', { p: used })}</small>
              )}
            </span>
            <b class="num">{gigabytes(n)}</b>
          </li>
        ))}
      </ul>
      <p class="muted quiet-note num">{tp('connections', { n: now.connections })}</p>
    </section>
  );
}
