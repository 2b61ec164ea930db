// SPDX-License-Identifier: MIT
// Several chats of the list at once: picked by their boxes, then deleted or put away together, and
// brought back together.
import { signal } from '@preact/signals';
import { api, type Chat } from '../api';
import { number, t } from '../i18n';
import { go, route } from '../route';
import { chats, dropChat, fail, putChat, tell, titleOf, toast } from '../store';
import { Icon } from './icon';

/** The ids that are picked; null: the list is as always. */
export const picked = signal<ReadonlySet<string> | null>(null);

export function pick(id: string, on = true): void {
  const next = new Set(picked.peek() ?? []);
  if (on) next.add(id);
  else next.delete(id);
  picked.value = next;
}
export function unpick(): void {
  picked.value = null;
}

export function PickRow({ chat, on }: { chat: Chat; on: boolean }) {
  return (
    <li class={on ? 'row pick-row on' : 'row pick-row'}>
      <label class="row-in">
        <input
          type="checkbox"
          checked={on}
          onChange={(e) => pick(chat.id, e.currentTarget.checked)}
          onClick={(e) => e.shiftKey && pickRange(chat.id)}
        />
        <span dir="auto">{titleOf(chat)}</span>
      </label>
    </li>
  );
}

/** From the last that is picked above to this one. */
function pickRange(id: string): void {
  const list = chats.peek().map((c) => c.id);
  const to = list.indexOf(id);
  const from = list.findLastIndex((x, i) => i < to && picked.peek()?.has(x));
  if (from >= 0) picked.value = new Set([...(picked.peek() ?? []), ...list.slice(from, to)]);
}

const AT_ONCE = 6;
async function each<T>(ids: string[], work: (id: string) => Promise<T>): Promise<T[]> {
  const out: T[] = [];
  for (let i = 0; i < ids.length; i += AT_ONCE)
    out.push(...(await Promise.all(ids.slice(i, i + AT_ONCE).map(work))));
  return out;
}

async function deleteAll(ids: string[]): Promise<void> {
  unpick();
  const gone: string[] = [];
  try {
    await each(ids, async (id) => {
      await api.deleteChat(id);
      gone.push(id);
      dropChat(id);
    });
  } catch (error) {
    fail(error);
  }
  const at = route.peek();
  if (at.name === 'chat' && gone.includes(at.id)) go({ name: 'new' });
  if (!gone.length) return;
  tell(t('deletedMany', { n: number(gone.length) }), t('undo'), () => {
    toast.value = null;
    each(gone, async (id) => putChat(await api.restoreChat(id))).catch(fail);
  });
}

async function archiveAll(ids: string[]): Promise<void> {
  unpick();
  const set = (archived: boolean) => async (id: string) =>
    putChat(await api.editChat(id, { archived }));
  try {
    await each(ids, set(true));
    tell(t('archivedMany', { n: number(ids.length) }), t('undo'), () => {
      toast.value = null;
      each(ids, set(false)).catch(fail);
    });
  } catch (error) {
    fail(error);
  }
}

/** What can be done to those that are picked. */
export function PickBar() {
  if (!picked.value) return null;
  const ids = [...picked.value];
  return (
    <div class="pick-bar" role="group" aria-label={t('pickMany')}>
      <b role="status">{t('picked', { n: number(ids.length) })}</b>
      <button type="button" class="b sm" onClick={unpick}>
        {t('cancel')}
      </button>
      <button type="button" class="b sm line" disabled={!ids.length} onClick={() => void archiveAll(ids)}>
        <Icon name="box" small />
        {t('archive')}
      </button>
      <button type="button" class="b sm risk" disabled={!ids.length} onClick={() => void deleteAll(ids)}>
        <Icon name="bin" small />
        {t('delete')}
      </button>
    </div>
  );
}
