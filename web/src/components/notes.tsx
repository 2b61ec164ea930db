// SPDX-License-Identifier: MIT
// What readers left beside a shared chat: phrases underlined and numbered in the text, and their
// notes in the margin, each at the height of its phrase; on narrow screens below the text.
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { api, ApiError, type Said, type ShareNote } from '../api';
import { day, langOf, number } from '../i18n';
import { ts } from '../i18n/share';
import { fail, tell } from '../store';
import { anchorOf, plainAgain, underline, type Anchor } from '../text/quote';
import { Icon } from './icon';
import { IconButton } from './ui';

export type { Said };

/** Tells why what a reader did was refused. */
export function said(error: unknown): void {
  if (!(error instanceof ApiError)) fail(error);
  else if (error.status === 429) tell(ts('tooFast', { s: number(error.retry || 30) }));
  else if (error.status === 413) tell(ts('tooMany'));
  else if (error.status === 403) tell(ts('notNow'));
  else fail(error);
}

interface Picked extends Anchor {
  message: string;
}
interface NotesProps {
  token: string;
  now: Said;
  onSaid: (now: Said) => void;
  text: RefObject<HTMLElement>;
}

export function Notes({ token, now, onSaid, text }: NotesProps) {
  const list = useRef<HTMLUListElement>(null);
  const [picked, setPicked] = useState<Picked | null>(null);
  const [order, setOrder] = useState<{ note: ShareNote; n: number }[]>([]);
  usePhrases(text, list, now.notes, setOrder);
  return (
    <aside class="views" aria-labelledby="views">
      <h2 id="views">
        {ts('views')} <span class="muted num">{number(now.notes.length)}</span>
      </h2>
      {!order.length && (
        <p class="muted none">{ts(now.comments ? 'viewsNone' : 'viewsOff')}</p>
      )}
      <ul ref={list}>
        {order.map(({ note, n }) => (
          <NoteRow key={note.id} note={note} n={n} token={token} onSaid={onSaid} />
        ))}
      </ul>
      {now.comments ? (
        <Leave token={token} picked={picked} onPick={setPicked} onSaid={onSaid} />
      ) : (
        order.length > 0 && <p class="muted none">{ts('viewsOff')}</p>
      )}
      {now.comments && <Pick text={text} onPick={setPicked} />}
    </aside>
  );
}

/** Underlines the phrases whenever the text was painted, and puts the notes beside them. */
function usePhrases(
  text: RefObject<HTMLElement>,
  list: RefObject<HTMLElement>,
  notes: ShareNote[],
  onOrder: (order: { note: ShareNote; n: number }[]) => void,
): void {
  useEffect(() => {
    const root = text.current!;
    let timer = 0;
    const watch = new MutationObserver(() => soon());
    const see = { childList: true, subtree: true, characterData: true };
    const paint = (): void => {
      watch.disconnect();
      onOrder(mark(root, notes));
      watch.observe(root, see);
    };
    const soon = (): void => {
      clearTimeout(timer);
      timer = window.setTimeout(paint, 60);
    };
    const size = new ResizeObserver(() => align(list.current));
    size.observe(root);
    paint();
    return () => {
      clearTimeout(timer);
      watch.disconnect();
      size.disconnect();
    };
  }, [notes]);
  useLayoutEffect(() => align(list.current));
}

/** In the order of the text; those without a phrase, or whose phrase is gone, come last. */
function mark(root: HTMLElement, notes: ShareNote[]): { note: ShareNote; n: number }[] {
  plainAgain(root);
  const found: { note: ShareNote; at: Element; ref: HTMLElement }[] = [];
  const rest: ShareNote[] = [];
  for (const note of notes) {
    const turn = note.quote && root.querySelector(`[data-id="${CSS.escape(note.message)}"]`);
    const ref = document.createElement('a');
    ref.className = 'ref';
    ref.href = `#${note.id}`;
    const at = turn ? underline(turn, note, ref, note.id) : null;
    if (at) found.push({ note, at, ref });
    else rest.push(note);
  }
  const after = Node.DOCUMENT_POSITION_FOLLOWING;
  found.sort((a, b) => (a.at.compareDocumentPosition(b.at) & after ? -1 : 1));
  found.forEach(({ ref }, i) => {
    ref.textContent = String(i + 1);
    ref.setAttribute('aria-label', ts('viewTo', { n: i + 1 }));
    ref.addEventListener('click', (e) => {
      e.preventDefault();
      focusOn(document.querySelector(ref.getAttribute('href')!));
    });
  });
  return [
    ...found.map(({ note }, i) => ({ note, n: i + 1 })),
    ...rest.map((note) => ({ note, n: 0 })),
  ];
}

function focusOn(element: Element | null): void {
  if (!(element instanceof HTMLElement)) return;
  element.scrollIntoView({ block: 'center', behavior: calm() ? 'auto' : 'smooth' });
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}
const calm = (): boolean => matchMedia('(prefers-reduced-motion: reduce)').matches;

/** Each note as high as its phrase, or below the note before it. */
function align(list: HTMLElement | null): void {
  if (!list) return;
  const beside = matchMedia('(min-width: 1080px)').matches;
  for (const row of list.children as HTMLCollectionOf<HTMLElement>) row.style.marginTop = '';
  if (!beside) return;
  for (const row of list.children as HTMLCollectionOf<HTMLElement>) {
    const phrase = document.querySelector(`mark[data-note="${CSS.escape(row.id)}"]`);
    if (!phrase) continue;
    const gap = phrase.getBoundingClientRect().top - row.getBoundingClientRect().top - 12;
    if (gap > 0) row.style.marginTop = `${Math.round(gap)}px`;
  }
}

interface RowProps {
  note: ShareNote;
  n: number;
  token: string;
  onSaid: (now: Said) => void;
}
function NoteRow({ note, n, token, onSaid }: RowProps) {
  const name = note.name || ts('reader');
  const glow = (on: boolean): void => {
    for (const piece of document.querySelectorAll(`mark[data-note="${CSS.escape(note.id)}"]`))
      piece.classList.toggle('on', on);
  };
  const back = (): void => {
    api.dropNote(token, note.id).then(() => {
      tell(ts('viewGone'));
      return api.shared(token).then(onSaid);
    }, said);
  };
  return (
    <li id={note.id} onPointerEnter={() => glow(true)} onPointerLeave={() => glow(false)}>
      <p class="w">
        <span class="face" aria-hidden="true">
          {[...name][0]}
        </span>
        <b dir="auto">{name}</b>
        <span>{day(note.created)}</span>
        {n > 0 && (
          <a
            class="ref"
            href="#"
            aria-label={ts('phraseTo', { n })}
            onClick={(e) => {
              e.preventDefault();
              focusOn(document.querySelector(`mark[data-note="${CSS.escape(note.id)}"]`));
            }}
          >
            {n}
          </a>
        )}
      </p>
      {note.quote && !n && (
        <blockquote class="phrase" dir="auto">
          {note.quote}
        </blockquote>
      )}
      <p class="words" dir="auto" lang={langOf(note.text)}>
        {note.text}
      </p>
      <p class="acts-row">
        <button
          type="button"
          class="b sm"
          aria-pressed={note.liked}
          onClick={() => api.likeShared(token, !note.liked, note.id).then(onSaid, said)}
        >
          {ts('agree')} {note.likes > 0 && <span class="num">{number(note.likes)}</span>}
        </button>
        {note.own && (
          <button type="button" class="b sm" onClick={back}>
            {ts('viewBack')}
          </button>
        )}
      </p>
    </li>
  );
}

const NAME = 'damso.reader';

interface LeaveProps {
  token: string;
  picked: Picked | null;
  onPick: (picked: Picked | null) => void;
  onSaid: (now: Said) => void;
}
function Leave({ token, picked, onPick, onSaid }: LeaveProps) {
  const [words, setWords] = useState('');
  const [name, setName] = useState(() => localStorage.getItem(NAME) ?? '');
  const [busy, setBusy] = useState(false);
  const [open, setOpen] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (picked) area.current?.focus();
  }, [picked]);
  const submit = async (e: SubmitEvent): Promise<void> => {
    e.preventDefault();
    if (!words.trim() || busy) return;
    setBusy(true);
    localStorage.setItem(NAME, name.trim());
    try {
      onSaid(await api.addNote(token, { ...picked, text: words.trim(), name: name.trim() }));
      setWords('');
      onPick(null);
      tell(ts('viewLeft'));
    } catch (error) {
      said(error);
    }
    setBusy(false);
  };
  return (
    <form
      class={open || words || picked ? 'leave open' : 'leave'}
      onSubmit={(e) => void submit(e)}
      onFocusIn={() => setOpen(true)}
      onFocusOut={(e) => {
        if (!e.currentTarget.contains(e.relatedTarget as Node | null)) setOpen(false);
      }}
    >
      {picked && (
        <div class="phrase">
          <span class="vh">{ts('viewAbout')}</span>
          <q dir="auto">{picked.quote}</q>
          <IconButton icon="x" small label={ts('viewForget')} onClick={() => onPick(null)} />
        </div>
      )}
      <textarea
        class="field"
        rows={3}
        ref={area}
        aria-label={ts('viewSay')}
        placeholder={ts(open || words || picked ? 'viewSay' : 'viewShort')}
        maxLength={1300}
        value={words}
        dir="auto"
        onInput={(e) => setWords(e.currentTarget.value)}
      />
      {(words || picked) && (
        <>
          <input
            class="field"
            aria-label={ts('viewName')}
            placeholder={ts('viewName')}
            autoComplete="nickname"
            maxLength={40}
            value={name}
            onInput={(e) => setName(e.currentTarget.value)}
          />
          {!picked && <p class="muted hint">{ts('viewWhole')}</p>}
        </>
      )}
      <button class="b line" disabled={busy} aria-disabled={!words.trim()}>
        {ts('viewLeave')}
      </button>
    </form>
  );
}

/** A button beside what is selected in one turn. */
function Pick({ text, onPick }: { text: RefObject<HTMLElement>; onPick: (picked: Picked) => void }) {
  const [at, setAt] = useState<{ left: number; top: number; picked: Picked } | null>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    let timer = 0;
    const look = (): void => setAt(selected(text.current!));
    const soon = (): void => {
      clearTimeout(timer);
      timer = window.setTimeout(look, 120);
    };
    const scroller = text.current!.closest('.scroll');
    document.addEventListener('selectionchange', soon);
    scroller?.addEventListener('scroll', soon, { passive: true });
    return () => {
      clearTimeout(timer);
      document.removeEventListener('selectionchange', soon);
      scroller?.removeEventListener('scroll', soon);
    };
  }, []);
  useLayoutEffect(() => {
    if (!at || !button.current) return;
    const box = button.current.getBoundingClientRect();
    button.current.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.width - 8))}px`;
    button.current.style.top = `${Math.min(at.top + 8, innerHeight - box.height - 8)}px`;
  }, [at]);
  if (!at) return null;
  return (
    <button
      type="button"
      class="b main sm pick"
      ref={button}
      onPointerDown={(e) => e.preventDefault()} // keeps the selection
      onClick={() => {
        onPick(at.picked);
        setAt(null);
        getSelection()?.removeAllRanges();
      }}
    >
      <Icon name="edit" small />
      {ts('viewHere')}
    </button>
  );
}

function selected(root: HTMLElement): { left: number; top: number; picked: Picked } | null {
  const now = getSelection();
  if (!now?.rangeCount || now.isCollapsed) return null;
  const range = now.getRangeAt(0);
  const node = range.commonAncestorContainer;
  const turn = (node instanceof Element ? node : node.parentElement)?.closest('.turn');
  if (!turn || !root.contains(turn)) return null;
  const anchor = anchorOf(range, turn);
  if (!anchor || new TextEncoder().encode(anchor.quote).length > 4000) return null;
  const box = range.getBoundingClientRect();
  const message = turn.getAttribute('data-id') ?? '';
  return { left: box.left, top: box.bottom, picked: { ...anchor, message } };
}
