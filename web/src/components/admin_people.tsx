// SPDX-License-Identifier: MIT
// Users: their role, limits, what they used today; and the invitations that are open.
import { useEffect, useState } from 'preact/hooks';
import { day, number } from '../i18n';
import { ago, tp } from '../i18n/people';
import { admin, inviteUrl, sorry, type Invitation, type Limits, type Person } from '../people';
import { me, tell } from '../store';
import { Icon } from './icon';
import { Once } from './keys';
import { Confirm, Dialog, Menu, Seg } from './ui';

type Ask =
  | { what: 'disable' | 'admin'; who: Person }
  | { what: 'limits'; who: Person }
  | { what: 'link'; url: string; label: string };

export function People() {
  const [users, setUsers] = useState<Person[] | null>(null);
  const [invitations, setInvitations] = useState<Invitation[]>([]);
  const [today, setToday] = useState<Map<string, number>>(new Map());
  const [inviting, setInviting] = useState(false);
  const [ask, setAsk] = useState<Ask | null>(null);
  const read = (): void => {
    admin.users().then(setUsers, sorry);
    admin.invitations().then(setInvitations, sorry);
    admin.usage(1).then((usage) => {
      const sums = new Map<string, number>();
      for (const r of usage.rows)
        sums.set(r.owner, (sums.get(r.owner) ?? 0) + r.prompt_tokens + r.answer_tokens);
      setToday(sums);
    }, sorry);
  };
  useEffect(read, []);
  const change = (who: Person, how: Parameters<typeof admin.setUser>[1], said?: string): void => {
    admin.setUser(who.id, how).then((next) => {
      setUsers((all) => all?.map((u) => (u.id === next.id ? next : u)) ?? null);
      if (said) tell(said);
    }, sorry);
  };
  const reset = (who: Person): void => {
    admin.reset(who.id).then(
      (link) =>
        setAsk({
          what: 'link',
          url: inviteUrl(link.token ?? ''),
          label: tp('resetMade', { name: who.name }),
        }),
      sorry,
    );
  };
  if (me.value && !me.value.accounts) return <p class="none">{tp('noAccounts')}</p>;
  return (
    <>
      <section class="block">
        <div class="sec">
          <h3>{tp('users')}</h3>
          <button type="button" class="b line sm end" onClick={() => setInviting(true)}>
            <Icon name="plus" small />
            {tp('invite')}
          </button>
        </div>
        <div class="tbl">
          <table>
            <thead>
              <tr>
                <th>{tp('name')}</th>
                <th>{tp('role')}</th>
                <th class="hide-s">{tp('limit')}</th>
                <th class="r hide-s">{tp('seen')}</th>
                <th class="r">{tp('today')}</th>
                <th>
                  <span class="vh">{tp('actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {users?.map((u) => (
                <Row
                  key={u.id}
                  who={u}
                  used={today.get(u.id) ?? 0}
                  onAsk={setAsk}
                  onChange={change}
                  onReset={reset}
                />
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <Invitations list={invitations} onChange={read} />
      {inviting && (
        <Invite
          onMade={read}
          onClose={() => {
            setInviting(false);
          }}
        />
      )}
      <Asked ask={ask} onClose={() => setAsk(null)} onChange={change} />
    </>
  );
}

type Change = (who: Person, how: Parameters<typeof admin.setUser>[1], said?: string) => void;

function Asked({ ask, onClose, onChange }: { ask: Ask | null; onClose: () => void; onChange: Change }) {
  if (ask?.what === 'link')
    return (
      <Dialog title={tp('resetLink')} onClose={onClose}>
        <Once label={ask.label} text={ask.url} copyLabel={tp('copyLink')} onDone={onClose} />
      </Dialog>
    );
  if (ask?.what === 'limits')
    return (
      <LimitsDialog who={ask.who} onClose={onClose} onSet={(how) => onChange(ask.who, how, tp('saved'))} />
    );
  if (ask?.what === 'disable')
    return (
      <Confirm
        text={tp('disableAsk', { name: ask.who.name })}
        act={tp('disable')}
        onClose={onClose}
        onYes={() =>
          onChange(ask.who, { disabled: true }, tp('disabledToast', { name: ask.who.name }))
        }
      />
    );
  if (ask?.what === 'admin')
    return (
      <Confirm
        text={tp('makeAdminAsk', { name: ask.who.name })}
        act={tp('makeAdmin')}
        onClose={onClose}
        onYes={() => onChange(ask.who, { role: 'admin' }, tp('saved'))}
      />
    );
  return null;
}

function limitText(who: Limits): string {
  const parts = [
    who.requests_minute && tp('limitRequestsN', { n: number(who.requests_minute) }),
    who.tokens_minute && tp('limitTokensN', { n: number(who.tokens_minute) }),
    who.n_concurrent && tp('limitAtOnceN', { n: number(who.n_concurrent) }),
  ].filter(Boolean);
  return parts.join(', ');
}

interface RowProps {
  who: Person;
  used: number;
  onAsk: (ask: Ask) => void;
  onChange: Change;
  onReset: (who: Person) => void;
}
function Row({ who, used, onAsk, onChange, onReset }: RowProps) {
  const own = who.id === me.value?.user.id;
  const limit = limitText(who);
  return (
    <tr class={who.disabled ? 'off' : undefined}>
      <td>
        <span dir="auto">{who.name}</span>
        {own && <span class="tag">{tp('you')}</span>}
        {who.disabled > 0 && <span class="state warn">{tp('isDisabled')}</span>}
        {!who.password && <span class="state warn">{tp('noPassword')}</span>}
      </td>
      <td>{tp(`role_${who.role}`)}</td>
      <td class="hide-s">{limit || <span class="muted">{tp('limitNone')}</span>}</td>
      <td class="r hide-s num">{ago(who.seen)}</td>
      <td class="r num">
        {number(used)}
        <span class="unit">{tp('tokens')}</span>
      </td>
      <td class="r">
        <Menu
          label={tp('moreOf', { name: who.name })}
          class="ib sm"
          button={<Icon name="more" />}
          items={() => [
            { icon: 'time', label: tp('limits'), act: () => onAsk({ what: 'limits', who }) },
            { icon: 'key', label: tp('resetLink'), act: () => onReset(who) },
            who.role === 'admin'
              ? {
                  icon: 'admin',
                  label: tp('makeUser'),
                  act: () => onChange(who, { role: 'user' }, tp('saved')),
                }
              : {
                  icon: 'admin',
                  label: tp('makeAdmin'),
                  act: () => onAsk({ what: 'admin', who }),
                },
            who.disabled
              ? {
                  icon: 'check',
                  label: tp('enable'),
                  act: () =>
                    onChange(who, { disabled: false }, tp('enabledToast', { name: who.name })),
                }
              : {
                  icon: 'off',
                  label: tp('disable'),
                  risk: true,
                  act: () => onAsk({ what: 'disable', who }),
                },
          ]}
        />
      </td>
    </tr>
  );
}

function Invitations({ list, onChange }: { list: Invitation[]; onChange: () => void }) {
  const end = (it: Invitation): void => {
    admin.uninvite(it.id).then(() => {
      tell(tp('uninvited'));
      onChange();
    }, sorry);
  };
  return (
    <section class="block">
      <div class="sec">
        <h3>{tp('invitations')}</h3>
      </div>
      {!list.length && <p class="none">{tp('invitationsNone')}</p>}
      {list.length > 0 && (
        <div class="tbl">
          <table>
            <thead>
              <tr>
                <th>{tp('forWhom')}</th>
                <th>{tp('role')}</th>
                <th class="r">{tp('usesLeft')}</th>
                <th class="r">{tp('expires')}</th>
                <th>
                  <span class="vh">{tp('actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((it) => (
                <tr key={it.id}>
                  <td dir="auto">{it.note || <span class="muted">{tp('unnamed')}</span>}</td>
                  <td>{it.kind === 'password' ? tp('kind_password') : tp(`role_${it.role}`)}</td>
                  <td class="r num">{tp('usesLeftN', { n: it.uses_left })}</td>
                  <td class="r num">{day(it.expires)}</td>
                  <td class="r">
                    <button
                      type="button"
                      class="b sm risk"
                      aria-label={tp('uninviteOf', { name: it.note || tp('unnamed') })}
                      onClick={() => end(it)}
                    >
                      {tp('uninvite')}
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

const HOURS = ['24', '72', '168', '720'] as const;
const USES = ['1', '5', '20'] as const;

function Invite({ onMade, onClose }: { onMade: () => void; onClose: () => void }) {
  const [role, setRole] = useState<'user' | 'admin'>('user');
  const [hours, setHours] = useState<(typeof HOURS)[number]>('72');
  const [uses, setUses] = useState<(typeof USES)[number]>('1');
  const [url, setUrl] = useState('');
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const note = String(new FormData(e.currentTarget as HTMLFormElement).get('note')).trim();
    admin
      .invite({ role, note, hours: Number(hours), uses: role === 'admin' ? 1 : Number(uses) })
      .then((made) => {
        setUrl(inviteUrl(made.token ?? ''));
        onMade();
      }, sorry);
  };
  if (url)
    return (
      <Dialog title={tp('inviteTitle')} onClose={onClose}>
        <Once label={tp('inviteMade')} text={url} copyLabel={tp('copyLink')} onDone={onClose} />
      </Dialog>
    );
  return (
    <Dialog title={tp('inviteTitle')} onClose={onClose}>
      <form class="form" onSubmit={submit}>
        <label>
          {tp('inviteNote')}
          <input class="field" name="note" placeholder={tp('inviteNotePlace')} maxLength={60} autoFocus />
        </label>
        <div class="opt">
          <b>{tp('role')}</b>
          <Seg
            name="role"
            label={tp('role')}
            value={role}
            onPick={setRole}
            options={[
              ['user', tp('role_user')],
              ['admin', tp('role_admin')],
            ]}
          />
        </div>
        {role === 'user' && (
          <div class="opt">
            <b>{tp('inviteUses')}</b>
            <Seg
              name="uses"
              label={tp('inviteUses')}
              value={uses}
              onPick={setUses}
              options={USES.map((n) => [n, tp('usesLeftN', { n })])}
            />
          </div>
        )}
        <div class="opt">
          <b>{tp('inviteHours')}</b>
          <Seg
            name="hours"
            label={tp('inviteHours')}
            value={hours}
            onPick={setHours}
            options={HOURS.map((h) => [h, tp(`hours_${h}`)])}
          />
        </div>
        <div class="foot-row">
          <button class="b main">
            <Icon name="link" small />
            {tp('inviteMake')}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function LimitsDialog({
  who,
  onSet,
  onClose,
}: {
  who: Person;
  onSet: (how: Limits) => void;
  onClose: () => void;
}) {
  const fields = [
    ['requests_minute', 'limitRequests', 1e9],
    ['tokens_minute', 'limitTokens', 1e12],
    ['n_concurrent', 'limitAtOnce', 1e6],
  ] as const;
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const data = new FormData(e.currentTarget as HTMLFormElement);
    const of = (name: string): number => Math.max(0, Math.floor(Number(data.get(name)) || 0));
    onSet({
      requests_minute: of('requests_minute'),
      tokens_minute: of('tokens_minute'),
      n_concurrent: of('n_concurrent'),
    });
    onClose();
  };
  return (
    <Dialog title={tp('limitsOf', { name: who.name })} onClose={onClose}>
      <form class="form" onSubmit={submit}>
        <p class="muted">{tp('limitsHint')}</p>
        {fields.map(([name, label, most], i) => (
          <label key={name}>
            {tp(label)}
            <input
              class="field num"
              type="number"
              name={name}
              min={0}
              max={most}
              step={1}
              inputMode="numeric"
              placeholder={tp('limitNone')}
              defaultValue={who[name] ? String(who[name]) : ''}
              autoFocus={i === 0}
            />
          </label>
        ))}
        <div class="foot-row">
          <button class="b main">{tp('save')}</button>
        </div>
      </form>
    </Dialog>
  );
}
