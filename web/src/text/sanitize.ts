// SPDX-License-Identifier: MIT
// The only doors through which text of a model becomes HTML: strict allow lists, no style, no id,
// no address but http, https and mailto.
import DOMPurify from 'dompurify';

const TAGS = [
  'p',
  'h1',
  'h2',
  'h3',
  'h4',
  'h5',
  'h6',
  'ul',
  'ol',
  'li',
  'blockquote',
  'table',
  'thead',
  'tbody',
  'tr',
  'th',
  'td',
  'pre',
  'code',
  'em',
  'strong',
  'del',
  'a',
  'hr',
  'br',
  'sub',
  'sup',
  'kbd',
  'u',
  'mark',
  'input',
  'span',
  'img',
];
const ATTRIBUTES = [
  'href',
  'title',
  'align',
  'start',
  'type',
  'checked',
  'disabled',
  'class',
  'src',
  'alt',
];
const CLASSES = /^(lang-[\w+#.-]{1,40}|math|math block|pic)$/;
const DATA_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,[a-z0-9+/=\s]+$/i;
const LINK = /^(?:https?:\/\/|mailto:)/i;

const prose = DOMPurify(window);
prose.addHook('afterSanitizeAttributes', (node) => {
  const name = node.nodeName.toLowerCase();
  const css = node.getAttribute('class');
  if (css !== null && !CLASSES.test(css)) node.removeAttribute('class');
  if (name === 'a') {
    if (!LINK.test(node.getAttribute('href') ?? '')) node.removeAttribute('href');
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer nofollow');
  } else node.removeAttribute('href');
  if (name === 'img' && !DATA_IMAGE.test(node.getAttribute('src') ?? '')) node.remove();
  if (name === 'input') {
    if (node.getAttribute('type') !== 'checkbox') node.remove();
    node.setAttribute('disabled', '');
  }
});

export function sanitizeProse(html: string): DocumentFragment {
  return prose.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}

const marks = DOMPurify(window);
marks.addHook('afterSanitizeAttributes', (node) => {
  if (!/^(hljs-[\w-]+ ?|[\w-]+_ ?)+$/.test(node.getAttribute('class') ?? ''))
    node.removeAttribute('class');
});
/** Highlighted code: spans with highlight.js' classes and nothing else. */
export function sanitizeCode(html: string): DocumentFragment {
  return marks.sanitize(html, {
    ALLOWED_TAGS: ['span'],
    ALLOWED_ATTR: ['class'],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}

const maths = DOMPurify(window);
/** Formulas: MathML without links, styles or actions. */
export function sanitizeMath(html: string): DocumentFragment {
  return maths.sanitize(html, {
    USE_PROFILES: { mathMl: true },
    FORBID_TAGS: ['maction', 'annotation', 'annotation-xml', 'semantics', 'style'],
    FORBID_ATTR: ['style', 'href', 'xlink:href', 'id', 'src', 'actiontype'],
    ALLOW_DATA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}
