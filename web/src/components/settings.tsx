// SPDX-License-Identifier: MIT
// The settings: everything is kept as it is changed; nothing to press at the end.
import { useId, useState } from 'preact/hooks';
import type { Options, Settings } from '../api';
import { lang, t, type Key } from '../i18n';
import { drawer, go } from '../route';
import { me, set, settings } from '../store';
import { Icon } from './icon';
import { Keys } from './dialogs';
import { lazy } from './lazy';
import { showArchived } from './sidebar';
import { Dialog, IconButton, Seg, Toggle } from './ui';

const Account = lazy(() => import('./account').then((m) => m.Account));

const Moving = lazy(() => import('./data').then((m) => m.Moving), true);

const SECTIONS: [Key, () => preact.JSX.Element][] = [
  ['set_look', Look],
  ['set_writing', Writing],
  ['set_answers', Answers],
  ['set_personal', Personal],
  ['set_prompts', Prompts],
  ['set_data', Data],
  ['set_account', () => <Account />],
  ['set_keys', Shortcuts],
];

export function SettingsDialog({ at, onClose }: { at?: string; onClose: () => void }) {
  const now = SECTIONS.some(([key]) => key === `set_${at}`) ? `set_${at}` : 'set_look';
  const setNow = (key: string): void => go({ name: 'settings', at: key.slice(4) }, true);
  const shown = SECTIONS.filter(([key]) => key !== 'set_account' || me.value?.accounts);
  const Section = SECTIONS.find(([key]) => key === now)?.[1] ?? Look;
  return (
    <Dialog title={t('settings')} onClose={onClose} wide>
      <div class="set">
        <nav aria-label={t('settings')}>
          {shown.map(([key]) => (
            <button
              key={key}
              type="button"
              class={key === now ? 'row on' : 'row'}
              aria-current={key === now ? 'page' : undefined}
              onClick={() => setNow(key)}
            >
              {t(key)}
            </button>
          ))}
          <p class="state">
            <Icon name="check" small />
            {t('set_saved')}
          </p>
        </nav>
        <section>
          <h3>{t(now as Key)}</h3>
          <Section />
        </section>
      </div>
    </Dialog>
  );
}

function Switch({
  name,
  label,
  hint,
  fallback,
}: {
  name: 'stream' | 'quiet_line' | 'open_reasoning';
  label: string;
  hint?: string;
  fallback: boolean;
}) {
  const id = useId();
  return (
    <div class="opt">
      <div>
        <b>
          <label for={id}>{label}</label>
        </b>
        {hint && <p>{hint}</p>}
      </div>
      <Toggle id={id} on={settings.value[name] ?? fallback} onSet={(on) => set({ [name]: on })} />
    </div>
  );
}

function Look() {
  const s = settings.value;
  return (
    <>
      <div class="opt">
        <b>{t('set_theme')}</b>
        <Seg
          name="theme"
          label={t('set_theme')}
          value={s.theme ?? 'auto'}
          onPick={(theme) => set({ theme })}
          options={[
            ['auto', t('set_auto')],
            ['light', t('set_light')],
            ['dark', t('set_dark')],
          ]}
        />
      </div>
      <div class="opt">
        <b>{t('set_lang')}</b>
        <Seg
          name="lang"
          label={t('set_lang')}
          value={lang.value}
          onPick={(language) => set({ language })}
          options={[
            ['ko', '한국어'],
            ['en', 'English'],
          ]}
        />
      </div>
      <div class="opt">
        <b>{t('set_size')}</b>
        <Seg
          name="size"
          label={t('set_size')}
          value={s.size ?? 'normal'}
          onPick={(size) => set({ size })}
          options={[
            ['small', t('set_small')],
            ['normal', t('set_normal')],
            ['large', t('set_large')],
          ]}
        />
      </div>
      {me.value && <p class="version">{t('set_version', { v: me.value.version })}</p>}
    </>
  );
}
function Writing() {
  return (
    <div class="opt">
      <div>
        <b>{t('set_enter')}</b>
        <p>{t('set_enterHint')}</p>
      </div>
      <Seg
        name="enter"
        label={t('set_enter')}
        value={settings.value.send_key ?? 'enter'}
        onPick={(send_key) => set({ send_key })}
        options={[
          ['enter', t('send')],
          ['ctrl-enter', t('newline')],
        ]}
      />
    </div>
  );
}

interface Range {
  name: 'temperature' | 'top_p' | 'top_k' | 'min_p' | 'repeat_penalty' | 'max_tokens' | 'seed';
  label: Key;
  hint: Key;
  min: number;
  max: number;
  step: number;
}
const RANGES: Range[] = [
  {
    name: 'temperature',
    label: 'set_temperature',
    hint: 'set_temperatureHint',
    min: 0,
    max: 2,
    step: 0.1,
  },
  { name: 'top_p', label: 'set_topP', hint: 'set_topPHint', min: 0.05, max: 1, step: 0.05 },
  { name: 'top_k', label: 'set_topK', hint: 'set_topKHint', min: 0, max: 1000, step: 1 },
  { name: 'min_p', label: 'set_minP', hint: 'set_minPHint', min: 0, max: 1, step: 0.01 },
  {
    name: 'repeat_penalty',
    label: 'set_repeat',
    hint: 'set_repeatHint',
    min: 0.5,
    max: 2,
    step: 0.05,
  },
  {
    name: 'max_tokens',
    label: 'set_maxTokens',
    hint: 'set_maxTokensHint',
    min: 1,
    max: 1e6,
    step: 1,
  },
  { name: 'seed', label: 'set_seed', hint: 'set_seedHint', min: 0, max: 2147483647, step: 1 },
];
function NumberOpt({ range }: { range: Range }) {
  const id = useId();
  const value = settings.value.sampling?.[range.name];
  const change = (text: string): void => {
    const sampling: Options = { ...settings.peek().sampling };
    const n = Number(text);
    if (text === '' || !Number.isFinite(n)) delete sampling[range.name];
    else sampling[range.name] = Math.min(range.max, Math.max(range.min, n));
    set({ sampling });
  };
  return (
    <div class="opt">
      <div>
        <b>
          <label for={id}>{t(range.label)}</label>
        </b>
        <p>{t(range.hint)}</p>
      </div>
      <input
        class="field num"
        id={id}
        type="number"
        inputMode="decimal"
        min={range.min}
        max={range.max}
        step={range.step}
        placeholder={t('set_default')}
        value={value ?? ''}
        onChange={(e) => change(e.currentTarget.value)}
      />
    </div>
  );
}
/** For models that reason; the others do not mind. */
function Effort() {
  const pick = (effort: string): void => {
    const sampling: Options = { ...settings.peek().sampling };
    if (effort) sampling.reasoning_effort = effort;
    else delete sampling.reasoning_effort;
    set({ sampling });
  };
  return (
    <div class="opt">
      <div>
        <b>{t('set_effort')}</b>
        <p>{t('set_effortHint')}</p>
      </div>
      <Seg
        name="effort"
        label={t('set_effort')}
        value={settings.value.sampling?.reasoning_effort ?? ''}
        onPick={pick}
        options={[
          ['', t('set_default')],
          ['none', t('set_effortNone')],
          ['low', t('set_effortLow')],
          ['high', t('set_effortHigh')],
        ]}
      />
    </div>
  );
}
function Answers() {
  return (
    <>
      <Switch name="stream" label={t('set_stream')} hint={t('set_streamHint')} fallback />
      <Switch name="quiet_line" label={t('set_quiet')} hint={t('set_quietHint')} fallback />
      <Switch name="open_reasoning" label={t('set_openReasoning')} fallback={false} />
      <Effort />
      {RANGES.map((range) => (
        <NumberOpt key={range.name} range={range} />
      ))}
    </>
  );
}

const newId = (): string => crypto.randomUUID?.() ?? String(Date.now() + Math.random());

function Personal() {
  const id = useId();
  const [note, setNote] = useState('');
  const memory = settings.value.memory ?? [];
  const keep = (id: string, text: string): void =>
    set({
      memory: memory.flatMap((m) => (m.id !== id ? [m] : text.trim() ? [{ id, text: text.trim() }] : [])),
    });
  const add = (e: SubmitEvent): void => {
    e.preventDefault();
    const text = note.trim();
    if (!text) return;
    set({ memory: [...memory, { id: newId(), text }] });
    setNote('');
  };
  return (
    <>
      <div class="opt tall">
        <div>
          <b>
            <label for={id}>{t('set_instructions')}</label>
          </b>
          <p>{t('set_instructionsHint')}</p>
        </div>
        <textarea
          class="field"
          id={id}
          rows={4}
          maxLength={16000}
          defaultValue={settings.peek().instructions}
          onChange={(e) => set({ instructions: e.currentTarget.value })}
        />
      </div>
      <div class="opt tall">
        <div>
          <b>{t('set_memory')}</b>
          <p>{t('set_memoryHint')}</p>
        </div>
        <ul class="notes">
          {memory.map((m) => (
            <li key={m.id}>
              <input
                class="field"
                aria-label={t('set_memoryEdit')}
                dir="auto"
                defaultValue={m.text}
                maxLength={1000}
                onChange={(e) => keep(m.id, e.currentTarget.value)}
              />
              <IconButton
                icon="x"
                small
                label={`${t('remove')}: ${m.text.slice(0, 40)}`}
                onClick={() => set({ memory: memory.filter((x) => x.id !== m.id) })}
              />
            </li>
          ))}
        </ul>
        <form class="add" onSubmit={add}>
          <input
            class="field"
            aria-label={t('set_memoryAdd')}
            placeholder={t('set_memoryAdd')}
            value={note}
            maxLength={1000}
            onInput={(e) => setNote(e.currentTarget.value)}
          />
          <button class="b line">{t('add')}</button>
        </form>
      </div>
    </>
  );
}

function Prompts() {
  const prompts = settings.value.prompts ?? [];
  const change = (id: string, part: Partial<NonNullable<Settings['prompts']>[number]>): void =>
    set({
      prompts: (settings.peek().prompts ?? []).map((p) => (p.id === id ? { ...p, ...part } : p)),
    });
  return (
    <>
      <p class="muted intro">{t('set_promptsHint')}</p>
      <ul class="prompt-list">
        {prompts.map((p) => (
          <li key={p.id}>
            <div>
              <input
                class="field"
                aria-label={t('set_promptName')}
                placeholder={t('set_promptName')}
                defaultValue={p.name}
                maxLength={100}
                onChange={(e) => change(p.id, { name: e.currentTarget.value })}
              />
              <IconButton
                icon="bin"
                label={`${t('remove')}: ${p.name}`}
                onClick={() => set({ prompts: prompts.filter((x) => x.id !== p.id) })}
              />
            </div>
            <textarea
              class="field"
              aria-label={t('set_promptText')}
              placeholder={t('set_promptText')}
              rows={3}
              defaultValue={p.text}
              maxLength={16000}
              onChange={(e) => change(p.id, { text: e.currentTarget.value })}
            />
          </li>
        ))}
      </ul>
      <button
        type="button"
        class="b line"
        onClick={() => set({ prompts: [...prompts, { id: newId(), name: '', text: '' }] })}
      >
        <Icon name="plus" />
        {t('set_promptAdd')}
      </button>
    </>
  );
}

function Data() {
  const open = (): void => {
    showArchived(true);
    drawer.value = matchMedia('(max-width: 780px)').matches;
    document.querySelector<HTMLDialogElement>('dialog[open]')?.dispatchEvent(new Event('cancel'));
  };
  return (
    <>
      <div class="opt">
        <div>
          <b>{t('archived')}</b>
        </div>
        <button type="button" class="b line" onClick={open}>
          <Icon name="box" small />
          {t('archived')}
        </button>
      </div>
      <Moving />
      <p class="muted intro">{t('stays')}</p>
    </>
  );
}
function Shortcuts() {
  return <Keys />;
}
