// SPDX-License-Identifier: MIT
// The list of chats: search, folders, days, and what can be done to each.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Chat, Folder } from '../api';
import { groupName, groupOf, t, type Group } from '../i18n';
import { drawer, folded, go, href, route } from '../route';
import {
  archiveChat,
  archivedShown,
  chats,
  deleteChat,
  deleteFolder,
  editChat,
  folder,
  folders,
  loadChats,
  me,
  moreChats,
  pinned,
  query,
  titleOf,
  unpinned,
} from '../store';
import { api } from '../api';
import { dialog } from './dialogs';
import { Icon, Jar } from './icon';
import { pick, PickBar, picked, PickRow } from './pick';
import { IconButton, LookButtons, Menu, useEnter, type MenuItem } from './ui';

export function Sidebar() {
  const root = useRef<HTMLElement>(null);
  const open = drawer.value;
  useEffect(() => {
    if (open) root.current?.querySelector<HTMLElement>('a, button')?.focus();
  }, [open]);
  return (
    <>
      {open && <div class="scrim" onClick={() => (drawer.value = false)} />}
      <aside
        class={open ? 'side open' : 'side'}
        ref={root}
        aria-label={t('chats')}
        onKeyDown={(e) => keepFocus(e, root.current)}
      >
        <div class="brand">
          <a href="/" aria-label={t('app')}>
            <Jar />
            <b>{t('app')}</b>
          </a>
          <IconButton icon="menu" label={t('foldList')} onClick={fold} />
        </div>
        <div class="side-top">
          <a class="b line new" href="/" onClick={() => (drawer.value = false)}>
            <Icon name="plus" />
            <span>{t('newChat')}</span>
            <kbd class="hide-s">Ctrl Shift O</kbd>
          </a>
          <Find />
        </div>
        <nav class="side-scroll" aria-label={t('chatsAndPlaces')}>
          <Places />
          <List />
        </nav>
        <PickBar />
        <MeRow />
      </aside>
    </>
  );
}

export function fold(): void {
  if (drawer.peek()) {
    drawer.value = false;
    return;
  }
  folded.value = !folded.peek();
  localStorage.setItem('damso.folded', folded.peek() ? '1' : '0');
}

/** In the drawer Tab goes round and Esc closes. */
function keepFocus(e: KeyboardEvent, root: HTMLElement | null): void {
  if (!drawer.peek() || !root) return;
  if (e.key === 'Escape') {
    drawer.value = false;
    document.querySelector<HTMLElement>('.bar .ib')?.focus();
  }
  if (e.key !== 'Tab') return;
  const all = [...root.querySelectorAll<HTMLElement>('a, button, input')].filter(
    (x) => x.offsetParent,
  );
  const edge = e.shiftKey ? all[0] : all.at(-1);
  if (document.activeElement !== edge) return;
  e.preventDefault();
  (e.shiftKey ? all.at(-1) : all[0])?.focus();
}

function Find() {
  const timer = useRef(0);
  return (
    <label class="find">
      <Icon name="find" small />
      <input
        type="search"
        id="find"
        placeholder={t('find')}
        aria-label={t('find')}
        onInput={(e) => {
          const value = e.currentTarget.value;
          clearTimeout(timer.current);
          timer.current = window.setTimeout(() => {
            query.value = value;
            void loadChats();
          }, 150);
        }}
      />
      <kbd class="hide-s">Ctrl K</kbd>
    </label>
  );
}

function Places() {
  if (query.value) return null;
  const pick = (id: string | null): void => {
    folder.value = folder.peek() === id ? null : id;
    archivedShown.value = false;
    void loadChats();
    if (route.peek().name !== 'new') go({ name: 'new' });
  };
  return (
    <>
      <h2>
        {t('folders')}
        <IconButton
          icon="plus"
          small
          label={t('newFolder')}
          class="end"
          onClick={() => (dialog.value = { name: 'folder', folder: null })}
        />
      </h2>
      {folders.value.map((f) => (
        <div key={f.id} class={folder.value === f.id ? 'row on' : 'row'}>
          <button
            type="button"
            class="row-in"
            aria-pressed={folder.value === f.id}
            onClick={() => pick(f.id)}
          >
            <Icon name="folder" />
            <span dir="auto">{f.name}</span>
          </button>
          <FolderMenu folder={f} />
        </div>
      ))}
    </>
  );
}

function FolderMenu({ folder: f }: { folder: Folder }) {
  return (
    <Menu
      label={`${t('more')}: ${f.name}`}
      class="ib sm"
      button={<Icon name="more" />}
      items={() => [
        {
          icon: 'edit',
          label: t('folderEdit'),
          act: () => (dialog.value = { name: 'folder', folder: f }),
        },
        {
          icon: 'bin',
          label: t('folderDelete'),
          risk: true,
          act: () =>
            (dialog.value = {
              name: 'ask',
              text: t('folderDeleteAsk', { name: f.name }),
              act: t('folderDelete'),
              yes: () => void deleteFolder(f.id),
            }),
        },
      ]}
    />
  );
}

function List() {
  const groups = new Map<Group, Chat[]>();
  if (pinned.value.length) groups.set('pinned', pinned.value);
  for (const chat of unpinned.value) {
    const group = groupOf(chat.updated);
    const list = groups.get(group);
    if (list) list.push(chat);
    else groups.set(group, [chat]);
  }
  return (
    <>
      {archivedShown.value && (
        <h2>
          {t('archived')}
          <button type="button" class="b sm end" onClick={() => showArchived(false)}>
            {t('allChats')}
          </button>
        </h2>
      )}
      {[...groups].map(([group, list]) => (
        <section key={group} aria-label={groupName(group)}>
          <h2>{groupName(group)}</h2>
          <ul>
            {list.map((chat) => (
              <Row key={chat.id} chat={chat} />
            ))}
          </ul>
        </section>
      ))}
      {!chats.value.length && me.value && (
        <p class="none">
          {query.value
            ? t('findNone', { q: query.value })
            : archivedShown.value
              ? t('archivedNone')
              : t('noChats')}
        </p>
      )}
      {moreChats.value && (
        <button type="button" class="b sm more-chats" onClick={() => void loadChats(true)}>
          {t('loadMore')}
        </button>
      )}
      {!archivedShown.value && !query.value && (
        <button type="button" class="b sm more-chats" onClick={() => showArchived(true)}>
          <Icon name="box" small />
          {t('archived')}
        </button>
      )}
    </>
  );
}
export function showArchived(on: boolean): void {
  archivedShown.value = on;
  folder.value = null;
  void loadChats();
}

function Row({ chat }: { chat: Chat }) {
  const [renaming, setRenaming] = useState(false);
  const current = route.value;
  const here = current.name === 'chat' && current.id === chat.id;
  if (picked.value) return <PickRow chat={chat} on={picked.value.has(chat.id)} />;
  if (renaming)
    return (
      <li>
        <Rename chat={chat} done={() => setRenaming(false)} />
      </li>
    );
  return (
    <li class={here ? 'row here' : 'row'}>
      <a
        class="row-in"
        href={href({ name: 'chat', id: chat.id })}
        aria-current={here ? 'page' : undefined}
        title={titleOf(chat)}
        onClick={(e) => {
          if (!e.shiftKey) return;
          e.preventDefault(); // instead of a window
          pick(chat.id);
        }}
        onDblClick={(e) => {
          e.preventDefault();
          setRenaming(true);
        }}
      >
        <span dir="auto">
          {titleOf(chat)}
          {chat.snippet && query.value && (
            <small dir="auto">
              <Marked text={chat.snippet} q={query.value} />
            </small>
          )}
        </span>
        {chat.running && <span class="busy-dot" role="img" aria-label={t('writing')} />}
      </a>
      <Menu
        label={`${t('more')}: ${titleOf(chat)}`}
        class="ib sm"
        button={<Icon name="more" />}
        items={() => chatItems(chat, () => setRenaming(true))}
      />
    </li>
  );
}

function Marked({ text: raw, q }: { text: string; q: string }) {
  const text = raw.replace(/[*_`#|]+/g, '');
  const at = text.toLowerCase().indexOf(q.toLowerCase());
  if (at < 0) return <>{text}</>;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + q.length)}</mark>
      {text.slice(at + q.length)}
    </>
  );
}

function Rename({ chat, done }: { chat: Chat; done: () => void }) {
  const over = useRef(false);
  const commit = (value: string): void => {
    if (over.current) return; // Enter takes the field away, which blurs it
    over.current = true;
    done();
    const title = value.trim();
    if (title && title !== chat.title) void editChat(chat.id, { title });
  };
  const give = (): void => {
    over.current = true;
    done();
  };
  const field = useEnter<HTMLInputElement>(commit, give);
  useLayoutEffect(() => {
    field.current?.focus(); // select() alone does not, outside Chromium
    field.current?.select();
  }, []);
  return (
    <input
      class="field rename"
      aria-label={t('chatTitle')}
      defaultValue={chat.title}
      maxLength={200}
      ref={field}
      onBlur={(e) => commit(e.currentTarget.value)}
    />
  );
}

/** What can be done to a chat, in the list and in the bar. */
export function chatItems(chat: Chat, rename: () => void): (MenuItem | null)[] {
  return [
    { icon: 'edit', label: t('rename'), act: rename },
    {
      icon: 'pin',
      label: chat.pinned ? t('unpin') : t('pin'),
      act: () => void editChat(chat.id, { pinned: !chat.pinned }),
    },
    folders.value.length
      ? { icon: 'folder', label: t('moveTo'), act: () => (dialog.value = { name: 'move', chat }) }
      : null,
    { icon: 'share', label: t('share'), act: () => (dialog.value = { name: 'share', chat }) },
    {
      icon: 'save',
      label: t('exportMd'),
      href: api.exportUrl(chat.id, 'markdown'),
      download: true,
    },
    { icon: 'save', label: t('exportJson'), href: api.exportUrl(chat.id, 'json'), download: true },
    {
      icon: 'box',
      label: chat.archived ? t('unarchive') : t('archive'),
      act: () => void archiveChat(chat),
    },
    { icon: 'check', label: t('pickMany'), act: () => pick(chat.id) },
    { icon: 'bin', label: t('delete'), risk: true, act: () => void deleteChat(chat) },
  ];
}

function MeRow() {
  const name = me.value?.accounts ? me.value.user.name : t('me');
  return (
    <div class="me-row">
      <span class="who">
        <span class="face" aria-hidden="true">
          {me.value?.accounts ? name.slice(0, 1) : t('iam').slice(0, 1)}
        </span>
        <span dir="auto">{name}</span>
      </span>
      <LookButtons />
      {me.value?.user.role === 'admin' && (
        <a
          class="ib"
          href={href({ name: 'admin', tab: '' })}
          aria-label={t('admin')}
          title={t('admin')}
          aria-current={route.value.name === 'admin' ? 'page' : undefined}
          onClick={() => (drawer.value = false)}
        >
          <Icon name="admin" />
        </a>
      )}
      <IconButton
        icon="gear"
        label={t('settings')}
        onClick={() => (go({ name: 'settings', at: '' }))}
      />
    </div>
  );
}
