// SPDX-License-Identifier: MIT
// The screens of the middle: an open chat, a new one, and the bar above them.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { online } from '../events';
import { t, type Key } from '../i18n';
import { drawer, folded, go, route } from '../route';
import { folders, folder, settings, temporary, titleOf } from '../store';
import { togglePreview } from '../text/preview';
import { asked, leave, openChat, send, view, type View } from '../view';
import { Compose, insert, touch } from './composer';
import { dialog } from './dialogs';
import { Icon, Moon } from './icon';
import { chatItems, fold } from './sidebar';
import { Turn } from './turn';
import { copy, IconButton, Menu } from './ui';

export function Screen() {
  const current = route.value;
  const id = current.name === 'chat' ? current.id : null;
  useEffect(() => {
    const left = view.peek();
    if (left && left.id !== id) leave(left);
    if (id) void openChat(id);
    else view.value = null;
  }, [id]);
  const open = view.value;
  if (!id) return <New />;
  if (!open || open.id !== id) return <main class="screen" />;
  return <Chat key={id} open={open} />;
}

export function MenuButton() {
  const open = (): void => {
    if (folded.peek() && !matchMedia('(max-width: 780px)').matches) fold();
    else drawer.value = true;
  };
  return (
    <IconButton
      icon="menu"
      label={t('openList')}
      class={folded.value ? 'menu-open shown' : 'menu-open'}
      onClick={open}
    />
  );
}

function Offline() {
  if (online.value) return null;
  return (
    <div class="note-box warn" role="status">
      <Icon name="off" />
      <p>
        {t('offline')} {t('offlineTyping')}
      </p>
    </div>
  );
}

const Hint = ({ keys, text }: { keys: string[]; text: string }) => (
  <span>
    {keys.map((k) => (
      <kbd key={k}>{k}</kbd>
    ))}{' '}
    <span>{text}</span>
  </span>
);

function Chat({ open }: { open: View }) {
  const chat = open.chat.value;
  const state = open.state.value;
  const path = open.path();
  const busy = open.running() !== undefined;
  const place = folders.value.find((f) => f.id === chat.folder);
  const title = titleOf(chat);
  useEffect(() => {
    document.title = `${title} · ${t('app')}`;
  }, [title]);
  if (state === 'missing') return <Missing text={t('notFound')} />;
  return (
    <main class="screen">
      <div class="bar">
        <MenuButton />
        {place && <span class="crumb">{place.name}</span>}
        <h1 dir="auto">{title}</h1>
        {chat.temporary && (
          <span class="expiry">
            <Icon name="time" small />
            {t('temporary')}
          </span>
        )}
        <button
          type="button"
          class="b sm wide"
          onClick={() => (dialog.value = { name: 'share', chat })}
        >
          <Icon name="share" small />
          <span>{t('share')}</span>
        </button>
        <Menu
          label={t('more')}
          button={<Icon name="more" />}
          items={() => [
            {
              icon: 'print',
              label: t('print'),
              act: () => go({ name: 'print', id: open.id }),
            },
            ...chatItems(chat, () => (dialog.value = { name: 'rename', chat })),
          ]}
        />
      </div>
      <Scroller busy={busy}>
        {state === 'loading' && <Late />}
        {path.map((cell, i) => (
          <Turn
            key={cell.id}
            cell={cell}
            latest={i >= path.length - 2}
            eager={i >= path.length - 6}
          />
        ))}
      </Scroller>
      <div class="compose">
        <div class="compose-in">
          <Offline />
          <Compose id={open.id} busy={busy} onSend={(text, files) => send(text, files)} />
          <p class="hint">
            <Hint
              keys={[settings.value.send_key === 'ctrl-enter' ? 'Ctrl Enter' : 'Enter']}
              text={t('send')}
            />
            <Hint
              keys={[settings.value.send_key === 'ctrl-enter' ? 'Enter' : 'Shift Enter']}
              text={t('newline')}
            />
            {busy && <Hint keys={['Esc']} text={t('stop')} />}
            <Hint keys={['?']} text={t('allKeys')} />
          </p>
        </div>
      </div>
    </main>
  );
}

/** Said only when it takes a while. */
function Late() {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 400);
    return () => clearTimeout(timer);
  }, []);
  return late ? <p class="late">{t('loading')}</p> : null;
}

interface ScrollerProps {
  busy: boolean;
  children: preact.ComponentChildren;
}
/** Follows the text only while the reader is at the end; otherwise says that there is more. */
function Scroller({ busy, children }: ScrollerProps) {
  const box = useRef<HTMLDivElement>(null);
  const thread = useRef<HTMLDivElement>(null);
  const pinned = useRef(true);
  const [away, setAway] = useState(false);
  const toEnd = (): void => {
    const el = box.current;
    if (el) el.scrollTop = el.scrollHeight;
  };
  useLayoutEffect(() => {
    pinned.current = true;
    toEnd();
  }, [asked.value]);
  useEffect(() => {
    const watch = new ResizeObserver(() => pinned.current && toEnd());
    watch.observe(thread.current!);
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  const onScroll = (): void => {
    const el = box.current;
    if (!el) return; // an event that came after the chat was left
    const gap = el.scrollHeight - el.scrollTop - el.clientHeight;
    pinned.current = gap < 40;
    if (away !== gap > 240) setAway(gap > 240);
  };
  return (
    <div class="scroll-place">
      <div
        class="scroll"
        ref={box}
        onScroll={onScroll}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={t('conversation')}
        onClick={copyCode}
        onWheel={(e) => {
          if (e.deltaY < 0) pinned.current = false;
        }}
      >
        <div class="thread" ref={thread}>
          {children}
        </div>
      </div>
      {away && (
        <button
          type="button"
          class="b sm line to-end"
          onClick={() => {
            pinned.current = true;
            toEnd();
          }}
        >
          {busy && <i class="busy-dot" />}
          {busy ? t('newBelow') : t('toEnd')}
          <Icon name="down" small />
        </button>
      )}
    </div>
  );
}

export function copyCode(e: MouseEvent): void {
  const button = (e.target as Element).closest('.copy-code');
  const code = button?.closest('figure')?.querySelector('code');
  if (code) void copy(code.textContent ?? '');
  const see = (e.target as Element).closest<HTMLElement>('.preview-code');
  if (see) void togglePreview(see);
}

const STARTS: [Key, Key, Key][] = [
  ['s1_title', 's1_hint', 's1_text'],
  ['s2_title', 's2_hint', 's2_text'],
  ['s3_title', 's3_hint', 's3_text'],
  ['s4_title', 's4_hint', 's4_text'],
];
const ORDINALS = ['가', '나', '다', '라'];

function New() {
  const place = folders.value.find((f) => f.id === folder.value);
  useEffect(() => {
    document.title = t('app');
  });
  return (
    <main class="screen">
      <div class="bar">
        <MenuButton />
        {place && <span class="crumb">{place.name}</span>}
        <h1>{t('newChat')}</h1>
        <button
          type="button"
          class={temporary.value ? 'b sm on' : 'b sm'}
          aria-pressed={temporary.value}
          onClick={() => (temporary.value = !temporary.peek())}
        >
          <Icon name="time" small />
          <span>{t('temporary')}</span>
        </button>
      </div>
      <div class="scroll">
        <div class="hello">
          <Moon />
          <h2>
            <span class="ph">{t('welcome1')}</span> <span class="ph">{t('welcome2')}</span>
          </h2>
          <p class="lede">{temporary.value ? t('temporaryOn') : t('stays')}</p>
          <Offline />
          <Compose id="new" busy={false} first onSend={(text, files) => send(text, files, null)} />
          <div class="starts">
            {STARTS.map(([title, hint, text], i) => (
              <button type="button" key={title} onClick={() => (insert.value = t(text))}>
                <i aria-hidden="true">{ORDINALS[i]}</i>
                <span>
                  <b>{t(title)}</b>
                  <small>{t(hint)}</small>
                </span>
              </button>
            ))}
          </div>
          {!touch() && (
            <p class="hint">
              <Hint keys={['Alt 1 – 4']} text={t('pick')} />
              <Hint keys={['/']} text={t('toComposer')} />
            </p>
          )}
        </div>
      </div>
    </main>
  );
}
export function starter(n: number): boolean {
  const start = STARTS[n];
  if (!start || route.peek().name !== 'new') return false;
  insert.value = t(start[2]);
  return true;
}

export function Missing({ text }: { text: string }) {
  return (
    <main class="screen">
      <div class="bar">
        <MenuButton />
        <h1>{t('app')}</h1>
      </div>
      <div class="scroll">
        <div class="hello">
          <Moon />
          <p class="lede">{text}</p>
          <button type="button" class="b main" onClick={() => go({ name: 'new' })}>
            {t('toNew')}
          </button>
        </div>
      </div>
    </main>
  );
}
