// SPDX-License-Identifier: MIT
// One question, two simulated chips: the answer is written once and replayed at each chip's speed.
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, type Chip, type ChipRun, type Usage } from '../api';
import { endOf, slowness, textAt, ticksOf, tokensAt } from '../compare';
import { lang, number, t } from '../i18n';
import { tc } from '../i18n/compare';
import { Prose } from '../text/prose';
import { fail, model } from '../store';
import { Figure } from './chart';
import { MenuButton } from './chat';
import { Icon } from './icon';
import '../styles/people.css';
import '../styles/compare.css';

const POLL_MS = 250;

/** An answer, and what it takes on both chips. */
interface Pair {
  question: string;
  text: string;
  tokens: number;
  runs: [ChipRun, ChipRun];
}

/** "1.41 ms", "3.2 s" */
const time = (ms: number): string =>
  ms >= 1000
    ? `${number(ms / 1000, ms < 1e4 ? 2 : 1)} ${lang.value === 'ko' ? '초' : 's'}`
    : `${number(ms, ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;

/** Has the question answered in a chat that is not kept, and gives what was said. */
async function answer(
  question: string,
  gone: () => boolean,
): Promise<{ text: string; usage: Usage } | null> {
  const chat = await api.newChat({ temporary: true, model: model.peek() ?? undefined });
  try {
    const asked = await api.send(chat.id, { parent: null, content: question });
    for (;;) {
      await new Promise((next) => setTimeout(next, POLL_MS));
      const { messages } = await api.chat(chat.id);
      const said = messages.find((m) => m.id === asked.answer.id);
      if (gone()) {
        if (said?.status === 'running') await api.stop(chat.id, said.id);
        return null;
      }
      if (!said || said.status === 'running') continue;
      const why = typeof said.error === 'string' ? said.error : said.error?.message;
      if (said.status === 'error' || !said.usage) throw new Error(why || tc('noAnswer'));
      return { text: said.content, usage: said.usage };
    }
  } finally {
    api.deleteChat(chat.id).catch(() => undefined); // the server drops it by itself in the end
  }
}

async function compare(
  question: string,
  chips: [string, string],
  tell: (state: 'asking' | 'pricing') => void,
  gone: () => boolean,
): Promise<Pair | null> {
  tell('asking');
  const said = await answer(question, gone);
  if (!said) return null;
  if (!said.usage.completion_tokens) throw new Error(tc('noAnswer'));
  tell('pricing');
  const { prompt_tokens, completion_tokens } = said.usage;
  const { chips: runs } = await api.compare({
    chips,
    model: model.peek() ?? undefined,
    prompt_tokens,
    cached_tokens: 0,
    completion_tokens,
  });
  const bad = runs.find((r) => r.error);
  if (bad) throw new Error(bad.error);
  return { question, text: said.text, tokens: completion_tokens, runs: [runs[0]!, runs[1]!] };
}

/** The chips' clock: goes on while it is watched, `slow` times slower than real. */
function useClock(pair: Pair | null) {
  const [ms, setMs] = useState(0);
  const [runs, setRuns] = useState(false);
  const [slow, setSlow] = useState(1);
  const end = pair ? Math.max(...pair.runs.map((r) => endOf(r, pair.tokens))) : 0;
  useEffect(() => {
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    setSlow(slowness(end));
    setMs(still ? end : 0);
    setRuns(!!pair && !still);
  }, [pair]);
  useEffect(() => {
    if (!runs) return;
    let last = performance.now();
    let frame = 0;
    const turn = (now: number): void => {
      const gone = Math.max(0, now - last) / slow; // a frame's time may lie before the start
      last = now;
      setMs((was) => Math.min(end, was + gone));
      frame = requestAnimationFrame(turn);
    };
    frame = requestAnimationFrame(turn);
    return () => cancelAnimationFrame(frame);
  }, [runs, slow, end]);
  useEffect(() => {
    if (ms >= end && end > 0) setRuns(false);
  }, [ms, end]);
  return { ms, end, runs, slow, setMs, setRuns, setSlow };
}

const LANE = 28;
const LEFT = 8;

function Lanes({ pair, ms, end, width }: { pair: Pair; ms: number; end: number; width: number }) {
  const scale = (width - LEFT - 70) / end;
  return (
    <svg class="chart lanes" width={width} height={148} aria-hidden="true">
      {pair.runs.map((run, i) => {
        const y = 20 + i * 58;
        const wait = Math.min(ms, run.ttft_ms) * scale;
        const path = ticksOf(run, pair.tokens, ms, scale).map((x) => `M${(LEFT + x).toFixed(1)} ${y}v${LANE}`);
        return (
          <g key={run.name} class={`s${i + 1}`}>
            <text class="name" x={LEFT} y={y - 6}>
              {run.name}
            </text>
            <rect class="wait" x={LEFT} y={y} width={wait} height={LANE} />
            <path class="tick" d={path.join('')} />
          </g>
        );
      })}
      <line class="now" x1={LEFT + ms * scale} x2={LEFT + ms * scale} y1={8} y2={116} />
      <text class="lab" x={LEFT + ms * scale + 5} y={66}>
        {time(ms)}
      </text>
      <text x={LEFT} y={140}>
        0
      </text>
      <text x={LEFT + end * scale} y={140} text-anchor="end">
        {time(end)}
      </text>
    </svg>
  );
}

/** Markdown that grows, as in a chat. */
function Growing({ text, whole }: { text: string; whole: boolean }) {
  const root = useRef<HTMLDivElement>(null);
  const prose = useRef<Prose | null>(null);
  useEffect(() => {
    prose.current ??= new Prose(root.current!);
    prose.current.update(text, whole);
  }, [text, whole]);
  return <div class="prose" dir="auto" ref={root} />;
}

function Fig({ name, value, unit, best }: { name: string; value: string; unit?: string; best?: string }) {
  return (
    <div class={best ? 'fig best' : 'fig'}>
      <dt>
        {name} {best && <em>{best}</em>}
      </dt>
      <dd>
        {value}
        {unit && <small>{unit}</small>}
      </dd>
    </div>
  );
}

function One({ pair, i, ms }: { pair: Pair; i: 0 | 1; ms: number }) {
  const run = pair.runs[i];
  const other = pair.runs[1 - i]!;
  const there = tokensAt(run, pair.tokens, ms);
  const whole = there >= pair.tokens;
  const state = whole ? 'done' : there ? 'writing' : 'waits';
  const end = endOf(run, pair.tokens);
  const less = (a: number | null, b: number | null): boolean => a !== null && b !== null && a < b;
  return (
    <article aria-busy={!whole} aria-label={run.title} data-testid={`compare-${i}`} data-state={state}>
      <h3 class="chip-h">
        <svg class={`key s${i + 1}`} viewBox="0 0 22 10" aria-hidden="true">
          <path d="M0 5h22" />
          {i ? <rect x="7.5" y="1.5" width="7" height="7" /> : <circle cx="11" cy="5" r="3.6" />}
        </svg>
        {run.name} <i class="sim">{t('sim')}</i>
        <small>
          {run.title}, {run.computes}
        </small>
        <span class={whole ? 'state on' : 'state'}>
          {whole ? <Icon name="check" small /> : <i class="busy-dot" />}
          {tc(state)}
        </span>
      </h3>
      <dl class="figs">
        <Fig name="TTFT" value={time(run.ttft_ms)} best={less(run.ttft_ms, other.ttft_ms) ? tc('first') : undefined} />
        <Fig
          name="TPOT"
          value={run.tpot_ms === null ? '–' : time(run.tpot_ms)}
          best={less(run.tpot_ms, other.tpot_ms) ? tc('fast') : undefined}
        />
        <Fig
          name={tc('perJoule')}
          value={number(run.tokens_per_joule ?? 0, (run.tokens_per_joule ?? 0) < 10 ? 2 : 1)}
          best={less(other.tokens_per_joule, run.tokens_per_joule) ? tc('thrifty') : undefined}
        />
      </dl>
      <Growing text={textAt(pair.text, there, pair.tokens)} whole={whole} />
      <p class="quiet">
        {run.tpot_ms !== null && (
          <span>
            <b>{number(1000 / run.tpot_ms, run.tpot_ms > 10 ? 1 : 0)}</b>
            {t('speed')}
          </span>
        )}
        <span>{number((run.joules / end) * 1000, 1)} W</span>
        <span>
          {whole
            ? tc('tokens', { n: number(pair.tokens) })
            : tc('tokensOf', { n: number(there), all: number(pair.tokens) })}
        </span>
        {run.assumed > 0 && <span class="wraps">{tc('assumed', { n: run.assumed })}</span>}
      </p>
    </article>
  );
}

function Result({ pair, numerics }: { pair: Pair; numerics: string }) {
  const clock = useClock(pair);
  const { ms, end, runs, slow } = clock;
  const kinds = [...new Set(pair.runs.map((r) => r.computes))];
  const same = kinds.length === 1 && kinds[0] === numerics;
  const speeds = [1, 2, 5].flatMap((n) => [1, 10, 100, 1000, 10000].map((k) => n * k)).sort((a, b) => a - b);
  const at = speeds.indexOf(slow);
  return (
    <>
      <h2 class="title" dir="auto">
        {pair.question}
      </h2>
      <section class="clock" aria-label={tc('clock')}>
        <div class="sec">
          <h3>{tc('clock')}</h3>
          <p>{tc('clockHint')}</p>
          <span class="end">
            <button
              type="button"
              class="b sm"
              data-testid="compare-play"
              onClick={() => {
                if (ms >= end) clock.setMs(0);
                clock.setRuns(!runs);
              }}
            >
              {tc(runs ? 'pause' : ms >= end ? 'again' : 'play')}
            </button>
            <button type="button" class="b sm" disabled={at < 1} onClick={() => clock.setSlow(speeds[at - 1]!)}>
              {tc('faster')}
            </button>
            <button type="button" class="b sm" onClick={() => clock.setSlow(speeds[at + 1] ?? slow)}>
              {tc('slower')}
            </button>
          </span>
        </div>
        <p class="quiet-note" role="status">
          {slow === 1 ? tc('real') : tc('slow', { n: number(slow) })}
        </p>
        <Figure
          title={tc('clockSaid', {
            a: pair.runs[0].name,
            ta: time(endOf(pair.runs[0], pair.tokens)),
            b: pair.runs[1].name,
            tb: time(endOf(pair.runs[1], pair.tokens)),
          })}
          table={() => ({
            head: ['', 'TTFT', 'TPOT', tc('perJoule')],
            rows: pair.runs.map((r) => [
              r.name,
              time(r.ttft_ms),
              r.tpot_ms === null ? '–' : time(r.tpot_ms),
              number(r.tokens_per_joule ?? 0, 2),
            ]),
          })}
          draw={(width) => <Lanes pair={pair} ms={ms} end={end} width={width} />}
        />
      </section>
      <div class="duo">
        <One pair={pair} i={0} ms={ms} />
        <One pair={pair} i={1} ms={ms} />
      </div>
      <p class="quiet-note">
        {tc('how')}{' '}
        {same
          ? tc('sameContract', { n: numerics })
          : tc('otherContract', { server: numerics, chips: kinds.join(', ') })}
      </p>
    </>
  );
}

function Pick({ label, chips, value, set }: { label: string; chips: Chip[]; value: string; set: (v: string) => void }) {
  return (
    <label>
      <span>{label}</span>
      <select class="field" value={value} onChange={(e) => set(e.currentTarget.value)}>
        {chips.map((c) => (
          <option key={c.name} value={c.name}>
            {c.name} ({c.title})
          </option>
        ))}
      </select>
    </label>
  );
}

export function Compare() {
  const [chips, setChips] = useState<Chip[] | null>(null);
  const [numerics, setNumerics] = useState('native');
  const [names, setNames] = useState<[string, string]>(['', '']);
  const [question, setQuestion] = useState('');
  const [busy, setBusy] = useState<'asking' | 'pricing' | null>(null);
  const [note, setNote] = useState('');
  const [pair, setPair] = useState<Pair | null>(null);
  const turn = useRef(0);
  useEffect(() => {
    api.chips().then((got) => {
      // The chip that the server itself simulates comes first, where there is one.
      const all = got.chips.map((c) => c.name);
      const own = got.numerics !== 'native' ? all[0] : undefined;
      const first = own ?? all.find((name) => name === 'atom') ?? all[0] ?? '';
      const rest = all.filter((name) => name !== first);
      setChips(got.chips);
      setNumerics(got.numerics);
      setNames([first, rest.find((name) => name === 'atom' || name === 'l4') ?? rest[0] ?? '']);
    }, fail);
    return () => void ++turn.current;
  }, []);
  useEffect(() => {
    document.title = `${t('compareChips')} · ${t('app')}`;
  }, [lang.value]);

  const begin = async (): Promise<void> => {
    const text = question.trim();
    if (!text || names[0] === names[1]) {
      setNote(tc(text ? 'sameChip' : 'empty'));
      return;
    }
    const mine = ++turn.current;
    setNote('');
    setPair(null);
    try {
      const got = await compare(text, names, setBusy, () => turn.current !== mine);
      if (turn.current === mine && got) setPair(got);
    } catch (error) {
      if (turn.current === mine) setNote(error instanceof Error ? error.message : String(error));
    }
    if (turn.current === mine) setBusy(null);
  };
  return (
    <main class="screen compare">
      <div class="bar">
        <MenuButton />
        <h1>{t('compareChips')}</h1>
      </div>
      <div class="scroll">
        <div class="page" id="page" tabIndex={-1}>
          <p class="lede">{tc('lede')}</p>
          {chips && chips.length < 2 ? (
            <p class="none">{tc('noChips')}</p>
          ) : (
            <form
              class="compare-ask"
              onSubmit={(e) => {
                e.preventDefault();
                if (!busy) void begin();
              }}
            >
              <label class="wide">
                <span>{tc('question')}</span>
                <textarea
                  class="field"
                  rows={2}
                  dir="auto"
                  data-testid="compare-question"
                  value={question}
                  onInput={(e) => setQuestion(e.currentTarget.value)}
                />
              </label>
              <Pick label={tc('chipA')} chips={chips ?? []} value={names[0]} set={(v) => setNames([v, names[1]])} />
              <Pick label={tc('chipB')} chips={chips ?? []} value={names[1]} set={(v) => setNames([names[0], v])} />
              <button type="submit" class="b main" disabled={!chips || !!busy} data-testid="compare-ask">
                {tc('ask')}
              </button>
              {busy && (
                <button
                  type="button"
                  class="b"
                  onClick={() => {
                    turn.current++;
                    setBusy(null);
                  }}
                >
                  {tc('stop')}
                </button>
              )}
            </form>
          )}
          <p role="status" class={note ? 'bad-text quiet-note' : 'quiet-note'}>
            {busy ? tc(busy) : note}
          </p>
          {pair && <Result pair={pair} numerics={numerics} />}
        </div>
      </div>
    </main>
  );
}
