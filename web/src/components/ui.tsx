// SPDX-License-Identifier: MIT
// The small parts that every screen shares: buttons, menus, dialogs, fields, the toast.
import type { ComponentChildren, RefObject } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Composer, listen } from '../compose';
import { lang, t } from '../i18n';
import { fail, isDark, said, set, settings, tell, toast } from '../store';
import { Icon, type IconName } from './icon';

interface IconButtonProps {
  icon: IconName;
  label: string;
  onClick?: (event: MouseEvent) => void;
  small?: boolean;
  pressed?: boolean;
  disabled?: boolean;
  class?: string;
}
export function IconButton({ icon, label, small, pressed, class: css, ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      class={`ib ${small ? 'sm' : ''} ${css ?? ''}`}
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      {...rest}
    >
      <Icon name={icon} />
    </button>
  );
}

/** The other language, and the other of light and dark. */
export function LookButtons() {
  void settings.value;
  const dark = isDark();
  return (
    <>
      <IconButton
        icon="globe"
        label={t('toLang')}
        onClick={() => set({ language: lang.peek() === 'ko' ? 'en' : 'ko' })}
      />
      <IconButton
        icon={dark ? 'sun' : 'moon'}
        label={dark ? t('toLight') : t('toDark')}
        onClick={() => set({ theme: dark ? 'light' : 'dark' })}
      />
    </>
  );
}

/** Enter in a field of its own, once, also from an input method; Esc gives up. */
export function useEnter<F extends HTMLInputElement | HTMLTextAreaElement>(
  commit: (value: string) => void,
  cancel?: () => void,
): RefObject<F> {
  const ref = useRef<F>(null);
  const fns = useRef({ commit, cancel });
  fns.current = { commit, cancel };
  useLayoutEffect(() => {
    const field = ref.current!;
    const machine = new Composer({
      send: () => fns.current.commit(field.value),
      now: () => performance.now(),
      later: (run, ms) => void setTimeout(run, ms),
      sendKey: () => 'enter',
      touch: () => false,
    });
    const off = listen(field, machine);
    const onEscape = (e: Event): void => {
      const key = e as KeyboardEvent;
      if (key.key !== 'Escape' || key.isComposing) return;
      e.stopPropagation();
      fns.current.cancel?.();
    };
    field.addEventListener('keydown', onEscape);
    return () => {
      off();
      field.removeEventListener('keydown', onEscape);
    };
  }, []);
  return ref;
}

export interface MenuItem {
  icon?: IconName;
  label: string;
  act?: () => void;
  href?: string;
  download?: boolean;
  risk?: boolean;
  checked?: boolean;
  note?: string;
}
interface MenuProps {
  label: string;
  items: () => (MenuItem | null)[];
  button: ComponentChildren;
  class?: string;
  up?: boolean;
}

/** A button with a menu: arrow keys move, Esc closes, the focus returns. */
export function Menu({ label, items, button, class: css, up }: MenuProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLSpanElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();
  const close = (focus: boolean): void => {
    setOpen(false);
    if (focus) root.current?.querySelector('button')?.focus();
  };
  useLayoutEffect(() => {
    if (open) place(root.current!, list.current!, up ?? false);
  }, [open]);
  useEffect(() => {
    if (!open) return;
    list.current?.querySelector<HTMLElement>('[role^=menuitem]')?.focus();
    const away = (e: Event): void => {
      if (!root.current?.contains(e.target as globalThis.Node)) close(false);
    };
    document.addEventListener('pointerdown', away);
    window.addEventListener('resize', away);
    return () => {
      document.removeEventListener('pointerdown', away);
      window.removeEventListener('resize', away);
    };
  }, [open]);
  const onKeyDown = (e: KeyboardEvent): void => {
    if (!open) return;
    const all = [...(list.current?.querySelectorAll<HTMLElement>('[role^=menuitem]') ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (e.key === 'Escape') close(true);
    else if (e.key === 'Tab') close(false);
    else if (to !== undefined) all[(to + all.length) % all.length]?.focus();
    else return;
    if (e.key !== 'Tab') e.preventDefault();
    e.stopPropagation();
  };
  return (
    <span class={`menu ${open ? 'open' : ''}`} ref={root} onKeyDown={onKeyDown}>
      <button
        type="button"
        class={css ?? 'ib'}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={(e) => {
          e.preventDefault();
          e.stopPropagation();
          setOpen(!open);
        }}
      >
        {button}
      </button>
      {open && (
        <div class="pop" role="menu" id={id} aria-label={label} ref={list}>
          {items().map((item) => item && <MenuRow key={item.label} item={item} close={close} />)}
        </div>
      )}
    </span>
  );
}

function MenuRow({ item, close }: { item: MenuItem; close: (focus: boolean) => void }) {
  const inside = (
    <>
      {item.icon && <Icon name={item.icon} />}
      <span>
        {item.label}
        {item.note && <small>{item.note}</small>}
      </span>
      {item.checked && <Icon name="check" />}
    </>
  );
  if (item.href)
    return (
      <a
        role="menuitem"
        tabIndex={-1}
        href={item.href}
        download={item.download || undefined}
        onClick={() => close(true)}
      >
        {inside}
      </a>
    );
  const radio = item.checked !== undefined;
  return (
    <button
      type="button"
      role={radio ? 'menuitemradio' : 'menuitem'}
      tabIndex={-1}
      aria-checked={radio ? item.checked : undefined}
      class={item.risk ? 'risk' : undefined}
      onClick={(e) => {
        e.preventDefault();
        e.stopPropagation();
        close(true);
        item.act?.();
      }}
    >
      {inside}
    </button>
  );
}

/** Puts a menu beside its button, inside the window. */
function place(root: HTMLElement, pop: HTMLElement, up: boolean): void {
  const at = root.getBoundingClientRect();
  const box = pop.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - box.width - 8));
  const below = at.bottom + 4;
  const above = at.top - box.height - 4;
  const top =
    (up && above > 8) || below + box.height > innerHeight - 8 ? Math.max(8, above) : below;
  pop.style.left = `${left}px`;
  pop.style.top = `${top}px`;
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
}
export function Dialog({ title, onClose, children, wide }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement as HTMLElement | null;
    dialog.showModal();
    return () => {
      dialog.close();
      before?.focus?.();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onClick={(e) => e.target === ref.current && onClose()}
    >
      <div class="dialog-in">
        <header>
          <h2 id={id} class="title">
            {title}
          </h2>
          <IconButton icon="x" label={t('close')} onClick={onClose} />
        </header>
        <div class="dialog-body">{children}</div>
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  text: string;
  act: string;
  onYes: () => void;
  onClose: () => void;
}
/** Says in full what is lost; the risky button is never the default. */
export function Confirm({ text, act, onYes, onClose }: ConfirmProps) {
  return (
    <Dialog title={act} onClose={onClose}>
      <p class="ask">{text}</p>
      <div class="foot-row">
        <button type="button" class="b line" autoFocus onClick={onClose}>
          {t('cancel')}
        </button>
        <button
          type="button"
          class="b risk"
          onClick={() => {
            onClose();
            onYes();
          }}
        >
          {act}
        </button>
      </div>
    </Dialog>
  );
}

interface SegProps<T extends string> {
  name: string;
  label: string;
  value: T;
  options: [T, string][];
  onPick: (value: T) => void;
}
export function Seg<T extends string>({ name, label, value, options, onPick }: SegProps<T>) {
  return (
    <fieldset class="seg" aria-label={label}>
      {options.map(([v, text]) => (
        <label key={v}>
          <input type="radio" name={name} checked={v === value} onChange={() => onPick(v)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Toggle({
  id,
  on,
  onSet,
}: {
  id: string;
  on: boolean;
  onSet: (on: boolean) => void;
}) {
  return (
    <input
      class="tog"
      type="checkbox"
      role="switch"
      id={id}
      checked={on}
      onChange={(e) => onSet(e.currentTarget.checked)}
    />
  );
}

/** A popover, so that it is seen above a dialog too; screen readers hear it from Said. */
export function Toasts() {
  const now = toast.value;
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!now) return;
    place.current?.showPopover?.();
    return () => place.current?.hidePopover?.();
  }, [now]);
  return (
    <div class="toast-place" popover="manual" role="region" aria-label={t('notice')} ref={place}>
      {now && (
        <div class="toast">
          <span>{now.text}</span>
          {now.act && (
            <button
              type="button"
              class="b sm"
              onClick={() => {
                toast.value = null;
                now.act!();
              }}
            >
              {now.label}
            </button>
          )}
          <IconButton icon="x" small label={t('close')} onClick={() => (toast.value = null)} />
        </div>
      )}
    </div>
  );
}
export function Said() {
  return (
    <div class="vh" role="status" id="said">
      {plain(said.value)}
    </div>
  );
}
/** Markdown as it is read out: without its marks. */
export function plain(text: string): string {
  return text
    .replace(/```[\s\S]*?(```|$)/g, ' … ')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/^[#>\-*+|:\s]+/gm, '')
    .replace(/[*_`~|]+/g, '')
    .trim();
}

export function useOutside(ref: RefObject<HTMLElement>, onAway: () => void): void {
  useEffect(() => {
    const away = (e: Event): void => {
      if (!ref.current?.contains(e.target as globalThis.Node)) onAway();
    };
    document.addEventListener('pointerdown', away);
    return () => document.removeEventListener('pointerdown', away);
  }, []);
}
export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    tell(t('copied'));
  } catch (error) {
    fail(error);
  }
}
