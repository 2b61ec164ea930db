// SPDX-License-Identifier: MIT
// Markdown (GFM) with formulas, as blocks. HTML in a model's text is shown as the text it is, save
// for a few tags without attributes; images are links until they are opened.
import { Marked, type Token, type Tokens, type TokensList } from 'marked';

const PLAIN_TAG = /^<\/?(br|sub|sup|kbd|u|mark)\s*\/?>$/i;

export const escapeHtml = (s: string): string =>
  s.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const mathHtml = (tex: string, block: boolean): string =>
  block
    ? `<p class="math block">${escapeHtml(tex)}</p>`
    : `<span class="math">${escapeHtml(tex)}</span>`;

interface MathToken extends Tokens.Generic {
  text: string;
}
const BLOCK_MATH = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n+|$)/;
// $5 and $6 are prices: no blank inside the dollars, no digit after them.
const INLINE_MATH =
  /^(?:\$\$([^$\n]+?)\$\$|\$(?!\s)((?:\\.|[^$\\\n])+?)(?<!\s)\$(?![\d\w])|\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\])/;

const found = (at: number): number | undefined => (at < 0 ? undefined : at);
// A paragraph is cut only where a whole formula stands on lines of its own.
const BLOCK_START = /\n {0,3}(?:\$\$[\s\S]+?\$\$|\\\[[\s\S]+?\\\])[ \t]*(?:\n|$)/;

// CommonMark's rule for where emphasis may end was made for words between blanks: of **‘해’**를 it
// makes none, since a mark stands between the word and its particle. Where a quote or a bracket is
// just inside the stars and a letter just outside, they are emphasis all the same.
const STRONG = /^\*\*(?![\s*])((?:\\.|`[^`\n]*`|[^*\\`\n])+?)(?<![\s\\])\*\*(?!\*)/u;
const EDGE = /^[\p{P}\p{S}]|[\p{P}\p{S}]$/u;

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [
    {
      name: 'mathBlock',
      level: 'block',
      start: (src) => found(src.search(BLOCK_START) + 1 || -1),
      tokenizer(src) {
        const m = BLOCK_MATH.exec(src);
        return m ? { type: 'mathBlock', raw: m[0], text: (m[1] ?? m[2] ?? '').trim() } : undefined;
      },
      renderer: (token) => mathHtml((token as MathToken).text, true),
    },
    {
      name: 'strongBesideMarks',
      level: 'inline',
      start: (src) => found(src.indexOf('**')),
      tokenizer(src) {
        const m = STRONG.exec(src);
        if (!m || !EDGE.test(m[1]!)) return undefined;
        return { type: 'strong', raw: m[0], text: m[1]!, tokens: this.lexer.inlineTokens(m[1]!) };
      },
    },
    {
      name: 'mathInline',
      level: 'inline',
      start: (src) => found(src.search(/\$|\\[([]/)),
      tokenizer(src) {
        const m = INLINE_MATH.exec(src);
        return m
          ? { type: 'mathInline', raw: m[0], text: (m[1] ?? m[2] ?? m[3] ?? m[4] ?? '').trim() }
          : undefined;
      },
      renderer: (token) => mathHtml((token as MathToken).text, false),
    },
  ],
  renderer: {
    html({ text }) {
      return PLAIN_TAG.test(text.trim()) ? text : escapeHtml(text);
    },
    code({ text, lang }) {
      const name = /^[\w+#.-]{1,40}/.exec(lang ?? '')?.[0];
      const css = name ? ` class="lang-${name}"` : '';
      return `<pre><code${css}>${escapeHtml(text)}</code></pre>`;
    },
    image({ href, text }) {
      if (/^data:image\//i.test(href))
        return `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}">`;
      return `<a class="pic" href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`;
    },
  },
});

export function lex(text: string): TokensList {
  return marked.lexer(text);
}

export function blockHtml(token: Token): string {
  return marked.parser([token]);
}
