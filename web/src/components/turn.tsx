// SPDX-License-Identifier: MIT
// One turn of a chat: the person's words on a slip, or the answer straight on the paper with its
// reasoning, actions and quiet line.
import { Fragment } from 'preact';
import { memo } from './memo';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { FileInfo, Message } from '../api';
import { api } from '../api';
import { isDataPicture } from '../files/picture';
import { bytes, lang, langOf, number, t } from '../i18n';
import { remember, settings } from '../store';
import { asks, partsOf } from '../tools';
import { Painter, Prose } from '../text/prose';
import { deleteFrom, goOn, regenerate, send, switchTo, view, type Cell } from '../view';
import { Calls } from './calls';
import { dialog } from './dialogs';
import { Icon, Jar } from './icon';
import { speak, speaking, stopSpeaking } from './speech';
import { IconButton, Menu, copy, useEnter } from './ui';

interface TurnProps {
  cell: Cell;
  /** The newest turns show their actions and are painted at once. */
  latest: boolean;
  eager: boolean;
  readOnly?: boolean;
}

export const Turn = memo(({ cell, latest, eager, readOnly }: TurnProps) => {
  const message = cell.message.value;
  const mine = message.role === 'user';
  const busy = message.status === 'running';
  return (
    <article
      class={`turn${latest ? ' latest' : ''}${mine ? ' mine' : ''}`}
      tabIndex={-1}
      aria-label={mine ? t('mine') : t('theirs')}
      aria-busy={busy || undefined}
      data-id={cell.id}
      data-status={message.status}
    >
      <div class="mark" data-who={mine ? t('iam') : t('app')}>
        {mine ? (
          <span class="face" aria-hidden="true">
            {t('iam').slice(0, 1)}
          </span>
        ) : (
          <Jar busy={busy} />
        )}
      </div>
      {mine ? (
        <Mine message={message} readOnly={readOnly} />
      ) : (
        <Answer message={message} eager={eager} latest={latest} readOnly={readOnly} />
      )}
    </article>
  );
});

function Mine({ message, readOnly }: { message: Message; readOnly?: boolean }) {
  const [editing, setEditing] = useState(false);
  if (editing) return <Edit message={message} done={() => setEditing(false)} />;
  return (
    <div>
      {message.files?.length > 0 && (
        <ul class="files sent">
          {message.files.map((f, i) => (
            <li key={f.id ?? i} class="file">
              {!readOnly && f.type.startsWith('image/') && <Picture file={f} />}
              {readOnly ? (
                <b dir="auto">{f.name}</b>
              ) : (
                <a href={api.fileUrl(f.id)} target="_blank" rel="noopener" dir="auto">
                  {f.name}
                </a>
              )}
              {f.source && <Source url={f.source} />}
              <span class="num">{bytes(f.size)}</span>
              {!!f.kept && f.kept < f.size && (
                <em class="cut" title={t('readPartWhy')}>
                  {t('readPart', { n: number(Math.max(1, Math.floor((f.kept * 100) / f.size))) })}
                </em>
              )}
            </li>
          ))}
        </ul>
      )}
      {message.content && (
        <div class="prose" lang={langOf(message.content)}>
          <div class="slip" dir="auto">
            {message.content}
          </div>
        </div>
      )}
      {!readOnly && (
        <div class="acts">
          <Branches id={message.id} />
          <IconButton icon="edit" small label={t('edit')} onClick={() => setEditing(true)} />
          <IconButton
            icon="copy"
            small
            label={t('copy')}
            onClick={() => void copy(message.content)}
          />
          <MoreActions message={message} />
        </div>
      )}
    </div>
  );
}

/** A picture as it was sent; its name alone where it cannot be had. */
function Picture({ file }: { file: FileInfo }) {
  const [src, setSrc] = useState<string | null>(null);
  useEffect(() => {
    let here = true;
    api
      .fileText(file.id)
      .then((text) => here && isDataPicture(text) && setSrc(text))
      .catch(() => undefined);
    return () => {
      here = false;
    };
  }, [file.id]);
  return src && <img class="thumb large" src={src} alt={t('pictureOf', { name: file.name })} />;
}

/** Where a page came from. */
function Source({ url }: { url: string }) {
  const host = /^https?:\/\/([^/?#]+)/i.exec(url)?.[1];
  if (!host) return null;
  return (
    <a class="source" href={url} target="_blank" rel="noopener noreferrer" title={url}>
      {host}
    </a>
  );
}

function Edit({ message, done }: { message: Message; done: () => void }) {
  const submit = (value: string): void => {
    const text = value.trim();
    if (!text) return;
    done();
    void send(
      text,
      message.files.map((f) => f.id),
      message.parent,
    );
  };
  const area = useEnter<HTMLTextAreaElement>(submit, done);
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(message.content.length, message.content.length);
  }, []);
  return (
    <form
      class="box edit"
      onSubmit={(e) => {
        e.preventDefault();
        submit(area.current!.value);
      }}
    >
      <textarea ref={area} defaultValue={message.content} aria-label={t('edit')} dir="auto" />
      <div class="foot-row">
        <button type="button" class="b sm line" onClick={done}>
          {t('cancel')}
        </button>
        <button class="b sm main">{t('editSend')}</button>
      </div>
    </form>
  );
}

function Answer({
  message,
  eager,
  latest,
  readOnly,
}: {
  message: Message;
  eager: boolean;
  latest: boolean;
  readOnly?: boolean;
}) {
  const busy = message.status === 'running';
  const hidden = busy && settings.value.stream === false;
  const error = typeof message.error === 'string' ? message.error : message.error?.message;
  return (
    <div>
      {message.reasoning && <Reasoning message={message} />}
      {!hidden &&
        partsOf(message.content, message.calls ?? []).map((part, i, all) => (
          <Fragment key={i}>
            {(part.text || i === all.length - 1) && (
              <Body text={part.text} live={busy && i === all.length - 1} eager={eager} />
            )}
            <Calls message={message} calls={part.calls} latest={latest} readOnly={readOnly} />
          </Fragment>
        ))}
      {busy && <Working message={message} hidden={hidden} />}
      {message.status === 'error' && (
        <div class="note-box bad" role="alert">
          <Icon name="warn" />
          <p>
            {t('failed')} {message.content && t('failedKept')}
            {error && <small>{error}</small>}
          </p>
          {!readOnly && (
            <button type="button" class="b sm" onClick={() => void regenerate(message.id)}>
              {t('tryAgain')}
            </button>
          )}
        </div>
      )}
      {!busy && !readOnly && !(latest && asks(message)) && <AnswerActions message={message} />}
      {!busy && <Quiet message={message} />}
    </div>
  );
}

/** What the answer is being waited for, said after a while. */
function Working({ message, hidden }: { message: Message; hidden: boolean }) {
  const [seconds, setSeconds] = useState(0);
  const calling = message.calls?.find((c) => c.state === 'running' || c.state === 'allowed');
  const waiting = !message.content && !message.reasoning && !calling;
  useEffect(() => {
    if (!waiting) return;
    const began = Date.now();
    const timer = setInterval(() => setSeconds(Math.floor((Date.now() - began) / 1000)), 1000);
    return () => clearInterval(timer);
  }, [waiting]);
  const speed = message.usage?.tokens_per_second;
  const text = calling
    ? t('callUsing', { name: calling.title || calling.name })
    : waiting
    ? seconds >= 10
      ? t('loadingModel', { s: seconds })
      : t('thinkingWait')
    : !message.content
      ? t('reasoningNow')
      : speed
        ? t('writingSpeed', { n: number(speed, 1) })
        : t('writing');
  return (
    <p class="working">
      {(waiting || hidden) && <i class="busy-dot" />}
      <span>{text}</span>
    </p>
  );
}

function Reasoning({ message }: { message: Message }) {
  const thinking = message.status === 'running' && !message.content;
  return (
    <details class="reason" open={settings.peek().open_reasoning || undefined}>
      <summary>
        <Icon name="right" small />
        <b>{thinking ? t('reasoningNow') : t('reasoning')}</b>
        <span>
          {number([...(message.reasoning ?? '')].length)}
          {lang.value === 'ko' ? '자' : ' chars'}
        </span>
      </summary>
      <div lang={langOf(message.reasoning ?? '')} dir="auto">
        {message.reasoning}
      </div>
    </details>
  );
}

/** Markdown, painted when it comes near the window; plain text until then. */
function Body({ text, live, eager }: { text: string; live: boolean; eager: boolean }) {
  const root = useRef<HTMLDivElement>(null);
  const prose = useRef<Prose | null>(null);
  const state = useRef({ text, live });
  state.current = { text, live };
  const painter = useRef<Painter | null>(null);
  const [near, setNear] = useState(eager || live);
  const language = lang.value;

  useEffect(() => {
    if (near) return;
    const watch = new IntersectionObserver(
      (entries) => {
        if (entries.some((e) => e.isIntersecting)) setNear(true);
      },
      { rootMargin: '1500px 0px' },
    );
    watch.observe(root.current!);
    return () => watch.disconnect();
  }, [near]);
  useLayoutEffect(() => {
    if (!near) return;
    root.current!.replaceChildren();
    prose.current = new Prose(root.current!);
    painter.current = new Painter(() =>
      prose.current!.update(state.current.text, !state.current.live),
    );
    painter.current.now();
    return () => painter.current?.stop();
  }, [near, language]);
  useLayoutEffect(() => {
    if (!near) return;
    if (live) painter.current!.soon();
    else painter.current!.now();
  }, [text, live]);
  return (
    <div
      class={live ? 'prose live' : near ? 'prose' : 'prose raw'}
      ref={root}
      lang={langOf(text)}
      dir="auto"
    >
      {near ? null : text}
    </div>
  );
}

function Branches({ id }: { id: string }) {
  const current = view.value;
  if (!current) return null;
  void current.version.value;
  const all = current.tree.siblings(id);
  if (all.length < 2) return null;
  const at = all.indexOf(id);
  const to = (n: number): void => {
    if (all[n]) switchTo(all[n]);
  };
  return (
    <span class="branch" role="group" aria-label={t('others')}>
      <IconButton
        icon="left"
        small
        label={t('prevAnswer')}
        disabled={at === 0}
        onClick={() => to(at - 1)}
      />
      <span class="num">
        {at + 1}/{all.length}
      </span>
      <IconButton
        icon="right"
        small
        label={t('nextAnswer')}
        disabled={at === all.length - 1}
        onClick={() => to(at + 1)}
      />
    </span>
  );
}

function AnswerActions({ message }: { message: Message }) {
  const reading = speaking.value === message.id;
  const whole = message.status === 'done';
  return (
    <div class="acts">
      {!whole && message.content && (
        <button type="button" class="b sm go-on" onClick={() => void goOn(message.id)}>
          <Icon name="goOn" small />
          {t('goOn')}
        </button>
      )}
      <Branches id={message.id} />
      <IconButton icon="copy" small label={t('copy')} onClick={() => void copy(message.content)} />
      <IconButton
        icon="redo"
        small
        label={t('again')}
        onClick={() => void regenerate(message.id)}
      />
      {'speechSynthesis' in window && (
        <IconButton
          icon="ear"
          small
          label={reading ? t('listenStop') : t('listen')}
          pressed={reading}
          onClick={() => (reading ? stopSpeaking() : speak(message.id, message.content))}
        />
      )}
      <MoreActions message={message} />
    </div>
  );
}

function MoreActions({ message }: { message: Message }) {
  const answer = message.role === 'assistant';
  return (
    <Menu
      label={t('more')}
      class="ib sm"
      button={<Icon name="more" />}
      items={() => [
        answer && message.status === 'done'
          ? { icon: 'goOn', label: t('goOn'), act: () => void goOn(message.id) }
          : null,
        !answer && message.content
          ? { icon: 'pin', label: t('remember'), act: () => remember(message.content) }
          : null,
        {
          icon: 'bin',
          label: t('deleteMsg'),
          risk: true,
          act: () =>
            (dialog.value = {
              name: 'ask',
              text: t('deleteMsgAsk'),
              act: t('delete'),
              yes: () => void deleteFrom(message.id),
            }),
        },
      ]}
    />
  );
}

function Quiet({ message }: { message: Message }) {
  const usage = message.usage;
  if (settings.value.quiet_line === false) return null;
  if (!usage && message.status !== 'stopped') return null;
  const used = usage ? usage.prompt_tokens + usage.completion_tokens : 0;
  const share = usage?.context ? Math.min(100, (used / usage.context) * 100) : 0;
  return (
    <p class="quiet">
      {usage && usage.tokens_per_second > 0 && (
        <span>
          <b>{number(usage.tokens_per_second, 1)}</b>
          {t('speed')}
        </span>
      )}
      {usage?.sim && (
        <span class="sim-line" title={t('simHint')}>
          {usage.sim.chips > 1 && `${usage.sim.chips} × `}
          {usage.sim.device} <i class="sim">{t('sim')}</i>
          {usage.sim.ttft_ms !== null && (
            <span>{t('simFirst', { n: number(usage.sim.ttft_ms, usage.sim.ttft_ms < 100 ? 1 : 0) })}</span>
          )}
          {usage.sim.tpot_ms !== null && (
            <span>
              {number(1000 / usage.sim.tpot_ms)} {t('speed')}
            </span>
          )}
          <span>{number(usage.sim.joules, usage.sim.joules < 10 ? 2 : 0)} J</span>
        </span>
      )}
      {usage && usage.context > 0 && (
        <span>
          {t('context')}{' '}
          <i class="meter">
            <i style={{ width: `${share}%` }} />
          </i>
          {number(used)} / {number(usage.context)}
        </span>
      )}
      {usage && usage.cached_tokens > 0 && (
        <span>
          {t('cached')} {number(usage.cached_tokens)}
        </span>
      )}
      {message.model && <span class="hide-s">{message.model}</span>}
      {message.status === 'stopped' && <span>{t('stopped')}</span>}
    </p>
  );
}
