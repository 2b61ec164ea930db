// SPDX-License-Identifier: MIT
// Coming in: by name and password, or by a link of an admin that makes a place or a new password.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useState } from 'preact/hooks';
import { ApiError } from '../api';
import { day, t } from '../i18n';
import { tp, type PeopleKey } from '../i18n/people';
import { account, enter, why } from '../people';
import { said } from '../store';
import { Icon, Jar, Moon } from './icon';
import { LookButtons } from './ui';
import '../styles/people.css';

function Frame({ title, lede, children }: { title: string; lede?: string; children: ComponentChildren }) {
  useEffect(() => {
    document.title = `${title} · ${t('app')}`;
  }, [title]);
  return (
    <main class="screen gate">
      <div class="bar">
        <span class="home">
          <Jar />
          <b>{t('app')}</b>
        </span>
        <LookButtons />
      </div>
      <div class="scroll">
        <div class="gate-in">
          <Moon />
          <h1 class="big">{title}</h1>
          {lede && <p class="lede">{lede}</p>}
          {children}
        </div>
      </div>
    </main>
  );
}

interface FieldProps {
  label: string;
  name: string;
  complete: string;
  hint?: string;
  first?: boolean;
  max?: number;
  min?: number;
}
export function NameField({ label, name, complete, hint, first, max }: FieldProps) {
  const id = useId();
  return (
    <div class="ask-for">
      <label for={id}>{label}</label>
      <input
        class="field"
        id={id}
        name={name}
        autocomplete={complete}
        autoCapitalize="none"
        spellcheck={false}
        maxLength={max ?? 64}
        required
        autoFocus={first}
        aria-describedby={hint ? `${id}-hint` : undefined}
      />
      {hint && <p id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}
/** With a button that shows what was typed. */
export function PasswordField({ label, name, complete, hint, first, min }: FieldProps) {
  const id = useId();
  const [shown, setShown] = useState(false);
  return (
    <div class="ask-for">
      <label for={id}>{label}</label>
      <div class="secret">
        <input
          class="field"
          id={id}
          name={name}
          type={shown ? 'text' : 'password'}
          autocomplete={complete}
          autoCapitalize="none"
          spellcheck={false}
          minLength={min}
          maxLength={512}
          required
          autoFocus={first}
          aria-describedby={hint ? `${id}-hint` : undefined}
        />
        <button
          type="button"
          class="ib"
          aria-pressed={shown}
          aria-label={tp(shown ? 'hidePassword' : 'showPassword')}
          title={tp(shown ? 'hidePassword' : 'showPassword')}
          onClick={() => setShown(!shown)}
        >
          <Icon name="eye" />
        </button>
      </div>
      {hint && <p id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

/** What went wrong, and for how long one has to wait. */
export function Trouble({ error, left }: { error: unknown; left: number }) {
  if (!error) return null;
  const api = error instanceof ApiError ? error : null;
  const wait: PeopleKey | null =
    api?.status === 429 ? 'waitTries' : api?.status === 503 ? 'waitBusy' : null;
  if (wait && left <= 0) return null;
  return (
    <p class="note-box bad" role="alert">
      <Icon name="warn" />
      <span>{wait ? tp(wait, { s: left }) : why(error)}</span>
    </p>
  );
}

/** Sends a form once at a time; counts down where the server says to wait. */
export function useForm(act: (data: FormData) => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [left, setLeft] = useState(0);
  useEffect(() => {
    if (left <= 0) return;
    const timer = setTimeout(() => setLeft(left - 1), 1000);
    return () => clearTimeout(timer);
  }, [left]);
  const submit = async (e: SubmitEvent): Promise<void> => {
    e.preventDefault();
    if (busy || left > 0) return;
    const form = e.currentTarget as HTMLFormElement;
    setBusy(true);
    setError(null);
    try {
      await act(new FormData(form));
      form.reset();
    } catch (failed) {
      setError(failed);
      const wait = failed instanceof ApiError ? failed.retry : 0;
      setLeft(wait);
      const field = form.querySelector<HTMLInputElement>('input[type=password]');
      if (!wait) field?.select();
    }
    setBusy(false);
  };
  return { busy, error, left, submit };
}

const text = (data: FormData, name: string): string => String(data.get(name) ?? '');

export function Submit({ busy, left, label }: { busy: boolean; left: number; label: string }) {
  return (
    <button class="b main" disabled={busy || left > 0} aria-busy={busy}>
      {busy && <span class="busy-dot" />}
      {busy ? tp('loginBusy') : label}
    </button>
  );
}

export function Login({ empty }: { empty: boolean }) {
  const { busy, error, left, submit } = useForm(async (data) => {
    await account.login(text(data, 'name').trim(), text(data, 'password'));
    location.reload();
  });
  if (empty)
    return (
      <Frame title={tp('loginTitle')}>
        <p class="lede">{tp('loginEmpty')}</p>
      </Frame>
    );
  return (
    <Frame title={tp('loginTitle')} lede={tp('loginLede')}>
      <form class="form" onSubmit={(e) => void submit(e)}>
        <NameField label={tp('name')} name="name" complete="username" first />
        <PasswordField label={tp('password')} name="password" complete="current-password" />
        <Trouble error={error} left={left} />
        <Submit busy={busy} left={left} label={tp('login')} />
      </form>
      <p class="below">{tp('loginHow')}</p>
    </Frame>
  );
}

type Link = Awaited<ReturnType<typeof account.look>>;

export function Join({ token }: { token: string }) {
  const [link, setLink] = useState<Link | 'gone' | null>(null);
  const [broken, setBroken] = useState<unknown>(null);
  useEffect(() => {
    said.value = tp('joinLook');
    account.look(token).then(setLink, (error) => {
      if (error instanceof ApiError && error.status === 404) setLink('gone');
      else setBroken(error);
    });
  }, [token]);
  const { busy, error, left, submit } = useForm(async (data) => {
    const name = text(data, 'name').trim();
    await account.join(token, text(data, 'password'), name || undefined);
    enter();
  });
  if (broken)
    return (
      <Frame title={t('app')}>
        <Trouble error={broken} left={broken instanceof ApiError ? broken.retry : 0} />
      </Frame>
    );
  if (!link) return <Frame title={t('app')}>{null}</Frame>;
  if (link === 'gone')
    return (
      <Frame title={t('app')} lede={tp('joinGone')}>
        <button
          type="button"
          class="b main"
          onClick={() => location.replace('/')}
        >
          {tp('toLogin')}
        </button>
      </Frame>
    );
  const reset = link.kind === 'password';
  const boss = link.role === 'admin';
  const words: [PeopleKey, PeopleKey, PeopleKey] = reset
    ? ['resetTitle', 'resetLede', 'resetMake']
    : boss
      ? ['joinAdminTitle', 'joinAdminLede', 'joinMake']
      : ['joinTitle', 'joinLede', 'joinMake'];
  return (
    <Frame title={tp(words[0])} lede={tp(words[1], { name: link.name })}>
      <form class="form" onSubmit={(e) => void submit(e)}>
        {reset ? (
          <input type="hidden" name="username" autocomplete="username" value={link.name} />
        ) : (
          <NameField
            label={tp('name')}
            name="name"
            complete="username"
            hint={tp('nameHint')}
            first
          />
        )}
        <PasswordField
          label={tp(reset ? 'newPassword' : 'password')}
          name="password"
          complete="new-password"
          hint={tp('passwordHint')}
          min={10}
          first={reset}
        />
        <Trouble error={error} left={left} />
        <Submit busy={busy} left={left} label={tp(words[2])} />
      </form>
      <p class="below">
        <span class="expiry">
          <Icon name="time" small />
          {tp('joinUntil', { date: day(link.expires) })}
        </span>
      </p>
    </Frame>
  );
}
