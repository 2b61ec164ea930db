// SPDX-License-Identifier: MIT
// The server's events (SSE) and how a delta joins the text that is there. The browser resumes with
// Last-Event-ID and is told what came between; where the server does not know that any more,
// `onReset` lets the app read anew what it shows.
import { signal } from '@preact/signals';
import type { Chat, Message } from './api';
import { afterBytes, utf8Length } from './utf8';

export interface Delta {
  chat: string;
  message: string;
  content?: string;
  reasoning?: string;
  /** Bytes of `content` before this delta. */
  at: number;
  /** Bytes of `reasoning` before this delta, where the server says so. */
  reasoning_at?: number;
}
export interface Handlers {
  delta(delta: Delta): void;
  message(chat: string, message: Message): void;
  chat(chat: Chat): void;
  deleted(chat: string): void;
  onReset(): void;
  /** The server refused: perhaps one has to log in. */
  onRefused(): void;
}

/** Whether the event stream stands; false shows the offline notice. */
export const online = signal(true);

/**
 * Joins `add`, which begins at byte `at`, to `text` of `size` bytes. What is there already is not
 * added twice; null when something in between is missing and the chat must be read anew.
 */
export function join(text: string, size: number, add: string, at: number): string | null {
  if (at === size) return text + add;
  if (at > size) return null;
  const over = size - at;
  if (utf8Length(add) <= over) return text;
  const rest = afterBytes(add, over);
  return rest === null ? null : text + rest;
}

const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export function connect(handlers: Handlers): { ready: Promise<void>; close(): void } {
  let source: EventSource | null = null;
  let fails = 0;
  let last = '';
  let timer = 0;
  let offline = 0;
  let isReady: () => void;
  const ready = new Promise<void>((resolve) => (isReady = resolve));

  const on = (name: string, handle: (data: never) => void): void =>
    source!.addEventListener(name, (event) => {
      last = (event as MessageEvent).lastEventId || last;
      try {
        handle(JSON.parse((event as MessageEvent<string>).data) as never);
      } catch (error) {
        console.error(`event ${name}`, error);
      }
    });

  function open(): void {
    // The browser says it itself, but not where we had to connect anew.
    const query = last ? `?last=${encodeURIComponent(last)}` : '';
    source = new EventSource(`/api/v1/events${query}`);
    source.onopen = () => {
      fails = 0;
      clearTimeout(offline);
      offline = 0;
      online.value = true;
      isReady();
    };
    source.onerror = () => {
      // A short gap (a reconnection at once) is not worth a notice.
      if (!offline) offline = window.setTimeout(() => (online.value = false), 1500);
      isReady(); // the app opens, offline
      if (source?.readyState !== EventSource.CLOSED) return;
      handlers.onRefused();
      timer = window.setTimeout(open, RETRY_MS[Math.min(fails++, RETRY_MS.length - 1)]);
    };
    on('delta', (delta: Delta) => handlers.delta(delta));
    on('message', (e: { chat: string; message: Message }) => handlers.message(e.chat, e.message));
    on('chat', (e: { chat: Chat }) => handlers.chat(e.chat));
    on('deleted', (e: { chat: string }) => handlers.deleted(e.chat));
    on('reset', () => handlers.onReset());
  }
  open();
  window.addEventListener('online', () => {
    if (source?.readyState !== EventSource.CLOSED) return;
    clearTimeout(timer);
    open();
  });
  return {
    ready,
    close() {
      clearTimeout(timer);
      source?.close();
    },
  };
}
