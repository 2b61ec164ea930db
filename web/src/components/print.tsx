// SPDX-License-Identifier: MIT
// A chat for paper: what is shown of it, all of it painted, in light colours; then the browser's own
// dialogue opens. Nothing is asked of anywhere else.
import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api } from '../api';
import { day, t } from '../i18n';
import { ts } from '../i18n/share';
import { href } from '../route';
import { titleOf } from '../store';
import { Tree } from '../tree';
import { view, type Cell } from '../view';
import { Missing } from './chat';
import { Icon, Jar } from './icon';
import { Turn } from './turn';
import '../styles/print.css';

interface Paper {
  title: string;
  created: number;
  cells: Cell[];
}

async function read(id: string): Promise<Paper> {
  const open = view.peek();
  if (open?.id === id && open.state.peek() === 'ready')
    return { title: titleOf(open.chat.peek()), created: open.chat.peek().created, cells: open.path() };
  const { chat, messages, head } = await api.chat(id);
  const cells = messages.map((m) => ({
    id: m.id,
    parent: m.parent,
    created: m.created,
    size: 0,
    thought: 0,
    message: signal(m),
  }));
  const last = head ?? cells.at(-1)?.id ?? null;
  return { title: titleOf(chat), created: chat.created, cells: new Tree<Cell>(cells).path(last) };
}

/** Resolves when nothing in the page has changed for a while: code is coloured, formulas are set. */
function settled(root: HTMLElement, quiet = 300, most = 8000): Promise<void> {
  return new Promise((resolve) => {
    let timer = window.setTimeout(end, quiet);
    const late = window.setTimeout(end, most);
    const watch = new MutationObserver(() => {
      clearTimeout(timer);
      timer = window.setTimeout(end, quiet);
    });
    watch.observe(root, { childList: true, subtree: true, characterData: true });
    function end(): void {
      clearTimeout(timer);
      clearTimeout(late);
      watch.disconnect();
      void document.fonts.ready.then(() => resolve());
    }
  });
}

export function PrintPage({ id }: { id: string }) {
  const [paper, setPaper] = useState<Paper | 'gone' | null>(null);
  const [ready, setReady] = useState(false);
  const page = useRef<HTMLDivElement>(null);
  useEffect(() => {
    read(id).then(setPaper, () => setPaper('gone'));
  }, [id]);
  useEffect(() => {
    if (!paper || paper === 'gone') return;
    document.title = paper.title; // the name of a PDF
    void settled(page.current!).then(() => {
      setReady(true);
      requestAnimationFrame(() => print());
    });
  }, [paper]);
  if (paper === 'gone') return <Missing text={t('notFound')} />;
  return (
    <main class="screen printing">
      <div class="bar">
        <a class="b sm" href={href({ name: 'chat', id })}>
          <Icon name="left" small />
          {ts('printBack')}
        </a>
        <span class="note" role="status">
          {ready ? '' : ts('printBusy')}
        </span>
        <button type="button" class="b main sm" disabled={!ready} onClick={() => print()}>
          <Icon name="print" small />
          {ts('print')}
        </button>
      </div>
      <div class="scroll" tabIndex={0}>
        <div class="paper" ref={page}>
          {paper && (
            <>
              <header>
                <h1 class="big" dir="auto">
                  {paper.title}
                </h1>
                <p class="by">
                  <span class="num">{day(paper.created)}</span>
                </p>
              </header>
              <div class="thread">
                {paper.cells.map((cell) => (
                  <Turn key={cell.id} cell={cell} latest={false} eager readOnly />
                ))}
              </div>
              <footer>
                <Jar />
                {ts('printOf', { date: new Date().toLocaleDateString(document.documentElement.lang) })}
              </footer>
            </>
          )}
        </div>
      </div>
    </main>
  );
}
