// SPDX-License-Identifier: MIT
// One's own account, in the settings: name, password, devices, keys, and the way out.
import { useEffect, useState } from 'preact/hooks';
import { ago, tp } from '../i18n/people';
import { account, leave, sorry, type Account as Mine, type Session } from '../people';
import { me, tell } from '../store';
import { Icon } from './icon';
import { endKey, keyUntil, keyUsed, MakeKey } from './keys';
import { PasswordField, Submit, Trouble, useForm } from './login';
import { Confirm } from './ui';

export function Account() {
  const [mine, setMine] = useState<Mine | null>(null);
  const read = (): void => void account.read().then(setMine, sorry);
  useEffect(read, []);
  if (!mine) return null;
  return (
    <div class="account">
      <Name mine={mine} onSet={setMine} />
      <Password onSet={setMine} />
      <Devices mine={mine} onSet={setMine} />
      <Keys mine={mine} onChange={read} />
      <div class="opt">
        <div>
          <b>{tp('logout')}</b>
          <p>{tp('logoutHint')}</p>
        </div>
        <button type="button" class="b line" onClick={() => void leave()}>
          <Icon name="out" small />
          {tp('logout')}
        </button>
      </div>
    </div>
  );
}

interface Part {
  mine: Mine;
  onSet: (next: Mine) => void;
}

function Name({ mine, onSet }: Part) {
  const save = (e: SubmitEvent): void => {
    e.preventDefault();
    const name = String(new FormData(e.currentTarget as HTMLFormElement).get('name')).trim();
    if (!name || name === mine.name) return;
    account.rename(name).then((next) => {
      onSet(next);
      const now = me.peek();
      if (now) me.value = { ...now, user: { ...now.user, name: next.name } };
      tell(tp('saved'));
    }, sorry);
  };
  return (
    <form class="opt tall" onSubmit={save}>
      <div>
        <b>{tp('name')}</b>
        <p>
          {tp('nameHint')} {tp('role')}: {tp(`role_${mine.role}`)}
        </p>
      </div>
      <div class="add">
        <input
          class="field"
          name="name"
          aria-label={tp('name')}
          autocomplete="username"
          maxLength={64}
          required
          defaultValue={mine.name}
        />
        <button class="b line">{tp('save')}</button>
      </div>
    </form>
  );
}

function Password({ onSet }: { onSet: (next: Mine) => void }) {
  const [open, setOpen] = useState(false);
  const { busy, error, left, submit } = useForm(async (data) => {
    onSet(await account.password(String(data.get('old')), String(data.get('new'))));
    tell(tp('passwordChanged'));
    setOpen(false);
  });
  return (
    <div class={open ? 'opt tall' : 'opt'}>
      <div>
        <b>{tp('changePassword')}</b>
        <p>{tp('changePasswordHint')}</p>
      </div>
      {open ? (
        <form class="form" onSubmit={(e) => void submit(e)}>
          <PasswordField
            label={tp('oldPassword')}
            name="old"
            complete="current-password"
            first
          />
          <PasswordField
            label={tp('newPassword')}
            name="new"
            complete="new-password"
            hint={tp('passwordHint')}
            min={10}
          />
          <Trouble error={error} left={left} />
          <div class="foot-row">
            <Submit busy={busy} left={left} label={tp('changePassword')} />
          </div>
        </form>
      ) : (
        <button type="button" class="b line" onClick={() => setOpen(true)}>
          {tp('changePassword')}
        </button>
      )}
    </div>
  );
}

/** "Chrome, Windows" out of what a browser says of itself. */
export function deviceOf(agent: string): string {
  const find = (list: [RegExp, string][]): string => list.find(([re]) => re.test(agent))?.[1] ?? '';
  const browser = find([
    [/Edg(e|A|iOS)?\//, 'Edge'],
    [/SamsungBrowser/, 'Samsung Internet'],
    [/Whale\//, 'Whale'],
    [/OPR\//, 'Opera'],
    [/Firefox|FxiOS/, 'Firefox'],
    [/Chrome|CriOS/, 'Chrome'],
    [/Safari/, 'Safari'],
    [/^curl/, 'curl'],
  ]);
  const system = find([
    [/iPhone/, 'iPhone'],
    [/iPad/, 'iPad'],
    [/Android/, 'Android'],
    [/Windows/, 'Windows'],
    [/Mac OS X/, 'Mac'],
    [/CrOS/, 'ChromeOS'],
    [/Linux/, 'Linux'],
  ]);
  return [browser, system].filter(Boolean).join(' · ') || tp('unknownDevice');
}

function Devices({ mine, onSet }: Part) {
  const end = (session: Session): void => {
    account.endSession(session.id).then(onSet, sorry);
  };
  const endOthers = (): void => {
    account.endOthers().then((next) => {
      onSet(next);
      tell(tp('sessionsEnded'));
    }, sorry);
  };
  return (
    <div class="opt tall">
      <b>{tp('sessions')}</b>
      <ul class="devices">
        {mine.sessions.map((s) => (
          <li key={s.id}>
            <span>
              <b>{deviceOf(s.agent)}</b>
              {s.here && <span class="tag">{tp('sessionHere')}</span>}
              <small>
                <span class="num">{s.address}</span> · {tp('sessionUsed', { when: ago(s.used) })}
              </small>
            </span>
            {!s.here && (
              <button
                type="button"
                class="b sm risk"
                aria-label={tp('sessionEndOf', { device: deviceOf(s.agent) })}
                onClick={() => end(s)}
              >
                {tp('sessionEnd')}
              </button>
            )}
          </li>
        ))}
      </ul>
      {mine.sessions.length > 1 && (
        <button type="button" class="b line" onClick={endOthers}>
          {tp('sessionsEnd')}
        </button>
      )}
    </div>
  );
}

function Keys({ mine, onChange }: { mine: Mine; onChange: () => void }) {
  const [ask, setAsk] = useState<Mine['keys'][number] | null>(null);
  const may = mine.user_keys || mine.role === 'admin';
  if (!may && !mine.keys.length) return null;
  return (
    <div class="opt tall">
      <div>
        <b>{tp('keys')}</b>
        <p>{tp('keysHint')}</p>
      </div>
      {mine.keys.length > 0 && (
        <ul class="devices">
          {mine.keys.map((key) => (
            <li key={key.id}>
              <span>
                <b dir="auto">{key.name}</b>
                <small>
                  <span class="mono">damso-{key.id}…</span> · {keyUntil(key)} · {keyUsed(key)}
                </small>
              </span>
              <button type="button" class="b sm risk" onClick={() => setAsk(key)}>
                {tp('keyEnd')}
              </button>
            </li>
          ))}
        </ul>
      )}
      {may && <MakeKey make={account.newKey} onMade={onChange} />}
      {ask && (
        <Confirm
          text={tp('keyEndAsk', { name: ask.name })}
          act={tp('keyEnd')}
          onYes={() => endKey(ask, account.endKey, onChange)}
          onClose={() => setAsk(null)}
        />
      )}
    </div>
  );
}
