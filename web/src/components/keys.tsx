// SPDX-License-Identifier: MIT
// API keys: a user's own in the settings, and all of them for an admin.
import { useState } from 'preact/hooks';
import { day } from '../i18n';
import { ago, tp, type PeopleKey } from '../i18n/people';
import { sorry, type Key, type NewKey } from '../people';
import { tell } from '../store';
import { Icon } from './icon';
import { copy, Seg } from './ui';

const DAYS = ['0', '30', '90', '365'] as const;

/** What is shown this once, and goes when one has it. */
export function Once({
  label,
  text,
  copyLabel,
  onDone,
}: {
  label: string;
  text: string;
  copyLabel: string;
  onDone: () => void;
}) {
  return (
    <div class="once" role="group" aria-label={label}>
      <p>{label}</p>
      <input
        class="field mono"
        readOnly
        aria-label={label}
        value={text}
        onFocus={(e) => e.currentTarget.select()}
      />
      <div class="foot-row">
        <button type="button" class="b line" onClick={onDone}>
          {tp('keyDone')}
        </button>
        <button type="button" class="b main" onClick={() => void copy(text)}>
          <Icon name="copy" small />
          {copyLabel}
        </button>
      </div>
    </div>
  );
}

const SCOPES = ['chat', 'models', 'metrics', 'admin'] as const;

export function MakeKey({
  make,
  scopes,
  onMade,
}: {
  make: (key: NewKey) => Promise<Key>;
  /** Whether one chooses what it opens. */
  scopes?: boolean;
  onMade: () => void;
}) {
  const [days, setDays] = useState<(typeof DAYS)[number]>('90');
  const [made, setMade] = useState<Key | null>(null);
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const form = e.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    const name = String(data.get('name')).trim();
    if (!name) return;
    const picked = data.getAll('scope').join(' ');
    make({ name, days: Number(days), ...(scopes ? { scopes: picked } : {}) }).then((key) => {
      form.reset();
      setMade(key);
      onMade();
    }, sorry);
  };
  if (made)
    return (
      <Once
        label={tp('keyMade')}
        text={made.key ?? ''}
        copyLabel={tp('keyCopy')}
        onDone={() => setMade(null)}
      />
    );
  return (
    <form class="form make-key" onSubmit={submit}>
      <label>
        {tp('keyName')}
        <input class="field" name="name" placeholder={tp('keyNamePlace')} maxLength={64} required />
      </label>
      <div class="ask-for">
        <span>{tp('keyDays')}</span>
        <Seg
          name="key-days"
          label={tp('keyDays')}
          value={days}
          onPick={setDays}
          options={DAYS.map((d) => [d, d === '0' ? tp('keyForever') : tp('daysN', { n: d })])}
        />
      </div>
      {scopes && (
        <fieldset class="scopes">
          <legend>{tp('keyScopes')}</legend>
          {SCOPES.map((s) => (
            <label key={s}>
              <input
                type="checkbox"
                name="scope"
                value={s}
                defaultChecked={s === 'chat' || s === 'models'}
              />
              {tp(`scope_${s}`)}
            </label>
          ))}
        </fieldset>
      )}
      <div class="foot-row">
        <button class="b line">
          <Icon name="plus" small />
          {tp('keyNew')}
        </button>
      </div>
    </form>
  );
}

export function keyState(key: Key): PeopleKey {
  if (key.revoked) return 'keyState_revoked';
  return key.expires && key.expires <= Date.now() / 1000 ? 'keyState_expired' : 'keyState_good';
}
export const keyUsed = (key: Key): string => ago(key.used);
export const keyUntil = (key: Key): string =>
  key.expires ? tp('until', { date: day(key.expires) }) : tp('keyForever');

export function endKey(key: Key, end: (id: string) => Promise<unknown>, onEnd: () => void): void {
  end(key.id).then(() => {
    tell(tp('keyEnded', { name: key.name }));
    onEnd();
  }, sorry);
}
