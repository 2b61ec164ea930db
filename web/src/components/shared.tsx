// SPDX-License-Identifier: MIT
// A chat that somebody shared: to read, without logging in, and to continue as one's own copy.
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { api, type Shared as SharedChat } from '../api';
import { day, t } from '../i18n';
import { go } from '../route';
import { fail } from '../store';
import { Tree } from '../tree';
import type { Cell } from '../view';
import { copyCode, Missing } from './chat';
import { Icon, Jar } from './icon';
import { Turn } from './turn';
import { copy, LookButtons } from './ui';

export function Shared({ token }: { token: string }) {
  const [got, setGot] = useState<{ chat: SharedChat; cells: Cell[] } | 'gone' | null>(null);
  useEffect(() => {
    api.shared(token).then(
      (chat) => {
        const cells = chat.messages.map((m) => ({
          id: m.id,
          parent: m.parent,
          created: m.created,
          size: 0,
          thought: 0,
          message: signal({ ...m, files: m.files ?? [], status: m.status ?? 'done' }),
        }));
        document.title = `${chat.title} · ${t('app')}`;
        // A chain as a rule; of a tree, the path to what was written last.
        setGot({ chat, cells: new Tree<Cell>(cells).path(cells.at(-1)?.id ?? null) });
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
        <a class="home" href="#/">
          <Jar />
          <b>{t('app')}</b>
        </a>
        <span class="note">{t('sharedNote')}</span>
        <LookButtons />
        <button type="button" class="b main sm" onClick={take}>
          {t('continueHere')}
        </button>
      </div>
      {got && (
        <div class="scroll" tabIndex={0} onClick={copyCode}>
          <div class="shared">
            <header>
              <h1 class="big" dir="auto">
                {got.chat.title || t('untitled')}
              </h1>
              <p class="by">
                <span class="muted num">{day(got.chat.created)}</span>
                {got.chat.expires && (
                  <span class="expiry">
                    <Icon name="time" small />
                    {t('shareUntil', { date: day(got.chat.expires) })}
                  </span>
                )}
              </p>
            </header>
            <div class="thread">
              {got.cells.map((cell, i) => (
                <Turn key={cell.id} cell={cell} latest={false} eager={i < 6} readOnly />
              ))}
            </div>
            <p class="reader">
              <button type="button" class="b line" onClick={() => void copy(location.href)}>
                <Icon name="link" small />
                {t('copyAddress')}
              </button>
            </p>
          </div>
        </div>
      )}
    </main>
  );
}
