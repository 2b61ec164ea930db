// SPDX-License-Identifier: MIT
// Formulas as MathML by Temml, loaded with the first one. MathML needs no inline styles, which the
// Content-Security-Policy forbids.
import { sanitizeMath } from './sanitize';

interface Temml {
  renderToString(tex: string, options: object): string;
}
let temml: Temml | undefined;
let loading: Promise<void> | undefined;
const cache = new Map<string, Node>();
const CACHE_MAX = 500;
const TEX_MAX = 4000;

export function loadMath(): Promise<void> {
  loading ??= import('temml').then((m) => {
    temml = (m as unknown as { default: Temml }).default;
  });
  return loading;
}

/** The formula's element; null while Temml loads, or when it is no formula. */
export function formula(tex: string, block: boolean): Node | null {
  if (!temml || tex.length > TEX_MAX) return null;
  const key = (block ? 'b' : 'i') + tex;
  let node = cache.get(key);
  if (!node) {
    try {
      const html = temml.renderToString(tex, {
        displayMode: block,
        throwOnError: true,
        trust: false,
        maxExpand: 200,
        maxSize: [20, 20],
      });
      // Styles would be blocked by the policy anyway, with a report for each.
      node = sanitizeMath(html.replace(/ style="[^"]*"/g, ''));
    } catch {
      return null; // shown as it was written
    }
    if (cache.size >= CACHE_MAX) cache.delete(cache.keys().next().value!);
    cache.set(key, node);
  }
  return node.cloneNode(true);
}
