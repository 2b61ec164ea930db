// SPDX-License-Identifier: MIT
// All API keys, those of users too.
import { useEffect, useState } from 'preact/hooks';
import { tp, type PeopleKey } from '../i18n/people';
import { admin, sorry, type Key } from '../people';
import { endKey, keyState, keyUntil, keyUsed, MakeKey } from './keys';
import { Icon } from './icon';
import { Confirm, Dialog } from './ui';

export function Keys() {
  const [keys, setKeys] = useState<Key[] | null>(null);
  const [making, setMaking] = useState(false);
  const [ask, setAsk] = useState<Key | null>(null);
  const read = (): void => void admin.keys().then(setKeys, sorry);
  useEffect(read, []);
  return (
    <section class="block">
      <div class="sec">
        <h3>{tp('keys')}</h3>
        <p>{tp('keysHint')}</p>
        <button type="button" class="b line sm end" onClick={() => setMaking(true)}>
          <Icon name="plus" small />
          {tp('keyNew')}
        </button>
      </div>
      {keys?.length === 0 && <p class="none">{tp('keysNone')}</p>}
      {keys && keys.length > 0 && (
        <div class="tbl">
          <table>
            <thead>
              <tr>
                <th>{tp('name')}</th>
                <th class="hide-s">{tp('keyOwner')}</th>
                <th class="hide-s">{tp('keyId')}</th>
                <th class="hide-s">{tp('keyScopes')}</th>
                <th>{tp('state')}</th>
                <th class="r">{tp('seen')}</th>
                <th>
                  <span class="vh">{tp('actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {keys.map((key) => (
                <Row key={key.id} it={key} onEnd={() => setAsk(key)} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {making && (
        <Dialog title={tp('keyNew')} onClose={() => setMaking(false)}>
          <MakeKey make={admin.newKey} scopes onMade={read} />
        </Dialog>
      )}
      {ask && (
        <Confirm
          text={tp('keyEndAsk', { name: ask.name })}
          act={tp('keyEnd')}
          onYes={() => endKey(ask, admin.endKey, read)}
          onClose={() => setAsk(null)}
        />
      )}
    </section>
  );
}

function Row({ it, onEnd }: { it: Key; onEnd: () => void }) {
  const state = keyState(it);
  const good = state === 'keyState_good';
  return (
    <tr>
      <td dir="auto">{it.name}</td>
      <td class="hide-s" dir="auto">
        {it.user ?? <span class="muted">{tp('keyNobody')}</span>}
      </td>
      <td class="hide-s mono">damso-{it.id}…</td>
      <td class="hide-s">
        {it.scopes
          .split(' ')
          .map((s) => tp(`scope_${s}` as PeopleKey))
          .join(', ')}
      </td>
      <td>
        {good ? (
          <span class="muted">{keyUntil(it)}</span>
        ) : (
          <span class="state warn">{tp(state)}</span>
        )}
      </td>
      <td class="r num">{keyUsed(it)}</td>
      <td class="r">
        {good && (
          <button type="button" class="b sm risk" onClick={onEnd}>
            {tp('keyEnd')}
          </button>
        )}
      </td>
    </tr>
  );
}
