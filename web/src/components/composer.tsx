// SPDX-License-Identifier: MIT
// Where one writes: the field is a plain textarea that is never written to while it composes; files
// above it, tools below.
import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { api, ApiError, type FileInfo, type Model, type Prompt } from '../api';
import { Composer as Machine, listen } from '../compose';
import { online } from '../events';
import { isPicture } from '../files/picture';
import { cutNote, cutReason, isLong, readFile } from '../files/read';
import { bytes, lang, number, t, type Key } from '../i18n';
import { fail, me, model, pickModel, said, settings, tell } from '../store';
import { addressIn } from '../tools';
import { stop } from '../view';
import { dialog, variables } from './dialogs';
import { go } from '../route';
import { Icon } from './icon';
import { ToolButton } from './toolbox';
import { IconButton, Menu } from './ui';

/** What was written and not sent, by chat; `new` before there is one. */
const drafts = {
  get: (id: string): string => sessionStorage.getItem(`damso.draft.${id}`) ?? '',
  set(id: string, text: string): void {
    try {
      sessionStorage.setItem(`damso.draft.${id}`, text);
    } catch {
      /* too long to keep: it stands in the field all the same */
    }
  },
  delete: (id: string): void => sessionStorage.removeItem(`damso.draft.${id}`),
};
/** Text that a starter or a prompt puts into the field. */
export const insert = signal<string | null>(null);

interface Chip {
  key: number;
  name: string;
  info: FileInfo | null;
  kept: number;
  cutFrom?: number;
  /** The model will hardly read it whole. */
  long?: boolean;
  /** The address that it is fetched from. */
  from?: string;
  /** The data address of a picture. */
  picture?: string;
}
let chipKey = 0;
/** Why a page was not had, in words. */
const PAGE_FAULTS: Record<string, Key | undefined> = {
  page_not_allowed: 'page_not_allowed',
  page_not_found: 'page_not_found',
  page_type: 'page_type',
  page_too_large: 'page_too_large',
  page_unreachable: 'page_unreachable',
  page_busy: 'page_busy',
};

export const touch = (): boolean => matchMedia('(pointer: coarse)').matches;

export interface ComposeProps {
  id: string;
  busy: boolean;
  first?: boolean;
  onSend: (text: string, files: string[]) => Promise<boolean>;
}

export function Compose({ id, busy, first, onSend }: ComposeProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [chips, setChips] = useState<Chip[]>([]);
  const [over, setOver] = useState(false);
  const [address, setAddress] = useState<string | null>(null);
  const live = useRef({ chips, busy, onSend, id });
  live.current = { chips, busy, onSend, id };

  const submit = async (): Promise<void> => {
    const field = area.current;
    const now = live.current;
    if (!field || now.busy || !online.peek()) return;
    const text = field.value.trim();
    if (!text && !now.chips.length) return;
    if (now.chips.some((c) => !c.info)) return; // a file is being read: the button says so
    const kept = field.value;
    field.value = '';
    drafts.delete(now.id);
    grow(field);
    setChips([]);
    setAddress(null);
    const sent = await now.onSend(
      text,
      now.chips.map((c) => c.info!.id),
    );
    if (sent) return;
    drafts.set(now.id, kept);
    setChips(now.chips);
    if (area.current && !area.current.value) area.current.value = kept;
    tell(t('sendFailed'));
  };
  const send = useRef(submit);
  send.current = submit;
  const machine = useRef<Machine | null>(null);
  machine.current ??= new Machine({
    send: () => void send.current(),
    now: () => performance.now(),
    later: (run, ms) => void setTimeout(run, ms),
    sendKey: () => settings.peek().send_key ?? 'enter',
    touch,
  });
  const m = machine.current;

  useLayoutEffect(() => listen(area.current!, m), []);
  useLayoutEffect(() => {
    area.current!.value = drafts.get(id);
    setAddress(addressIn(area.current!.value));
    grow(area.current!);
    if (!touch()) area.current!.focus();
  }, [id]);
  useEffect(
    () =>
      insert.subscribe((text) => {
        if (text === null || !area.current) return;
        insert.value = null;
        put(area.current, text);
        drafts.set(live.current.id, area.current.value);
      }),
    [],
  );

  const add = async (files: Iterable<File>): Promise<void> => {
    for (const file of files) {
      if (isPicture(file) && !seer()?.pictures) {
        tell(t('pictureModel', { name: seer()?.name ?? t('model') }));
        continue;
      }
      const key = ++chipKey;
      setChips((old) => [...old, { key, name: file.name, info: null, kept: 0 }]);
      try {
        const read = await readFile(file);
        const info = await api.upload(read.name, read.text, read.type);
        const long = !read.type && isLong(read.text, contextOf());
        setChips((old) =>
          old.map((c) =>
            c.key === key
              ? {
                  ...c,
                  info,
                  kept: read.text.length,
                  cutFrom: read.cutFrom,
                  long,
                  picture: read.type ? read.text : undefined,
                }
              : c,
          ),
        );
        if (long) said.value = t('fileLong');
        if (read.cutFrom) said.value = cutReason(read.text.length, read.cutFrom);
      } catch (error) {
        setChips((old) => old.filter((c) => c.key !== key));
        if (error instanceof ApiError) tell(error.message);
        else fail(error);
      }
    }
  };
  const addPage = async (url: string): Promise<void> => {
    const key = ++chipKey;
    setChips((old) => [...old, { key, name: url, info: null, kept: 0, from: url }]);
    area.current?.focus();
    try {
      const info = await api.page(url);
      setChips((old) => old.map((c) => (c.key === key ? { ...c, name: info.name, info } : c)));
      said.value = t('pageAttached', { name: info.name });
    } catch (error) {
      setChips((old) => old.filter((c) => c.key !== key));
      const code = error instanceof ApiError ? error.code : '';
      const words = PAGE_FAULTS[code];
      if (words) tell(t(words));
      else fail(error);
    }
  };
  // Anywhere on the page: a file that misses the field must not take the page's place.
  const take = useRef(add);
  take.current = add;
  useEffect(() => {
    const off = new AbortController();
    const on = (name: string, handle: (e: DragEvent) => void): void =>
      window.addEventListener(name, handle as (e: Event) => void, { signal: off.signal });
    on('dragover', (e) => {
      if (!e.dataTransfer?.types.includes('Files')) return;
      e.preventDefault();
      setOver(true);
    });
    on('dragleave', (e) => {
      if (!e.relatedTarget) setOver(false);
    });
    on('drop', (e) => {
      setOver(false);
      if (!e.dataTransfer?.files.length) return;
      e.preventDefault();
      void take.current(e.dataTransfer.files);
    });
    return () => off.abort();
  }, []);
  const onPaste = (e: ClipboardEvent): void => {
    const files = [...(e.clipboardData?.files ?? [])];
    if (!files.length || e.clipboardData?.types.includes('text/plain')) return;
    e.preventDefault();
    void add(files);
  };
  const reading = chips.some((c) => !c.info);
  return (
    <form
      class={over ? 'box over' : 'box'}
      onSubmit={(e) => {
        e.preventDefault();
        void submit();
      }}
    >
      {address && me.value?.pages && !chips.some((c) => c.from === address) && (
        <p class="offer">
          <button type="button" class="b sm line" onClick={() => void addPage(address)}>
            <Icon name="link" small />
            {t('pageAttach')}
          </button>
          <span dir="ltr">{address}</span>
        </p>
      )}
      {chips.length > 0 && (
        <Chips chips={chips} drop={(key) => setChips(chips.filter((c) => c.key !== key))} />
      )}
      <textarea
        id="say"
        ref={area}
        rows={first ? 2 : 1}
        aria-label={t('message')}
        dir="auto"
        placeholder={over ? t('drop') : first ? t('askFirst') : t('askNext')}
        enterkeyhint={touch() ? 'enter' : 'send'}
        onInput={(e) => {
          drafts.set(id, e.currentTarget.value);
          setAddress(addressIn(e.currentTarget.value));
          grow(e.currentTarget);
        }}
        onPaste={onPaste}
      />
      <div class="tools">
        <Attach add={add} />
        <PromptMenu />
        <ToolButton />
        <Dictate />
        <ModelPicker />
        <span class="end">
          {busy ? (
            <button
              type="button"
              class="go stop"
              aria-label={t('stop')}
              title={t('stop')}
              onClick={() => {
                void stop();
                area.current?.focus(); // the button goes, the hand stays
              }}
            >
              <Icon name="stop" />
            </button>
          ) : (
            <button
              class="go"
              aria-label={reading ? t('reading') : t('send')}
              disabled={reading || !online.value}
              title={online.value ? t('send') : t('offline')}
            >
              <Icon name="up" />
            </button>
          )}
        </span>
      </div>
    </form>
  );
}

/** Where `field-sizing: content` is not known, the height follows by hand. */
function grow(area: HTMLTextAreaElement): void {
  if (CSS.supports('field-sizing', 'content')) return;
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight}px`;
}
function put(area: HTMLTextAreaElement, text: string): void {
  const from = area.selectionStart;
  area.setRangeText(text, from, area.selectionEnd, 'end');
  grow(area);
  area.focus();
}
const seer = (): Model | undefined => me.peek()?.models.find((x) => x.id === model.peek());
const contextOf = (): number => seer()?.context ?? 4096;

function Chips({ chips, drop }: { chips: Chip[]; drop: (key: number) => void }) {
  return (
    <ul class="files">
      {chips.map((c) => (
        <li key={c.key} class="file" aria-busy={!c.info}>
          {c.picture && <img class="thumb" src={c.picture} alt="" />}
          <b dir="auto">{c.name}</b>
          {c.from && c.info && <span dir="ltr">{/\/\/([^/?#]+)/.exec(c.from)?.[1]}</span>}
          {c.info ? (
            !c.picture && <span class="num">{bytes(c.info.size)}</span>
          ) : (
            <span>
              <i class="busy-dot" />
              {t('reading')}
            </span>
          )}
          {c.cutFrom && (
            <em class="cut" title={cutReason(c.kept, c.cutFrom)}>
              {cutNote(c.kept)}
            </em>
          )}
          {c.long && !c.cutFrom && (
            <em class="cut" title={t('fileLongWhy')}>
              {t('fileLong')}
            </em>
          )}
          <IconButton
            icon="x"
            small
            label={t('removeFile', { name: c.name })}
            onClick={() => drop(c.key)}
          />
        </li>
      ))}
    </ul>
  );
}

const ACCEPT =
  'text/*,image/*,.pdf,.docx,.csv,.md,.json,.yaml,.yml,.toml,.xml,.html,.log,.c,.h,.cc,.cpp,.hpp,.py,' +
  '.js,.mjs,.ts,.tsx,.jsx,.go,.rs,.java,.kt,.swift,.rb,.php,.sh,.sql,.css,.ini,.conf,.tex,.srt';

function Attach({ add }: { add: (files: Iterable<File>) => Promise<void> }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <IconButton icon="clip" label={t('attach')} onClick={() => input.current?.click()} />
      <input
        type="file"
        hidden
        multiple
        ref={input}
        accept={ACCEPT}
        onChange={(e) => {
          void add([...(e.currentTarget.files ?? [])]);
          e.currentTarget.value = '';
        }}
      />
    </>
  );
}

function use(prompt: Prompt): void {
  if (!variables(prompt.text).length) insert.value = prompt.text;
  else
    dialog.value = { name: 'fill', prompt, use: (text) => setTimeout(() => (insert.value = text)) };
}
function PromptMenu() {
  const prompts = (settings.value.prompts ?? []).filter((p) => p.text);
  return (
    <Menu
      label={t('prompts')}
      up
      button={<Icon name="book" />}
      items={() => [
        ...prompts.map((p) => ({ label: p.name || p.text.slice(0, 40), act: () => use(p) })),
        {
          icon: 'plus' as const,
          label: t('set_promptAdd'),
          note: prompts.length ? undefined : t('promptsNone'),
          act: () => (go({ name: 'settings', at: 'prompts' })),
        },
      ]}
    />
  );
}

export function ModelPicker() {
  const models = me.value?.models ?? [];
  const now = models.find((x) => x.id === model.value);
  return (
    <Menu
      label={t('pickModel')}
      class="pick"
      up
      button={
        <>
          <span>{now?.name ?? t('model')}</span>
          {now?.device && (
            <span class="on-chip" title={t('simHint')}>
              {now.device.chips > 1 && `${now.device.chips} × `}
              {now.device.name} <i class="sim">{t('sim')}</i>
            </span>
          )}
          <Icon name="down" small />
        </>
      }
      items={() => [
        ...models.map((x) => ({
          label: x.name,
          checked: x.id === model.value,
          act: () => pickModel(x.id),
          note: t('contextOf', { n: number(x.context) }),
        })),
        { icon: 'chart' as const, label: t('compareChips'), act: () => go({ name: 'compare' }) },
      ]}
    />
  );
}

interface Recogniser {
  lang: string;
  continuous: boolean;
  start(): void;
  stop(): void;
  onresult: (e: {
    results: { 0: { transcript: string }; isFinal: boolean }[];
    resultIndex: number;
  }) => void;
  onend: () => void;
}
/** Dictation, where the browser can do it. */
function Dictate() {
  const make = window as unknown as Record<string, (new () => Recogniser) | undefined>;
  const Recognition = make.SpeechRecognition ?? make.webkitSpeechRecognition;
  const [on, setOn] = useState(false);
  const live = useRef<Recogniser | null>(null);
  if (!Recognition || !matchMedia('(min-width: 480px)').matches) return null;
  const flip = (): void => {
    if (on) {
      live.current?.stop();
      return;
    }
    const r = new Recognition();
    r.lang = lang.peek() === 'ko' ? 'ko-KR' : 'en-US';
    r.continuous = true;
    r.onresult = (e) => {
      for (let i = e.resultIndex; i < e.results.length; i++)
        if (e.results[i]!.isFinal) insert.value = e.results[i]![0].transcript;
    };
    r.onend = () => setOn(false);
    live.current = r;
    r.start();
    setOn(true);
  };
  return <IconButton icon="mic" label={t('dictate')} pressed={on} onClick={flip} />;
}
