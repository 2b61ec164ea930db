// SPDX-License-Identifier: MIT
// The models: in memory or not, and getting others of the catalogue. A load runs while this page is
// open: the server ends it when the last who waits has gone.
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { lang, number } from '../i18n';
import { gigabytes, tp, type PeopleKey } from '../i18n/people';
import { admin, sorry, type Live, type LiveModel, type Offer } from '../people';
import { tell } from '../store';
import { look } from './admin';
import { Icon } from './icon';
import { Dialog, IconButton } from './ui';

interface Pull {
  name: string;
  bytes: number;
  total: number;
  began: number;
  at: number;
  failed?: string;
  stop: AbortController;
}
const pulls = signal<Pull[]>([]);
const setPull = (name: string, change: Partial<Pull>): void => {
  pulls.value = pulls.peek().map((p) => (p.name === name ? { ...p, ...change } : p));
};
const dropPull = (name: string): void => {
  pulls.value = pulls.peek().filter((p) => p.name !== name);
};

/** One line of news a piece; ends when the model is there. */
async function pull(name: string): Promise<void> {
  const stop = new AbortController();
  const now = Date.now();
  pulls.value = [
    ...pulls.peek().filter((p) => p.name !== name),
    { name, bytes: 0, total: 0, began: now, at: 0, stop },
  ];
  try {
    const response = await fetch('/api/pull', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ model: name, stream: true }),
      signal: stop.signal,
    });
    let rest = '';
    const take = (line: string): void => {
      const news = JSON.parse(line) as { error?: string; total?: number; completed?: number };
      if (news.error) throw new Error(news.error);
      if (news.completed === undefined) return;
      const before = pulls.peek().find((p) => p.name === name);
      setPull(name, {
        bytes: news.completed,
        total: news.total ?? 0,
        at: before?.at || news.completed,
      });
    };
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? '')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim()) take(line);
      if (done) break;
    }
    if (rest.trim()) take(rest);
    dropPull(name);
    tell(tp('pullDone', { name }));
    void look();
  } catch (error) {
    if (stop.signal.aborted) dropPull(name);
    else setPull(name, { failed: error instanceof Error ? error.message : String(error) });
  }
}

function leftOf(p: Pull): string {
  const s = (Date.now() - p.began) / 1000;
  const rate = (p.bytes - p.at) / s;
  if (s < 2 || rate <= 0 || !p.total) return '';
  const left = (p.total - p.bytes) / rate;
  return left < 90
    ? tp('pullLeft_s', { n: Math.ceil(left) })
    : tp('pullLeft_m', { n: Math.ceil(left / 60) });
}

function stateOf(model: LiveModel): [PeopleKey, string, 'check' | 'warn' | 'time' | null] {
  if (model.state === 'broken') return ['state_broken', 'bad', 'warn'];
  if (model.state === 'opening') return ['state_opening', 'on', 'time'];
  if (model.state === 'closed') return ['state_closed', '', null];
  return model.in_use ? ['state_busy', 'on', 'check'] : ['state_open', 'on', 'check'];
}

export function Models({ now, brief }: { now: Live; brief?: boolean }) {
  const [getting, setGetting] = useState(false);
  const mine = new Set(pulls.value.map((p) => p.name));
  const others = now.pulls.filter((p) => !mine.has(p.name));
  return (
    <section class="block">
      <div class="sec">
        <h3>{tp('models')}</h3>
        {now.loads && (
          <button type="button" class="b line sm end" onClick={() => setGetting(true)}>
            <Icon name="plus" small />
            {tp('pull')}
          </button>
        )}
      </div>
      <div class="tbl">
        <table>
          <thead>
            <tr>
              <th>{tp('name')}</th>
              <th class="hide-s">{tp('format')}</th>
              <th class="r hide-s">{tp('size')}</th>
              <th>{tp('state')}</th>
              <th>
                <span class="vh">{tp('actions')}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {now.models.map((m) => (
              <Row key={m.id} model={m} />
            ))}
            {pulls.value.map((p) => (
              <PullRow key={p.name} pull={p} />
            ))}
            {others.map((p) => (
              <tr key={p.name}>
                <td>{p.name}</td>
                <td class="hide-s" />
                <td class="r hide-s num">{p.total ? gigabytes(p.total) : ''}</td>
                <td>
                  <Progress name={p.name} bytes={p.bytes} total={p.total} note="" />
                </td>
                <td />
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {!brief && (
        <p class="muted quiet-note">
          {now.loads ? tp('deleteNote') : `${tp('pullOff')} ${tp('deleteNote')}`}
        </p>
      )}
      {getting && <Get now={now} onClose={() => setGetting(false)} />}
    </section>
  );
}

function Row({ model }: { model: LiveModel }) {
  const [busy, setBusy] = useState(false);
  const [key, css, icon] = stateOf(model);
  const open = model.state === 'open';
  const act = (): void => {
    setBusy(true);
    const name = model.id;
    (open ? admin.unload(name) : admin.load(name))
      .then(() => {
        tell(tp(open ? 'unloaded' : 'loaded', { name }));
        return look();
      }, sorry)
      .finally(() => setBusy(false));
  };
  const label = tp(open ? 'unloadOf' : 'loadOf', { name: model.id });
  return (
    <tr>
      <td>
        {model.id}
        {model.error && <small class="bad-text">{model.error}</small>}
      </td>
      <td class="hide-s mono">{model.format}</td>
      <td class="r hide-s num">{gigabytes(model.bytes)}</td>
      <td>
        <span class={`state ${css}`}>
          {icon && <Icon name={icon} small />}
          {tp(key)}
        </span>
      </td>
      <td class="r">
        <button
          type="button"
          class="b sm"
          aria-label={label}
          disabled={busy || model.state === 'opening' || (open && model.in_use)}
          title={open && model.in_use ? tp('model_in_use') : undefined}
          onClick={act}
        >
          {busy && <span class="busy-dot" />}
          {tp(open ? 'unload' : 'load')}
        </button>
      </td>
    </tr>
  );
}

interface ProgressProps {
  name: string;
  bytes: number;
  total: number;
  note: string;
}
function Progress({ name, bytes, total, note }: ProgressProps) {
  const percent = total ? Math.floor((100 * bytes) / total) : 0;
  return (
    <div class="prog">
      <i
        class="meter"
        role="progressbar"
        aria-valuenow={percent}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-label={tp('pullPercent', { name, p: percent })}
      >
        <i style={{ width: `${percent}%` }} />
      </i>
      <span class="num">{percent}%</span>
      <span class="muted hide-s num">{note}</span>
    </div>
  );
}

function PullRow({ pull: p }: { pull: Pull }) {
  return (
    <tr>
      <td>{p.name}</td>
      <td class="hide-s" />
      <td class="r hide-s num">{p.total ? gigabytes(p.total) : ''}</td>
      <td>
        {p.failed ? (
          <span class="state bad">
            <Icon name="warn" small />
            {tp('pullFailed', { name: p.name, why: p.failed })}
          </span>
        ) : (
          <Progress name={p.name} bytes={p.bytes} total={p.total} note={leftOf(p)} />
        )}
      </td>
      <td class="r">
        {p.failed ? (
          <button type="button" class="b sm" onClick={() => void pull(p.name)}>
            {tp('pullRetry')}
          </button>
        ) : (
          <IconButton
            icon="x"
            small
            label={tp('pullStop', { name: p.name })}
            onClick={() => p.stop.abort()}
          />
        )}
      </td>
    </tr>
  );
}

function Get({ now, onClose }: { now: Live; onClose: () => void }) {
  const [offers, setOffers] = useState<Offer[]>([]);
  const [find, setFind] = useState('');
  useEffect(() => {
    admin.live(true).then((all) => setOffers(all.offers ?? []), sorry);
  }, []);
  const here = new Set(now.models.map((m) => m.id));
  const wanted = find.trim().toLowerCase();
  const shown = offers.filter((o) =>
    `${o.name} ${o.title} ${o.ko} ${o.en}`.toLowerCase().includes(wanted),
  );
  return (
    <Dialog title={tp('pullTitle')} onClose={onClose} wide>
      <p class="muted">{tp('pullHint')}</p>
      <input
        class="field"
        type="search"
        aria-label={tp('pullFind')}
        placeholder={tp('pullFind')}
        onInput={(e) => setFind(e.currentTarget.value)}
      />
      <ul class="offers">
        {shown.map((o) => (
          <li key={o.name}>
            <span>
              <b>{o.title}</b>
              <small>{lang.value === 'ko' ? o.ko : o.en}</small>
              <small class="num">
                {gigabytes(o.gb * 1e9)} · {tp('pullMemory', { n: number(o.memory_gib, 1) })} ·{' '}
                {o.licence}
              </small>
            </span>
            {here.has(o.name) ? (
              <span class="state on">
                <Icon name="check" small />
                {tp('pullHere')}
              </span>
            ) : pulls.value.some((p) => p.name === o.name && !p.failed) ? (
              <span class="state on">
                <span class="busy-dot" />
                {tp('pulling')}
              </span>
            ) : (
              <button
                type="button"
                class="b line sm"
                aria-label={`${o.title} ${tp('pullGet')}`}
                onClick={() => void pull(o.name)}
              >
                <Icon name="save" small />
                {tp('pullGet')}
              </button>
            )}
          </li>
        ))}
      </ul>
      {!shown.length && offers.length > 0 && <p class="muted">{tp('pullNone')}</p>}
    </Dialog>
  );
}
