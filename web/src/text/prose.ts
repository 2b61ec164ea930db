// SPDX-License-Identifier: MIT
// A text in the page: puts its blocks into an element and, while the text grows, touches only the
// blocks that changed. Painting takes at most a small share of the time, however fast it grows.
import { t } from '../i18n';
import { Blocks, type Block } from './blocks';
import { highlight, languageName } from './highlight';
import { blockHtml, escapeHtml } from './markdown';
import { formula, loadMath } from './math';
import { previewKind } from './preview';
import { sanitizeCode, sanitizeProse } from './sanitize';

interface Shown {
  raw: string;
  nodes: ChildNode[];
  code: Text | null;
}

export class Prose {
  private readonly blocks = new Blocks();
  private shown: Shown[] = [];
  private caret: HTMLElement | null = null;

  constructor(private readonly root: HTMLElement) {}

  update(text: string, final: boolean): void {
    const blocks = this.blocks.update(text, final);
    this.caret?.remove();
    let same = 0;
    while (same < blocks.length && this.shown[same]?.raw === blocks[same]!.raw) same++;
    if (!final && this.growCode(blocks, same)) same = blocks.length;
    for (const old of this.shown.splice(same)) for (const node of old.nodes) node.remove();
    for (const block of blocks.slice(same)) this.add(block, final || block !== blocks.at(-1));
    if (final) this.finish();
    else this.placeCaret();
  }

  /** Code that is being written: only its new text is added. */
  private growCode(blocks: Block[], same: number): boolean {
    const old = this.shown[same];
    const block = blocks[same];
    if (!old?.code || same !== blocks.length - 1 || block?.token.type !== 'code') return false;
    const text = (block.token as { text: string }).text;
    if (!text.startsWith(old.code.data) || !block.raw.startsWith(old.raw)) return false;
    old.code.appendData(text.slice(old.code.data.length));
    old.raw = block.raw;
    return true;
  }

  private add(block: Block, whole: boolean): void {
    // A formula that is being written: its TeX, set apart, until it is whole.
    const tex = whole ? null : /^ {0,3}(?:\$\$|\\\[)([\s\S]*)$/.exec(block.raw)?.[1];
    const html = tex ? `<pre>${escapeHtml(tex.trim())}</pre>` : blockHtml(block.token);
    const fragment = sanitizeProse(html);
    if (!tex) decorate(fragment);
    const code = fragment.querySelector('pre > code');
    const entry: Shown = {
      raw: block.raw,
      nodes: [...fragment.childNodes],
      code:
        block.token.type === 'code' && code?.firstChild instanceof Text ? code.firstChild : null,
    };
    this.root.append(fragment);
    this.shown.push(entry);
    if (whole) this.settle(entry);
  }

  private settle(entry: Shown): void {
    entry.code = null;
    for (const node of entry.nodes) if (node instanceof Element) colour(node);
  }

  private finish(): void {
    for (const entry of this.shown) if (entry.code) this.settle(entry);
  }

  private placeCaret(): void {
    this.caret ??= Object.assign(document.createElement('span'), { className: 'caret' });
    let at: Element = this.root;
    const inside = /^(UL|OL|LI|BLOCKQUOTE|DIV|FIGURE|PRE|TABLE|TBODY|TR)$/;
    while (at.lastElementChild && (at === this.root || inside.test(at.tagName))) {
      const next: Element = at.lastElementChild;
      if (
        /^(BR|HR|INPUT|A|STRONG|EM|SPAN|CODE)$/.test(next.tagName) &&
        next.parentElement !== this.root &&
        !(next.tagName === 'CODE' && at.tagName === 'PRE')
      )
        break;
      at = next;
    }
    at.append(this.caret);
  }
}

/** What Markdown's HTML lacks: frames for code and tables, formulas, names. */
function decorate(fragment: DocumentFragment): void {
  for (const pre of fragment.querySelectorAll('pre')) frameCode(pre);
  for (const table of fragment.querySelectorAll('table')) {
    const frame = Object.assign(document.createElement('div'), { className: 'tbl', tabIndex: 0 });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const box of fragment.querySelectorAll('li > input')) {
    box.setAttribute('aria-label', box.parentElement?.textContent?.trim().slice(0, 80) ?? '');
    box.parentElement?.classList.add('task');
  }
  for (const pic of fragment.querySelectorAll('a.pic')) {
    pic.setAttribute('title', t('imageBlocked'));
    pic.prepend(`${t('image')}: `);
  }
  const maths = fragment.querySelectorAll('.math');
  for (const node of maths) fillMath(node);
}

function fillMath(node: Element, again = true): void {
  const block = node.classList.contains('block');
  const made = formula(node.textContent ?? '', block);
  if (made) {
    node.replaceChildren(made);
    node.classList.add('made');
    if (block) (node as HTMLElement).tabIndex = 0;
  } else if (again) void loadMath().then(() => fillMath(node, false));
}

function frameCode(pre: HTMLPreElement): void {
  const lang = /lang-(\S+)/.exec(pre.firstElementChild?.className ?? '')?.[1] ?? '';
  const figure = Object.assign(document.createElement('figure'), { className: 'code' });
  const caption = document.createElement('figcaption');
  const copy = Object.assign(document.createElement('button'), {
    className: 'ib sm copy-code',
    type: 'button',
    title: t('copyCode'),
  });
  copy.setAttribute('aria-label', t('copyCode'));
  copy.append(icon('M7 7h9v9H7zM13 7V4H4v9h3'));
  caption.append(lang ? languageName(lang) : t('codeText'), copy);
  const kind = previewKind(lang, pre.textContent ?? '');
  if (kind) {
    const see = Object.assign(document.createElement('button'), {
      className: 'ib sm preview-code',
      type: 'button',
      title: t('preview'),
    });
    see.dataset.kind = kind;
    see.setAttribute('aria-label', t('preview'));
    see.setAttribute('aria-pressed', 'false');
    see.append(icon('M2.5 10c3-5.5 12-5.5 15 0-3 5.5-12 5.5-15 0zM10 7.8a2.2 2.2 0 1 1 0 4.4'));
    copy.before(see);
  }
  pre.tabIndex = 0;
  pre.replaceWith(figure);
  figure.append(caption, pre);
}

function icon(d: string): SVGElement {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  for (const [k, v] of Object.entries({
    class: 'i s',
    viewBox: '0 0 20 20',
    'aria-hidden': 'true',
  }))
    svg.setAttribute(k, v);
  const path = document.createElementNS(space, 'path');
  path.setAttribute('d', d);
  svg.append(path);
  return svg;
}

function colour(node: Element): void {
  const code = node.matches('figure.code') ? node.querySelector('code') : null;
  const lang = /lang-(\S+)/.exec(code?.className ?? '')?.[1];
  if (!code || !lang) {
    for (const inner of node.querySelectorAll('figure.code')) if (inner !== node) colour(inner);
    return;
  }
  const text = code.textContent ?? '';
  void highlight(text, lang).then((html) => {
    if (html !== null && code.textContent === text) code.replaceChildren(sanitizeCode(html));
  });
}

/** Paints a growing text at a bounded share of the time: the longer a paint takes, the rarer. */
export class Painter {
  private timer = 0;
  private last = 0;
  private cost = 2;

  constructor(private readonly paint: () => void) {}

  soon(): void {
    if (this.timer) return;
    const every = Math.min(250, Math.max(120, this.cost * 14));
    const wait = Math.max(0, every - (performance.now() - this.last));
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.now();
    }, wait);
  }
  now(): void {
    clearTimeout(this.timer);
    this.timer = 0;
    const began = performance.now();
    this.paint();
    this.last = performance.now();
    const script = this.last - began;
    // What the browser does of it counts too: from the frame's begin until it is handed over.
    requestAnimationFrame(() => {
      const frame = performance.now();
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        channel.port1.close();
        this.cost = this.cost * 0.7 + (script + performance.now() - frame) * 0.3;
      };
      channel.port2.postMessage(0);
    });
  }
  stop(): void {
    clearTimeout(this.timer);
    this.timer = 0;
  }
}
