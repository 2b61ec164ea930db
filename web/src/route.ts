// SPDX-License-Identifier: MIT
// Addresses are in the fragment: one page for the server, and a shared chat's token is not sent
// along when a link in it is followed.
import { signal } from '@preact/signals';

export type Route =
  | { name: 'new' }
  | { name: 'chat'; id: string }
  | { name: 'shared'; token: string }
  | { name: 'join'; token: string }
  | { name: 'admin'; tab: string };

function parse(hash: string): Route {
  const [, name, arg] = hash.split('/');
  try {
    if (name === 'chat' && arg) return { name, id: decodeURIComponent(arg) };
    if ((name === 'shared' || name === 'join') && arg)
      return { name, token: decodeURIComponent(arg) };
    if (name === 'admin') return { name, tab: arg ?? '' };
  } catch {
    /* a broken escape leads to the start */
  }
  return { name: 'new' };
}

export function href(to: Route): string {
  if (to.name === 'chat') return `#/chat/${encodeURIComponent(to.id)}`;
  if (to.name === 'shared' || to.name === 'join')
    return `#/${to.name}/${encodeURIComponent(to.token)}`;
  if (to.name === 'admin') return to.tab ? `#/admin/${to.tab}` : '#/admin';
  return '#/';
}

export const route = signal<Route>(parse(globalThis.location?.hash ?? ''));
/** The list as a drawer (phones), and folded away (desktops). */
export const drawer = signal(false);
export const folded = signal(globalThis.localStorage?.getItem('damso.folded') === '1');

export function go(to: Route, replace = false): void {
  const url = href(to);
  if (location.hash === url) return;
  if (replace) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  read();
}
function read(): void {
  route.value = parse(location.hash);
  drawer.value = false;
}
export function listenRoute(): void {
  window.addEventListener('hashchange', read);
  window.addEventListener('popstate', read);
}
