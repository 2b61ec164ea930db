// SPDX-License-Identifier: MIT
// What the app knows: the user, the list of chats, folders, settings; and what can be done to them.
import { computed, signal } from '@preact/signals';
import { api, ApiError, type Chat, type FileInfo, type Folder, type Me, type Settings } from './api';
import { lang, setLang, t } from './i18n';
import { go, route } from './route';

export const me = signal<Me | null>(null);
/** Whether one has to log in first; `empty`: nobody can yet. */
export const gate = signal<'open' | 'login' | 'empty'>('open');
export const chats = signal<Chat[]>([]);
export const moreChats = signal(false);
export const folders = signal<Folder[]>([]);
export const folder = signal<string | null>(null);
export const query = signal('');
export const archivedShown = signal(false);
export const settings = signal<Settings>({});
export const model = signal('');
export const temporary = signal(false);

export interface Toast {
  text: string;
  label?: string;
  act?: () => void;
}
export const toast = signal<Toast | null>(null);
/** What screen readers are told. */
export const said = signal('');
let toastTimer = 0;

export function tell(text: string, label?: string, act?: () => void): void {
  clearTimeout(toastTimer);
  toast.value = { text, label, act };
  said.value = text;
  toastTimer = window.setTimeout(() => (toast.value = null), act ? 10_000 : 4000);
}
// A page that is left takes its requests with it; that is no failure to speak of.
let leftAt = -Infinity;
globalThis.addEventListener?.('beforeunload', () => (leftAt = performance.now()));

export function fail(error: unknown): void {
  const cut = error instanceof ApiError ? error.status === 0 : error instanceof TypeError;
  if (cut && performance.now() - leftAt < 3000) return;
  if (error instanceof ApiError && error.code === 'login_needed') {
    if (gate.peek() === 'open') gate.value = 'login'; // the session has ended meanwhile
    return;
  }
  console.error(error);
  tell(error instanceof ApiError ? error.message : String(error));
}

const PAGE = 50;
const shownIn = (chat: Chat): boolean =>
  !chat.temporary &&
  chat.archived === archivedShown.peek() &&
  (!folder.peek() || chat.folder === folder.peek()) &&
  !query.peek();

const byTime = (a: Chat, b: Chat): number => b.updated - a.updated || b.created - a.created;

export const pinned = computed(() => chats.value.filter((c) => c.pinned));
export const unpinned = computed(() => chats.value.filter((c) => !c.pinned));

let asked = 0;
/** Reads the list anew, or its next page. */
export async function loadChats(next = false): Promise<void> {
  const mine = ++asked;
  const last = next
    ? chats
        .peek()
        .filter((c) => !c.pinned)
        .at(-1)
    : undefined;
  try {
    const page = await api.chats({
      q: query.peek().trim() || undefined,
      folder: folder.peek() ?? undefined,
      archived: archivedShown.peek(),
      before: last?.updated,
      limit: PAGE,
    });
    if (mine !== asked) return;
    const known = new Set(next ? chats.peek().map((c) => c.id) : []);
    const fresh = page.chats.filter((c) => !known.has(c.id));
    chats.value = (next ? [...chats.peek(), ...fresh] : fresh).sort(byTime);
    moreChats.value = page.more && fresh.length > 0;
  } catch (error) {
    fail(error);
  }
}

/** Takes in a chat as the server has it now. */
export function putChat(chat: Chat): void {
  const rest = chats.peek().filter((c) => c.id !== chat.id);
  const found = chats.peek().find((c) => c.id === chat.id);
  if (shownIn(chat)) rest.push(chat);
  else if (query.peek() && found) rest.push({ ...chat, snippet: found.snippet });
  chats.value = rest.sort(byTime);
}
export function dropChat(id: string): void {
  chats.value = chats.peek().filter((c) => c.id !== id);
}

export const titleOf = (chat: Pick<Chat, 'title'>): string => chat.title || t('untitled');

export async function editChat(id: string, change: Partial<Chat>): Promise<Chat | null> {
  try {
    const chat = await api.editChat(id, change);
    putChat(chat);
    return chat;
  } catch (error) {
    fail(error);
    return null;
  }
}
export async function archiveChat(chat: Chat): Promise<void> {
  const next = await editChat(chat.id, { archived: !chat.archived });
  if (next?.archived)
    tell(
      t('archivedToast', { title: titleOf(chat) }),
      t('undo'),
      () => void editChat(chat.id, { archived: false }),
    );
}
export async function deleteChat(chat: Chat): Promise<void> {
  try {
    await api.deleteChat(chat.id);
  } catch (error) {
    fail(error);
    return;
  }
  dropChat(chat.id);
  const current = route.peek();
  if (current.name === 'chat' && current.id === chat.id) go({ name: 'new' });
  tell(t('deleted', { title: titleOf(chat) }), t('undo'), () => {
    api.restoreChat(chat.id).then((restored) => {
      putChat(restored);
      toast.value = null;
    }, fail);
  });
}

export async function saveFolder(
  id: string | null,
  value: Omit<Folder, 'id'>,
  files: { was: FileInfo[]; now: FileInfo[] },
): Promise<void> {
  try {
    let saved = id ? await api.editFolder(id, value) : await api.newFolder(value);
    const has = (list: FileInfo[], file: FileInfo): boolean => list.some((f) => f.id === file.id);
    for (const f of files.now)
      if (!has(files.was, f)) saved = await api.addFolderFile(saved.id, f.id);
    for (const f of files.was)
      if (!has(files.now, f)) saved = await api.dropFolderFile(saved.id, f.id);
    const rest = folders.peek().filter((f) => f.id !== saved.id);
    folders.value = [...rest, saved].sort((a, b) => a.name.localeCompare(b.name, lang.peek()));
  } catch (error) {
    fail(error);
  }
}
export async function deleteFolder(id: string): Promise<void> {
  try {
    await api.deleteFolder(id);
    folders.value = folders.peek().filter((f) => f.id !== id);
    if (folder.peek() === id) folder.value = null;
    await loadChats();
  } catch (error) {
    fail(error);
  }
}

/** Shows the look that the settings ask for; kept in the browser for the next first paint. */
export function applyLook(): void {
  const s = settings.peek();
  const root = document.documentElement;
  const theme = s.theme ?? 'auto';
  if (theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme;
  root.dataset.size = s.size ?? 'normal';
  localStorage.setItem('damso.theme', theme);
  localStorage.setItem('damso.size', s.size ?? 'normal');
}
export function isDark(): boolean {
  const theme = settings.value.theme ?? 'auto';
  return (
    theme === 'dark' || (theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches)
  );
}

const MEMORY_CHARS = 1000;
/** Keeps a person's words as something to know of them; what is kept already is not kept twice. */
export function remember(words: string): void {
  const text = [...words.replace(/\s+/gu, ' ').trim()].slice(0, MEMORY_CHARS).join('');
  const before = settings.peek().memory ?? [];
  if (!text) return;
  if (!before.some((m) => m.text === text))
    set({ memory: [...before, { id: crypto.randomUUID?.() ?? String(Date.now()), text }] });
  tell(t('remembered'), t('undo'), () => {
    toast.value = null;
    set({ memory: before });
  });
}

let saving = 0;
/** Changes settings at once here, and in the server when the hand rests. */
export function set(change: Partial<Settings>): void {
  settings.value = { ...settings.peek(), ...change };
  if (change.language) setLang(change.language);
  applyLook();
  clearTimeout(saving);
  saving = window.setTimeout(() => {
    saving = 0;
    void api.saveSettings(settings.peek()).catch(fail);
  }, 400);
}
/** Whoever leaves before the hand has rested does not lose the change. */
globalThis.addEventListener?.('pagehide', () => {
  if (!saving) return;
  clearTimeout(saving);
  saving = 0;
  void api.saveSettings(settings.peek(), true).catch(() => undefined);
});

export async function loadAll(): Promise<void> {
  const [user, kept, places] = await Promise.all([api.me(), api.settings(), api.folders()]);
  me.value = user;
  settings.value = kept ?? {};
  folders.value = places;
  if (kept?.language) setLang(kept.language);
  applyLook();
  const last = localStorage.getItem('damso.model');
  model.value = user.models.some((m) => m.id === last) ? last! : user.default_model;
  await loadChats();
}
export function pickModel(id: string): void {
  model.value = id;
  localStorage.setItem('damso.model', id);
}
