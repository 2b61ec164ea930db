// SPDX-License-Identifier: MIT
// The typed client of /api/v1: one function a call. Times are Unix seconds, ids are strings.
// Every failure is an ApiError whose message is for people.
import { t } from './i18n';

export interface Chat {
  id: string;
  title: string;
  created: number;
  updated: number;
  pinned: boolean;
  archived: boolean;
  folder: string | null;
  model: string | null;
  temporary: boolean;
  running: boolean;
  /** Ids of tools: those that answers may call, and those that need no asking. */
  tools?: string[];
  tools_always?: string[];
  snippet?: string;
}
/** What an answer would have taken on the simulated chip. */
export interface Sim {
  device: string;
  chips: number;
  ttft_ms: number | null;
  tpot_ms: number | null;
  joules: number;
  tokens_per_joule: number | null;
  assumed: string[];
}
/** The simulated chip that a model runs on. */
export interface Device {
  name: string;
  title: string;
  chips: number;
  computes: string;
  clock: 'wall' | 'paced' | 'virtual';
  watts: number;
  memory_bytes: number;
}
/** A chip that an answer can be priced on; `assumed`: numbers of it that nobody has published. */
export interface Chip {
  name: string;
  title: string;
  computes: string;
  watts: number;
  memory_gb: number;
  assumed: number;
}
export interface ChipRun extends Chip {
  error?: string;
  ttft_ms: number;
  tpot_ms: number | null;
  joules: number;
  tokens_per_joule: number | null;
}
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  cached_tokens: number;
  tokens_per_second: number;
  context: number;
  sim?: Sim;
}
export interface FileInfo {
  id: string;
  name: string;
  type: string;
  size: number;
  /** The address of the page that it is. */
  source?: string;
  /** Bytes of it that the model was shown, where that is not all. */
  kept?: number;
}
export interface Page extends FileInfo {
  url: string;
  cut: boolean;
}
export type CallState =
  | 'asked'
  | 'allowed'
  | 'running'
  | 'done'
  | 'failed'
  | 'refused'
  | 'stopped';
/** A tool that an answer calls. */
export interface Call {
  id: string;
  tool: string;
  server: string;
  name: string;
  title: string;
  /** JSON, as the model wrote it. */
  arguments: string;
  /** Bytes of the answer's content before it. */
  at: number;
  round: number;
  state: CallState;
  result?: string;
  /** Of the whole result, of which `result` may be a part. */
  bytes?: number;
  /** Bytes of the result that the model reads, where that is not all. */
  kept?: number;
  images?: { type: string; data: string }[];
}
export interface Tool {
  id: string;
  name: string;
  title: string;
  description: string;
}
export interface ToolServer {
  name: string;
  state: 'starting' | 'ready' | 'failed';
  error?: string;
  tools: Tool[];
}
export type Status = 'running' | 'done' | 'stopped' | 'error';
export interface Message {
  id: string;
  parent: string | null;
  role: 'user' | 'assistant' | 'system';
  content: string;
  reasoning: string | null;
  model: string | null;
  created: number;
  status: Status;
  error?: string | { message?: string } | null;
  usage: Usage | null;
  files: FileInfo[];
  calls?: Call[];
}
export interface Folder {
  id: string;
  name: string;
  instructions: string;
  /** What all its chats are given. */
  files?: FileInfo[];
}
export interface Model {
  id: string;
  name: string;
  context: number;
  /** Its template shows tools to it. */
  tools?: boolean;
  /** It has a projector: it sees pictures. */
  pictures?: boolean;
  device?: Device | null;
}
export interface User {
  id: string;
  name: string;
  role: 'admin' | 'user';
}
export interface Me {
  user: User;
  accounts: boolean;
  user_keys: boolean;
  version: string;
  models: Model[];
  default_model: string;
  /** Web pages can be fetched. */
  pages?: boolean;
}
export interface Options {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repeat_penalty?: number;
  seed?: number;
  max_tokens?: number;
  reasoning_effort?: string;
  json_schema?: object;
  tool_choice?: string;
}
export interface Memory {
  id: string;
  text: string;
}
export interface Prompt {
  id: string;
  name: string;
  text: string;
}
export interface Settings {
  language?: 'ko' | 'en';
  theme?: 'auto' | 'light' | 'dark';
  size?: 'small' | 'normal' | 'large';
  instructions?: string;
  memory?: Memory[];
  prompts?: Prompt[];
  sampling?: Options;
  send_key?: 'enter' | 'ctrl-enter';
  stream?: boolean;
  quiet_line?: boolean;
  open_reasoning?: boolean;
}
/** What readers said to a shared chat. */
export interface ShareNote {
  id: string;
  name: string;
  text: string;
  /** The phrase it is about, in a message; "": the whole chat. */
  message: string;
  quote: string;
  nth: number;
  created: number;
  likes: number;
  liked: boolean;
  own: boolean;
}
export interface Said {
  likes: number;
  liked: boolean;
  comments: boolean;
  notes: ShareNote[];
}
export interface Shared extends Said {
  title: string;
  messages: Message[];
  created: number;
  expires?: number;
}
export interface ShareLink {
  token: string;
  title: string;
  created: number;
  expires: number;
  likes: number;
  comments: boolean;
}
/** What the owner of a chat sees of its links. */
export interface Shares {
  shares: ShareLink[];
  notes: ShareNote[];
}
/** A chat from elsewhere; messages in an order where parents come first. */
export interface Incoming {
  source: string;
  title?: string;
  created?: number;
  updated?: number;
  pinned?: boolean;
  archived?: boolean;
  folder?: string;
  model?: string;
  head?: string | null;
  messages: IncomingMessage[];
}
export interface IncomingMessage {
  id: string;
  parent: string | null;
  role: 'user' | 'assistant' | 'system';
  content: string;
  reasoning?: string;
  model?: string;
  created?: number;
  files?: string[];
}

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    /** What the server calls it: `wrong_login`. */
    readonly code = '',
    /** Seconds after which it may be tried again. */
    readonly retry = 0,
  ) {
    super(message);
  }
}

const BASE = '/api/v1';
export const path = (...parts: string[]): string =>
  BASE + parts.map((p) => `/${encodeURIComponent(p)}`).join('');

export async function request<T>(
  method: string,
  url: string,
  body?: unknown,
  type?: string,
  keepalive?: boolean,
): Promise<T> {
  const write = method !== 'GET';
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      credentials: 'same-origin',
      keepalive,
      headers: write ? { 'Content-Type': type ?? 'application/json' } : {},
      body: type ? (body as string) : write ? JSON.stringify(body ?? {}) : undefined,
    });
  } catch {
    throw new ApiError(t('err_network'), 0);
  }
  const text = await response.text();
  let data: unknown = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    /* not JSON: a proxy's page, told by its status below */
  }
  if (!response.ok) {
    const error = (data as { error?: string | { message?: string; code?: string } } | null)?.error;
    const about = typeof error === 'string' ? { message: error } : error;
    throw new ApiError(
      t('err_server', { why: about?.message ?? String(response.status) }),
      response.status,
      about?.code ?? '',
      Number(response.headers.get('Retry-After')) || 0,
    );
  }
  return data as T;
}

const get = <T>(url: string) => request<T>('GET', url);
const post = <T>(url: string, body?: unknown) => request<T>('POST', url, body);
const patch = <T>(url: string, body: unknown) => request<T>('PATCH', url, body);
const del = <T>(url: string) => request<T>('DELETE', url);

export interface ChatQuery {
  q?: string;
  folder?: string;
  archived?: boolean;
  before?: number;
  limit?: number;
}
export interface NewMessage {
  parent: string | null;
  content: string;
  files?: string[];
  model?: string;
  options?: Options;
}

function queryOf(query: ChatQuery): string {
  const params = new URLSearchParams();
  if (query.q) params.set('q', query.q);
  if (query.folder) params.set('folder', query.folder);
  if (query.archived) params.set('archived', '1');
  if (query.before) params.set('before', String(query.before));
  if (query.limit) params.set('limit', String(query.limit));
  return params.size ? `?${params}` : '';
}

export const api = {
  session: () =>
    get<{ accounts: boolean; user: User | null; empty: boolean }>(path('session')),
  me: () => get<Me>(path('me')),
  chips: () => get<{ chips: Chip[]; numerics: string }>(path('chips')),
  compare: (run: {
    chips: string[];
    model?: string;
    prompt_tokens: number;
    cached_tokens: number;
    completion_tokens: number;
  }) => post<{ chips: ChipRun[] }>(path('compare'), run),
  chats: (query: ChatQuery) =>
    get<{ chats: Chat[]; more: boolean }>(path('chats') + queryOf(query)),
  newChat: (chat: { model?: string; folder?: string; temporary?: boolean }) =>
    post<Chat>(path('chats'), chat),
  chat: (id: string) =>
    get<{ chat: Chat; messages: Message[]; head: string | null }>(path('chats', id)),
  editChat: (id: string, change: Partial<Chat> & { head?: string }) =>
    patch<Chat>(path('chats', id), change),
  deleteChat: (id: string) => del<{ deleted: boolean }>(path('chats', id)),
  restoreChat: (id: string) => post<Chat>(path('chats', id, 'restore')),
  send: (id: string, message: NewMessage) =>
    post<{ user: Message; answer: Message }>(path('chats', id, 'messages'), message),
  regenerate: (id: string, mid: string, how: { model?: string; options?: Options }) =>
    post<Message>(path('chats', id, 'messages', mid, 'regenerate'), how),
  goOn: (id: string, mid: string) => post<Message>(path('chats', id, 'messages', mid, 'continue')),
  stop: (id: string, mid: string) => post<Message>(path('chats', id, 'messages', mid, 'stop')),
  editMessage: (id: string, mid: string, content: string) =>
    patch<Message>(path('chats', id, 'messages', mid), { content }),
  deleteMessage: (id: string, mid: string) => del<unknown>(path('chats', id, 'messages', mid)),
  folders: async () => {
    const data = await get<Folder[] | { folders: Folder[] }>(path('folders'));
    return Array.isArray(data) ? data : data.folders;
  },
  newFolder: (folder: Omit<Folder, 'id'>) => post<Folder>(path('folders'), folder),
  editFolder: (id: string, change: Partial<Folder>) => patch<Folder>(path('folders', id), change),
  deleteFolder: (id: string) => del<unknown>(path('folders', id)),
  addFolderFile: (id: string, file: string) =>
    post<Folder>(path('folders', id, 'files'), { file }),
  dropFolderFile: (id: string, file: string) => del<Folder>(path('folders', id, 'files', file)),
  settings: () => get<Settings>(path('settings')),
  /** last: the page is being left. */
  saveSettings: (settings: Settings, last = false) =>
    request<Settings>('PUT', path('settings'), settings, undefined, last),
  upload: (name: string, text: string, type = 'text/plain; charset=utf-8') =>
    request<FileInfo>(
      'POST',
      `${path('files')}?name=${encodeURIComponent(name)}`,
      text,
      type,
    ),
  page: (url: string) => post<Page>(path('pages'), { url }),
  tools: () => get<{ pages: boolean; servers: ToolServer[] }>(path('tools')),
  decide: (id: string, mid: string, cid: string, allow: string, options: Options) =>
    post<Message>(path('chats', id, 'messages', mid, 'calls', cid), { allow, options }),
  previewUrl: (id: string, as: 'html' | 'svg') => `${path('files', id)}?as=${as}`,
  fileUrl: (id: string) => path('files', id),
  fileText: async (id: string): Promise<string> => (await fetch(path('files', id))).text(),
  share: (id: string, days: number) =>
    post<{ token: string; expires: number }>(path('chats', id, 'share'), { days }),
  unshare: (id: string) => del<unknown>(path('chats', id, 'share')),
  shared: (token: string) => get<Shared>(path('shared', token)),
  shares: (id: string) => get<Shares>(path('chats', id, 'share')),
  letNotes: (id: string, comments: boolean) =>
    patch<Shares>(path('chats', id, 'share'), { comments }),
  deleteNote: (id: string, note: string) => del<unknown>(path('chats', id, 'share', 'notes', note)),
  likeShared: (token: string, on: boolean, note?: string) =>
    post<Said>(path('shared', token, 'like'), { on, note }),
  addNote: (
    token: string,
    note: { text: string; name?: string; message?: string; quote?: string; nth?: number },
  ) => post<Said>(path('shared', token, 'notes'), note),
  dropNote: (token: string, note: string) => del<unknown>(path('shared', token, 'notes', note)),
  importChat: (chat: Incoming) => post<{ known: boolean; chat: Chat }>(path('import'), chat),
  copyShared: (token: string) => post<Chat>(path('shared', token, 'copy')),
  exportUrl: (id: string, as: 'markdown' | 'json') => `${path('chats', id, 'export')}?as=${as}`,
};
