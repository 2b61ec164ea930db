// SPDX-License-Identifier: MIT
// The composer's state machine: one Enter sends once, whatever the input method and the browser's
// order of events, and the last syllable is neither lost nor doubled. Three orders are seen:
//  A  keydown(229, composing) - compositionend                      (Firefox, some Chromes)
//  B  keydown(229, composing) - compositionend - keydown(13)        (Chrome, Edge on Windows)
//  C  compositionend - keydown(229, not composing)                  (Safari)
// A Korean keyboard has no list of candidates: the last syllable is still being composed when Enter
// is pressed, and Enter means "send". In Japanese and Chinese it picks a candidate and must not.
// The text is read from the field when it is sent, never kept here, and never written while
// composing.

export interface KeyInfo {
  key: string;
  keyCode: number;
  isComposing: boolean;
  shiftKey: boolean;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}
export interface Host {
  /** Sends what stands in the field and clears it. */
  send(): void;
  now(): number;
  /** Runs after the browser has finished the event and put the last syllable in the field. */
  later(run: () => void, ms: number): void;
  /** What Enter does: `enter` sends; otherwise it breaks the line and Ctrl+Enter sends. */
  sendKey(): 'enter' | 'ctrl-enter';
  /** Touch keyboards break lines with Enter. */
  touch(): boolean;
}

/**
 * Lets a machine hear a field. Listeners of its own: Preact has no names for composition events.
 * Returns what takes them off again.
 */
export function listen(field: HTMLElement, machine: Composer): () => void {
  const off = new AbortController();
  const on = <E extends Event>(name: string, handle: (event: E) => void): void =>
    field.addEventListener(name, handle as (event: Event) => void, { signal: off.signal });
  on('compositionstart', () => machine.compositionStart());
  on<CompositionEvent>('compositionupdate', (e) => machine.compositionUpdate(e.data));
  on<CompositionEvent>('compositionend', (e) => machine.compositionEnd(e.data));
  on<KeyboardEvent>('keydown', (e) => machine.keyDown(e) && e.preventDefault());
  on<InputEvent>('beforeinput', (e) => machine.beforeInput(e.inputType) && e.preventDefault());
  on('blur', () => machine.blur());
  return () => off.abort();
}

const HANGUL_ONLY = /^[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7a3\ud7b0-\ud7ff]+$/u;
/** How long after a composition's end an Enter may still be its own (order B). */
const ECHO_MS = 60;
/** How long after a composition's end a key of 229 belongs to it (order C). */
const SAFARI_MS = 100;
/** A composition that a browser never ends must not swallow the message. */
const PATIENCE_MS = 250;

export class Composer {
  private composing = false;
  private data = '';
  private endedAt = -Infinity;
  private lastData = '';
  private pending = false;
  private sentAt = -Infinity;

  constructor(private readonly host: Host) {}

  get isComposing(): boolean {
    return this.composing;
  }

  compositionStart(): void {
    this.composing = true;
    this.data = '';
  }
  compositionUpdate(data: string): void {
    this.composing = true;
    this.data = data;
  }
  compositionEnd(data: string): void {
    this.composing = false;
    this.lastData = data || this.data;
    this.endedAt = this.host.now();
    if (this.pending) this.host.later(() => this.flush(), 0);
  }
  /** The field lost the focus: nothing is pending any more. */
  blur(): void {
    this.composing = false;
    this.pending = false;
  }

  /** True when the event's default must be prevented. */
  keyDown(event: KeyInfo): boolean {
    if (event.key !== 'Enter' && event.keyCode !== 13 && !this.isImeEnter(event)) return false;
    if (!this.means(event)) return false;
    const now = this.host.now();
    const ime = event.isComposing || this.composing;
    if (ime) {
      // Orders A and B: let the input method have its key; send when the syllable is in.
      if (HANGUL_ONLY.test(this.data)) {
        this.pending = true;
        this.host.later(() => this.flush(), PATIENCE_MS);
      }
      return false;
    }
    if (this.pending) return true; // order B's clean Enter, before the send has run
    if (now - this.sentAt < ECHO_MS) return true; // order B's clean Enter, after it
    if (event.keyCode === 229 && now - this.endedAt < SAFARI_MS) {
      // Order C: the composition has ended; Hangul is sent, a candidate was only confirmed.
      if (!HANGUL_ONLY.test(this.lastData)) return true;
      this.pending = true;
      this.host.later(() => this.flush(), 0);
      return true;
    }
    if (event.keyCode === 229) return false;
    this.fire();
    return true;
  }

  /** A line break that arrives as input in spite of it all. True: it must be prevented. */
  beforeInput(type: string): boolean {
    if (type !== 'insertLineBreak' && type !== 'insertParagraph') return false;
    return this.pending || this.host.now() - this.sentAt < ECHO_MS;
  }

  private isImeEnter(event: KeyInfo): boolean {
    return (
      event.keyCode === 229 &&
      (event.key === 'Enter' || event.key === 'Process') &&
      (event as { code?: string }).code === 'Enter'
    );
  }
  private means(event: KeyInfo): boolean {
    if (event.altKey || event.shiftKey) return false;
    if (event.ctrlKey || event.metaKey) return true;
    return this.host.sendKey() === 'enter' && !this.host.touch();
  }
  private flush(): void {
    if (!this.pending) return;
    if (this.composing) {
      this.host.later(() => this.flush(), PATIENCE_MS);
      return;
    }
    this.pending = false;
    this.fire();
  }
  private fire(): void {
    this.sentAt = this.host.now();
    this.host.send();
  }
}
