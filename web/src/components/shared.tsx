// SPDX-License-Identifier: MIT
// A chat that somebody shared: to read, without logging in, with what other readers left beside it,
// and to continue as one's own copy.
import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, type Shared as SharedChat } from '../api';
import { day, number, t } from '../i18n';
import { ts } from '../i18n/share';
import { go } from '../route';
import { fail } from '../store';
import { Tree } from '../tree';
import type { Cell } from '../view';
import { copyCode, Missing } from './chat';
import { Icon, Jar } from './icon';
import { Notes, said, type Said } from './notes';
import { Turn } from './turn';
import { copy, LookButtons } from './ui';
import '../styles/share.css';

export function expiry(expires: number, now = Date.now() / 1000): string {
  const days = Math.floor((expires - now) / 86400);
  return days < 1 ? ts('goneToday') : ts('goneIn', { n: number(days) });
}

function cellsOf(chat: SharedChat): Cell[] {
  const cells = chat.messages.map((m) => ({
    id: m.id,
    parent: m.parent,
    created: m.created,
    size: 0,
    thought: 0,
    message: signal({ ...m, files: m.files ?? [], status: m.status ?? 'done' }),
  }));
  return new Tree<Cell>(cells).path(cells.at(-1)?.id ?? null);
}

export function Shared({ token }: { token: string }) {
  const [got, setGot] = useState<{ chat: SharedChat; cells: Cell[] } | 'gone' | null>(null);
  const [now, setNow] = useState<Said | null>(null);
  const text = useRef<HTMLDivElement>(null);
  useEffect(() => {
    api.shared(token).then(
      (chat) => {
        document.title = `${chat.title || t('untitled')} · ${t('app')}`;
        setGot({ chat, cells: cellsOf(chat) });
        setNow({ likes: chat.likes, liked: chat.liked, comments: chat.comments, notes: chat.notes });
      },
      () => setGot('gone'),
    );
  }, [token]);
  if (got === 'gone') return <Missing text={t('sharedGone')} />;
  const take = (): void => {
    api.copyShared(token).then((chat) => go({ name: 'chat', id: chat.id }), fail);
  };
  return (
    <main class="screen share">
      <div class="bar">
        <a class="home" href="/">
          <Jar />
          <b>{t('app')}</b>
        </a>
        <span class="note">{t('sharedNote')}</span>
        <LookButtons />
        <button type="button" class="b main sm" onClick={take}>
          {t('continueHere')}
        </button>
      </div>
      {got && now && (
        <div class="scroll" tabIndex={0} onClick={copyCode}>
          <div class="shared">
            <Head chat={got.chat} />
            <div class="shared-text">
              <div class="thread" ref={text}>
                {got.cells.map((cell) => (
                  <Turn key={cell.id} cell={cell} latest={false} eager readOnly />
                ))}
              </div>
              <Recommend token={token} now={now} onSaid={setNow} />
            </div>
            <Notes token={token} now={now} onSaid={setNow} text={text} />
          </div>
        </div>
      )}
    </main>
  );
}

function Head({ chat }: { chat: SharedChat }) {
  const model = chat.messages.find((m) => m.role === 'assistant' && m.model)?.model;
  return (
    <header>
      <h1 class="big" dir="auto">
        {chat.title || t('untitled')}
      </h1>
      <p class="by">
        {model && (
          <span class="muted" dir="auto">
            {model}
          </span>
        )}
        <span class="muted num">{day(chat.created)}</span>
        {chat.expires && (
          <span class="expiry" title={t('shareUntil', { date: day(chat.expires) })}>
            <Icon name="time" small />
            {expiry(chat.expires)}
          </span>
        )}
      </p>
    </header>
  );
}

function Recommend({
  token,
  now,
  onSaid,
}: {
  token: string;
  now: Said;
  onSaid: (now: Said) => void;
}) {
  const like = (): void => {
    api.likeShared(token, !now.liked).then(onSaid, said);
  };
  return (
    <p class="reader">
      <button type="button" class="b line like" aria-pressed={now.liked} onClick={like}>
        <Icon name="good" />
        {ts('recommend')} <span class="num">{number(now.likes)}</span>
      </button>
      <button type="button" class="b" onClick={() => void copy(location.href)}>
        <Icon name="link" small />
        {t('copyAddress')}
      </button>
    </p>
  );
}
