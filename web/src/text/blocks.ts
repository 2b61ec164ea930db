// SPDX-License-Identifier: MIT
// A text that grows, as blocks: those before the last are settled and never read again while it
// grows, so that a long answer costs no more a token than a short one. When it has ended the whole
// is read once (a link's address may stand at the end); blocks that stay as they were are kept.
import type { Token } from 'marked';
import { lex } from './markdown';

export interface Block {
  raw: string;
  token: Token;
}

export class Blocks {
  private settled: Block[] = [];
  private upTo = 0;
  private seen = '';

  /** All blocks of `text`. While it grows, only what follows the settled blocks is read. */
  update(text: string, final: boolean): Block[] {
    if (final || !text.startsWith(this.seen.slice(0, this.upTo))) {
      this.settled = [];
      this.upTo = 0;
    }
    this.seen = text;
    const tokens = lex(text.slice(this.upTo).replace(/\r/g, ' ')).filter(
      (token) => token.type !== 'def' || !final,
    );
    if (final) return tokens.filter(visible).map(block);
    const before = [...this.settled];
    let keep = tokens.length - 1;
    while (keep > 0 && !visible(tokens[keep]!)) keep--;
    // A list may still take in what looks like a paragraph: "2" before "2. two" is whole.
    if (keep > 0 && tokens.slice(Math.max(0, keep - 2), keep).some((t) => t.type === 'list')) {
      while (keep > 0 && tokens[keep]!.type !== 'list') keep--;
    }
    for (const token of tokens.slice(0, keep)) {
      if (!text.startsWith(token.raw, this.upTo)) break; // read as other than it stands: not yet
      this.upTo += token.raw.length;
      if (visible(token)) this.settled.push(block(token));
    }
    return [...before, ...tokens.filter(visible).map(block)];
  }
}

const visible = (token: Token): boolean => token.type !== 'space' && token.type !== 'def';
const block = (token: Token): Block => ({ raw: token.raw, token });
