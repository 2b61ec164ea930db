// SPDX-License-Identifier: MIT
// Phrases of a text in the page: what was selected becomes words that can be found again, and they
// are underlined. White space does not count: a phrase may go over lines, items and cells.

export interface Anchor {
  /** The words as they were selected. */
  quote: string;
  /** Which of those that are alike, from 0. */
  nth: number;
}

export const bare = (text: string): string => text.replace(/\s+/gu, '');

/** All places of `what` in `text`; both bare. They do not overlap. */
export function places(text: string, what: string): number[] {
  const out: number[] = [];
  if (!what) return out;
  for (let at = text.indexOf(what); at >= 0; at = text.indexOf(what, at + what.length)) out.push(at);
  return out;
}

/** Which of the alike phrases begins at, or is nearest to, the bare offset. */
export function nthAt(text: string, what: string, offset: number): number {
  const all = places(text, what);
  let best = 0;
  all.forEach((at, i) => {
    if (Math.abs(at - offset) < Math.abs(all[best]! - offset)) best = i;
  });
  return best;
}

const HTML = 'http://www.w3.org/1999/xhtml';
const NOT_TEXT = '.ref, .copy-code, figcaption, .caret, button';

function textNodes(root: Element): Text[] {
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const out: Text[] = [];
  for (let node = walk.nextNode() as Text | null; node; node = walk.nextNode() as Text | null)
    if (!node.parentElement?.closest(NOT_TEXT)) out.push(node);
  return out;
}

/** The selection as an anchor in `root`; null where it is empty or reaches out of it. */
export function anchorOf(range: Range, root: Element): Anchor | null {
  if (!root.contains(range.commonAncestorContainer)) return null;
  let text = '';
  let before = -1;
  let quote = '';
  for (const node of textNodes(root)) {
    if (range.intersectsNode(node)) {
      const from = node === range.startContainer ? range.startOffset : 0;
      const to = node === range.endContainer ? range.endOffset : node.length;
      if (before < 0) before = text.length + bare(node.data.slice(0, from)).length;
      quote += node.data.slice(from, to);
    } else if (quote) quote += ' ';
    text += bare(node.data);
  }
  const shown = range.toString().replace(/\s+/gu, ' ').trim();
  const what = bare(quote);
  return what ? { quote: shown, nth: nthAt(text, what, before) } : null;
}

/** The pieces of text nodes that hold the phrase, in order; empty where it is not found. */
export function findAnchor(root: Element, anchor: Anchor): [Text, number, number][] {
  const nodes = textNodes(root);
  const what = bare(anchor.quote);
  const all = places(nodes.map((n) => bare(n.data)).join(''), what);
  const begin = all[Math.min(anchor.nth, all.length - 1)];
  if (begin === undefined) return [];
  const end = begin + what.length;
  const out: [Text, number, number][] = [];
  let at = 0;
  for (const node of nodes) {
    let from = -1;
    let to = -1;
    for (let i = 0; i < node.length; i++) {
      if (/\s/u.test(node.data[i]!)) continue;
      if (at >= begin && at < end) {
        if (from < 0) from = i;
        to = i + 1;
      }
      at++;
    }
    if (from >= 0) out.push([node, from, to]);
    if (at >= end) break;
  }
  return out;
}

/** Underlines the phrase; `last` gets the number. Returns the first piece, or null. */
export function underline(root: Element, anchor: Anchor, last: Element, id: string): Element | null {
  const pieces = findAnchor(root, anchor);
  let first: Element | null = null;
  let end: Element | null = null;
  for (const [node, from, to] of pieces) {
    if (node.parentElement?.namespaceURI !== HTML) continue; // MathML has no place for a mark
    const piece = node.splitText(from);
    piece.splitText(to - from);
    const mark = Object.assign(document.createElement('mark'), { className: 'marked' });
    mark.dataset.note = id;
    piece.replaceWith(mark);
    mark.append(piece);
    first ??= mark;
    end = mark;
  }
  end?.after(last);
  return first;
}

/** Takes all underlines away. */
export function plainAgain(root: Element): void {
  for (const ref of root.querySelectorAll('.ref')) ref.remove();
  for (const mark of root.querySelectorAll('mark.marked')) {
    const parent = mark.parentNode!;
    mark.replaceWith(...mark.childNodes);
    parent.normalize();
  }
}
