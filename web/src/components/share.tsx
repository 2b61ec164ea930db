// SPDX-License-Identifier: MIT
// Sharing a chat: its link, for how long, and what readers left, which its owner may delete.
import { useEffect, useId, useState } from 'preact/hooks';
import { api, type Chat, type ShareLink, type ShareNote, type Shares } from '../api';
import { day, number, t } from '../i18n';
import { ts } from '../i18n/share';
import { href } from '../route';
import { fail, tell, titleOf } from '../store';
import { Icon } from './icon';
import { copy, Dialog, IconButton, Seg, Toggle } from './ui';

const DAYS = ['1', '7', '30', '90'] as const;

export function ShareDialog({ chat, onClose }: { chat: Chat; onClose: () => void }) {
  const [now, setNow] = useState<Shares | null>(null);
  const [fresh, setFresh] = useState(false);
  const look = (): Promise<void> => api.shares(chat.id).then(setNow, fail);
  useEffect(() => void look(), [chat.id]);
  const link = now?.shares[0];
  const end = (): void => {
    api.unshare(chat.id).then(() => {
      tell(t('shareEnded'));
      return look();
    }, fail);
  };
  return (
    <Dialog title={t('shareTitle')} onClose={onClose}>
      <p class="lede">
        <b dir="auto">{titleOf(chat)}</b>
      </p>
      <p class="muted">{t('shareWhat')}</p>
      {now && link && (
        <Link link={link} onEnd={end}>
          {!fresh && <p class="muted">{ts('linkOld')}</p>}
        </Link>
      )}
      {now && (!link || !fresh) && (
        <Make
          chat={chat}
          again={!!link}
          onClose={onClose}
          onMade={() => {
            setFresh(true);
            void look();
          }}
        />
      )}
      {now && link && <Comments chat={chat} link={link} notes={now.notes} onNow={setNow} />}
    </Dialog>
  );
}

interface LinkProps {
  link: ShareLink;
  onEnd: () => void;
  children: preact.ComponentChildren;
}
function Link({ link, onEnd, children }: LinkProps) {
  const url = new URL(href({ name: 'shared', token: link.token }), location.href).href;
  return (
    <div class="form">
      <label>
        {t('shareAddress')}
        <input class="field mono" readOnly value={url} onFocus={(e) => e.currentTarget.select()} />
      </label>
      <p class="by">
        <span class="expiry">
          <Icon name="time" small />
          {t('shareUntil', { date: day(link.expires) })}
        </span>
        {link.likes > 0 && (
          <span class="muted num">{ts('likes', { n: number(link.likes) })}</span>
        )}
      </p>
      {children}
      <div class="foot-row">
        <button type="button" class="b risk" onClick={onEnd}>
          {t('shareEnd')}
        </button>
        <button type="button" class="b main" onClick={() => void copy(url)}>
          <Icon name="link" small />
          {t('copyAddress')}
        </button>
      </div>
    </div>
  );
}

interface MakeProps {
  chat: Chat;
  again: boolean;
  onClose: () => void;
  onMade: () => void;
}
function Make({ chat, again, onClose, onMade }: MakeProps) {
  const [days, setDays] = useState<(typeof DAYS)[number]>('30');
  const make = (): void => {
    api.share(chat.id, Number(days)).then(onMade, fail);
  };
  return (
    <div class="form">
      <div class="opt">
        <b>{t('shareDays')}</b>
        <Seg
          name="days"
          label={t('shareDays')}
          value={days}
          onPick={setDays}
          options={DAYS.map((d) => [d, t('days', { n: d })])}
        />
      </div>
      <div class="foot-row">
        {!again && (
          <button type="button" class="b line" onClick={onClose}>
            {t('cancel')}
          </button>
        )}
        <button type="button" class={again ? 'b line' : 'b main'} onClick={make}>
          {again ? ts('linkNew') : t('shareMake')}
        </button>
      </div>
    </div>
  );
}

interface CommentsProps {
  chat: Chat;
  link: ShareLink;
  notes: ShareNote[];
  onNow: (now: Shares) => void;
}
function Comments({ chat, link, notes, onNow }: CommentsProps) {
  const id = useId();
  const drop = (note: ShareNote): void => {
    api
      .deleteNote(chat.id, note.id)
      .then(() => {
        tell(ts('viewDeleted'));
        return api.shares(chat.id).then(onNow);
      })
      .catch(fail);
  };
  return (
    <div class="form">
      <div class="opt">
        <div>
          <b>
            <label for={id}>{ts('letViews')}</label>
          </b>
          <p>{ts('letViewsHint')}</p>
        </div>
        <Toggle
          id={id}
          on={link.comments}
          onSet={(on) => void api.letNotes(chat.id, on).then(onNow, fail)}
        />
      </div>
      {notes.length > 0 && (
        <ul class="notes" aria-label={ts('views')}>
          {notes.map((note) => (
            <li key={note.id}>
              <span>
                <b dir="auto">{note.name || ts('reader')}</b>{' '}
                <span class="muted num">{day(note.created)}</span>
                {note.quote && (
                  <small class="muted" dir="auto">
                    {note.quote}
                  </small>
                )}
                <span class="words" dir="auto">
                  {note.text}
                </span>
              </span>
              <IconButton
                icon="bin"
                small
                label={ts('viewDelete', { name: note.name || ts('reader') })}
                onClick={() => drop(note)}
              />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
