// SPDX-License-Identifier: MIT
// A component whose code is loaded when it is first shown.
import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { t } from '../i18n';
import { fail } from '../store';

export function lazy<P extends object>(
  load: () => Promise<ComponentType<P>>,
  /** A part of a page that is there already. */
  part = false,
): (props: P) => preact.JSX.Element {
  let kept: ComponentType<P> | null = null;
  return function Lazy(props: P) {
    const [Loaded, set] = useState<ComponentType<P> | null>(() => kept);
    const [late, setLate] = useState(false);
    useEffect(() => {
      if (kept) return;
      const timer = setTimeout(() => setLate(true), 400);
      load().then((component) => {
        kept = component;
        set(() => component);
      }, fail);
      return () => clearTimeout(timer);
    }, []);
    if (Loaded) return <Loaded {...props} />;
    if (part) return <>{late && <p class="late">{t('opening')}</p>}</>;
    return (
      <main class="screen" aria-busy="true">
        {late && <p class="late">{t('opening')}</p>}
      </main>
    );
  };
}
