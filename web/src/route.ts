// SPDX-License-Identifier: MIT
// Addresses: /c/ID, /shared/TOKEN, /settings, /compare, /admin, /bench are paths of the server,
// which answers all with one page. Links from before (#/chat/ID, #/shared/TOKEN) go on to lead where they led. A link to
// come in (#/join/TOKEN) stays in the fragment, which no log and no Referer has.
import { signal } from '@preact/signals';

export type Route =
  | { name: 'new' }
  | { name: 'chat'; id: string }
  | { name: 'print'; id: string }
  | { name: 'shared'; token: string }
  | { name: 'join'; token: string }
  | { name: 'compare' }
  | { name: 'admin'; tab: string }
  | { name: 'bench'; ids: string[] };
type Place = Route | { name: 'settings'; at: string };

export function parse(path: string, hash: string): Place {
  const parts = (hash.startsWith('#/') ? hash.slice(1) : path).split('/');
  try {
    const [, name, arg, more] = parts.map(decodeURIComponent);
    if ((name === 'c' || name === 'chat') && arg)
      return more === 'print' ? { name: 'print', id: arg } : { name: 'chat', id: arg };
    if ((name === 'shared' || name === 'join') && arg) return { name, token: arg };
    if (name === 'bench') return { name, ids: arg ? arg.split(',').filter(Boolean) : [] };
    if (name === 'compare') return { name };
    if (name === 'admin') return { name, tab: arg ?? '' };
    if (name === 'settings') return { name, at: arg ?? '' };
  } catch {
    /* a broken escape leads to the start */
  }
  return { name: 'new' };
}

export function href(to: Place): string {
  switch (to.name) {
    case 'chat':
      return `/c/${encodeURIComponent(to.id)}`;
    case 'print':
      return `/c/${encodeURIComponent(to.id)}/print`;
    case 'shared':
      return `/shared/${encodeURIComponent(to.token)}`;
    case 'join':
      return `/#/join/${encodeURIComponent(to.token)}`;
    case 'compare':
      return '/compare';
    case 'admin':
      return to.tab ? `/admin/${encodeURIComponent(to.tab)}` : '/admin';
    case 'bench':
      return to.ids.length ? `/bench/${to.ids.map(encodeURIComponent).join(',')}` : '/bench';
    case 'settings':
      return to.at ? `/settings/${encodeURIComponent(to.at)}` : '/settings';
    default:
      return '/';
  }
}

const here = (): Place =>
  parse(globalThis.location?.pathname ?? '/', globalThis.location?.hash ?? '');
const first = here();

export const route = signal<Route>(first.name === 'settings' ? { name: 'new' } : first);
/** The section of the settings that is open over the page; null: they are closed. */
export const settingsAt = signal<string | null>(first.name === 'settings' ? first.at : null);
/** The list as a drawer (phones), and folded away (desktops). */
export const drawer = signal(false);
export const folded = signal(globalThis.localStorage?.getItem('damso.folded') === '1');

export function go(to: Place, replace = false): void {
  const url = href(to);
  if (location.pathname + location.hash === url) return;
  if (replace) history.replaceState(history.state, '', url);
  else history.pushState(to.name === 'settings' ? { over: true } : null, '', url);
  read();
}
/** Back to what is under the settings. */
export function closeSettings(): void {
  if ((history.state as { over?: boolean } | null)?.over) history.back();
  else go(route.peek(), true);
}
function read(): void {
  const now = here();
  if (location.hash.startsWith('#/') && now.name !== 'join')
    history.replaceState(null, '', href(now));
  drawer.value = false;
  settingsAt.value = now.name === 'settings' ? now.at : null;
  if (now.name !== 'settings') route.value = now;
}

/** Links inside the app change the page without loading it again. */
function follow(e: MouseEvent): void {
  const link = (e.target as Element | null)?.closest?.('a');
  if (!link || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey)
    return;
  if (link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  const place = parse(link.pathname, link.hash);
  if (href(place) !== link.pathname + link.hash) return; // a file, or a place in the page
  e.preventDefault();
  go(place);
}
export function listenRoute(): void {
  window.addEventListener('hashchange', read);
  window.addEventListener('popstate', read);
  document.addEventListener('click', follow);
  read();
}
