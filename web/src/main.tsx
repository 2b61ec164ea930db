// SPDX-License-Identifier: MIT
// Begins: events first, so that nothing falls between them and what is read; then the page.
import { effect } from '@preact/signals';
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { Screen, starter } from './components/chat';
import { dialog, Dialogs } from './components/dialogs';
import { lazy } from './components/lazy';
import { fold, Sidebar } from './components/sidebar';
import { Said, Toasts } from './components/ui';
import { connect } from './events';
import { lang, t } from './i18n';
import { drawer, folded, go, listenRoute, route } from './route';
import { api } from './api';
import { applyLook, fail, gate, loadAll, loadChats, me, settings } from './store';
import { onChat, onDeleted, onDelta, onMessage, refresh, stop, view } from './view';
import './styles/tokens.css';
import './styles/base.css';
import './styles/side.css';
import './styles/thread.css';
import './styles/prose.css';
import './styles/compose.css';
import './styles/dialog.css';

const Shared = lazy(() => import('./components/shared').then((m) => m.Shared));
const PrintPage = lazy(() => import('./components/print').then((m) => m.PrintPage));
const Login = lazy(() => import('./components/login').then((m) => m.Login));
const Join = lazy(() => import('./components/login').then((m) => m.Join));
const Bench = lazy(() => import('./components/bench').then((m) => m.Bench));
const Compare = lazy(() => import('./components/compare').then((m) => m.Compare));
const Admin = lazy(() => import('./components/admin').then((m) => m.Admin));

/** A page by itself, without the list. */
function Alone({ children }: { children: preact.ComponentChildren }) {
  return (
    <div class="app alone">
      {children}
      <Dialogs />
      <Toasts />
      <Said />
    </div>
  );
}

function App() {
  useEffect(() => {
    document.documentElement.lang = lang.value;
  }, [lang.value]);
  const now = route.value;
  if (now.name === 'shared')
    return (
      <Alone>
        <Shared token={now.token} />
      </Alone>
    );
  if (now.name === 'print' && gate.value === 'open')
    return (
      <Alone>
        <PrintPage id={now.id} />
      </Alone>
    );
  if (now.name === 'join')
    return (
      <Alone>
        <Join token={now.token} />
      </Alone>
    );
  if (gate.value !== 'open')
    return (
      <Alone>
        <Login empty={gate.value === 'empty'} />
      </Alone>
    );
  const page = ['admin', 'bench', 'compare'].includes(now.name);
  return (
    <div class={folded.value ? 'app folded' : 'app'}>
      <a
        class="skip"
        href={page ? '#page' : '#say'}
        onClick={(e) => {
          e.preventDefault();
          focusField();
        }}
      >
        {t(page ? 'skipPage' : 'skip')}
      </a>
      <Sidebar />
      {now.name === 'admin' ? (
        <Admin tab={now.tab} />
      ) : now.name === 'bench' ? (
        <Bench ids={now.ids} />
      ) : now.name === 'compare' ? (
        <Compare />
      ) : (
        <Screen />
      )}
      <Dialogs />
      <Toasts />
      <Said />
    </div>
  );
}

function focusField(): void {
  document.querySelector<HTMLElement>('#say, #page')?.focus();
}
function focusFind(): void {
  if (folded.peek()) fold();
  if (matchMedia('(max-width: 780px)').matches) drawer.value = true;
  requestAnimationFrame(() => document.querySelector<HTMLElement>('#find')?.focus());
}

function onKey(e: KeyboardEvent): void {
  if (e.isComposing || e.keyCode === 229 || dialog.peek()) return;
  const typing = (e.target as Element | null)?.closest?.(
    'input, textarea, select, [contenteditable]',
  );
  const ctrl = e.ctrlKey || e.metaKey;
  const code = e.code;
  if (ctrl && e.shiftKey && code === 'KeyO') go({ name: 'new' });
  else if (ctrl && !e.shiftKey && code === 'KeyK') focusFind();
  else if (ctrl && !e.shiftKey && code === 'KeyB') fold();
  else if (e.altKey && !ctrl && /^Digit[1-4]$/.test(code) && starter(Number(code.slice(5)) - 1))
    void 0;
  else if (e.key === 'Escape' && view.peek()?.running()) void stop();
  else if (!typing && !ctrl && e.key === '/') focusField();
  else if (!typing && !ctrl && e.key === '?') dialog.value = { name: 'keys' };
  else return;
  e.preventDefault();
}

settings.value = {
  theme: (localStorage.getItem('damso.theme') as 'auto' | null) ?? 'auto',
  size: (localStorage.getItem('damso.size') as 'normal' | null) ?? 'normal',
};
applyLook();
listenRoute();
document.addEventListener('keydown', onKey);
render(<App />, document.getElementById('app')!);

let begun = false;
async function begin(): Promise<void> {
  // A reader may have no account here, and who comes by a link has none yet.
  if (begun || route.value.name === 'shared' || route.value.name === 'join') return;
  begun = true;
  const session = await api.session().catch(() => null); // offline: the events will say so
  if (session?.accounts && !session.user) {
    gate.value = session.empty ? 'empty' : 'login';
    return;
  }
  connect({
    delta: onDelta,
    message: onMessage,
    chat: onChat,
    deleted: onDeleted,
    onReset() {
      void loadChats();
      refresh();
    },
    onRefused() {
      if (me.peek()?.accounts && gate.peek() === 'open')
        api.session().then((s) => s.user || (gate.value = 'login'), () => null);
    },
  });
  loadAll().catch(fail);
}
effect(() => void begin());
// The first visit has enough to load: the shell is kept once the page is at rest.
if (import.meta.env.PROD && 'serviceWorker' in navigator && isSecureContext)
  window.addEventListener('load', () =>
    setTimeout(() => void navigator.serviceWorker.register('/sw.js').catch(console.warn), 3000),
  );
