// SPDX-License-Identifier: MIT
// The typed client of logging in, one's account and /api/v1/admin; loads with their pages.
import { ApiError, path, request, type User } from './api';
import { people, tp, type PeopleKey } from './i18n/people';
import { fail, tell } from './store';

export interface Session {
  id: string;
  created: number;
  used: number;
  expires: number;
  agent: string;
  address: string;
  here: boolean;
}
export interface Key {
  id: string;
  name: string;
  scopes: string;
  created: number;
  expires: number;
  revoked: number;
  used: number;
  requests_minute: number;
  tokens_minute: number;
  n_concurrent: number;
  user: string | null;
  /** Only in the answer that makes it. */
  key?: string;
}
export interface Limits {
  requests_minute: number;
  tokens_minute: number;
  n_concurrent: number;
}
export interface Account extends User, Limits {
  created: number;
  sessions: Session[];
  keys: Key[];
  user_keys: boolean;
}
export interface Person extends User, Limits {
  created: number;
  seen: number;
  disabled: number;
  password: boolean;
}
export interface Invitation {
  id: string;
  kind: 'invitation' | 'password';
  role: 'admin' | 'user';
  note: string;
  uses_left: number;
  created: number;
  expires: number;
  /** Only in the answer that makes it. */
  token?: string;
}
export interface LiveModel {
  id: string;
  state: 'open' | 'opening' | 'closed' | 'broken';
  format: string;
  bytes: number;
  context: number;
  error?: string;
  in_use?: boolean;
  memory?: { weights: number; context: number; work: number };
  load?: {
    running: number;
    queued: number;
    pages: number;
    pages_free: number;
    answer_tokens: number;
  };
}
export interface Offer {
  name: string;
  title: string;
  ko: string;
  en: string;
  licence: string;
  gb: number;
  memory_gib: number;
}
export interface Live {
  now: number;
  started: number;
  parallel: number;
  resident: number;
  memory: number;
  available: number;
  connections: number;
  models: LiveModel[];
  pulls: { name: string; bytes: number; total: number }[];
  loads: boolean;
  offers?: Offer[];
}
export interface UsageRow {
  day: number;
  owner: string;
  name: string;
  model: string;
  requests: number;
  prompt_tokens: number;
  answer_tokens: number;
}

const get = <T>(...at: string[]) => request<T>('GET', path(...at));
const post = <T>(body: unknown, ...at: string[]) => request<T>('POST', path(...at), body);
const del = <T>(...at: string[]) => request<T>('DELETE', path(...at));

export interface NewKey {
  name: string;
  days: number;
  scopes?: string;
}
export const account = {
  login: (name: string, password: string) =>
    post<{ user: User }>({ name, password }, 'login'),
  logout: () => post<unknown>({}, 'logout'),
  look: (token: string) =>
    post<{ kind: 'invitation' | 'password'; role: string; name: string; expires: number }>(
      { token },
      'invitation',
    ),
  join: (token: string, password: string, name?: string) =>
    post<{ user: User }>({ token, password, name }, 'join'),
  read: () => get<Account>('account'),
  rename: (name: string) => request<Account>('PATCH', path('account'), { name }),
  password: (old: string, fresh: string) =>
    post<Account>({ old, new: fresh }, 'account', 'password'),
  endSession: (id: string) => del<Account>('account', 'sessions', id),
  endOthers: () => del<Account>('account', 'sessions'),
  newKey: (key: NewKey) => post<Key>(key, 'account', 'keys'),
  endKey: (id: string) => del<unknown>('account', 'keys', id),
};
export const admin = {
  live: (offers = false) =>
    request<Live>('GET', `${path('admin', 'live')}${offers ? '?offers=1' : ''}`),
  usage: (days: number) =>
    request<{ from: number; to: number; rows: UsageRow[] }>(
      'GET',
      `${path('admin', 'usage')}?days=${days}`,
    ),
  load: (model: string) => post<LiveModel>({ model }, 'admin', 'models', 'load'),
  unload: (model: string) => post<unknown>({ model }, 'admin', 'models', 'unload'),
  keys: async () => (await get<{ keys: Key[] }>('admin', 'keys')).keys,
  newKey: (key: NewKey) => post<Key>(key, 'admin', 'keys'),
  endKey: (id: string) => del<unknown>('admin', 'keys', id),
  users: async () => (await get<{ users: Person[] }>('admin', 'users')).users,
  setUser: (id: string, change: Partial<Limits> & { role?: string; disabled?: boolean }) =>
    request<Person>('PATCH', path('admin', 'users', id), change),
  reset: (id: string) => post<Invitation>({}, 'admin', 'users', id, 'reset'),
  invitations: async () =>
    (await get<{ invitations: Invitation[] }>('admin', 'invitations')).invitations,
  invite: (how: { role: string; note: string; hours: number; uses: number }) =>
    post<Invitation>(how, 'admin', 'invitations'),
  uninvite: (id: string) => del<unknown>('admin', 'invitations', id),
};

/** What went wrong, for people. */
export function why(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  if (error.code in people.ko) return tp(error.code as PeopleKey);
  return error.message;
}
export function sorry(error: unknown): void {
  if (error instanceof ApiError && error.code in people.ko) tell(why(error));
  else fail(error);
}

/** Everything anew, as who is logged in now: one navigation, and nothing drawn before it. */
export function enter(): void {
  location.assign('/');
}
export async function leave(): Promise<void> {
  try {
    await account.logout();
    enter();
  } catch (error) {
    sorry(error);
  }
}

export const inviteUrl = (token: string): string =>
  new URL(`/#/join/${token}`, location.href).href;
