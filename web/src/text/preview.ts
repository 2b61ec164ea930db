// SPDX-License-Identifier: MIT
// HTML and SVG that a model wrote, seen: in a frame without scripts, forms, an origin or a way out.
// The server keeps the text as a file and serves it under a policy of its own, which this page's
// would not allow: styles within it count, nothing else is loaded.
import { api } from '../api';
import { t } from '../i18n';
import { fail } from '../store';

export const previewKind = (lang: string, text: string): 'html' | 'svg' | null =>
  /^(html|xhtml)$/i.test(lang)
    ? 'html'
    : /^svg$/i.test(lang) || (/^xml$/i.test(lang) && /<svg[\s>]/i.test(text))
      ? 'svg'
      : null;

export async function togglePreview(button: HTMLElement): Promise<void> {
  const figure = button.closest('figure');
  const text = figure?.querySelector('code')?.textContent ?? '';
  const old = figure?.querySelector('iframe');
  const kind = button.dataset.kind === 'svg' ? 'svg' : 'html';
  const name = (on: boolean): void => {
    button.title = on ? t('previewOff') : t('preview');
    button.setAttribute('aria-label', button.title);
    button.setAttribute('aria-pressed', String(on));
  };
  if (old) {
    old.remove();
    name(false);
    return;
  }
  try {
    const file = await api.upload(`preview.${kind}`, text);
    const frame = document.createElement('iframe');
    frame.setAttribute('sandbox', '');
    frame.referrerPolicy = 'no-referrer';
    frame.title = t('previewTitle');
    frame.className = 'preview';
    frame.src = api.previewUrl(file.id, kind);
    figure!.append(frame);
    name(true);
  } catch (error) {
    fail(error);
  }
}
