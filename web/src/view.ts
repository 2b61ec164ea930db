// SPDX-License-Identifier: MIT
// The open chat: its tree of messages, each in a signal of its own so that a token paints one turn.
import { batch, signal, type Signal } from '@preact/signals';
import { api, ApiError, type Call, type Chat, type Message, type Options } from './api';
import { join, type Delta } from './events';
import { t } from './i18n';
import { go } from './route';
import { dropChat, fail, folder, model, putChat, said, settings, temporary } from './store';
import { asks, forced, newTools, shape } from './tools';
import { Tree } from './tree';
import { utf8Length } from './utf8';

export interface Cell {
  id: string;
  parent: string | null;
  created: number;
  message: Signal<Message>;
  /** Bytes of content and reasoning, to see whether a delta fits. */
  size: number;
  thought: number;
  /** The message with deltas that are not shown yet. */
  next?: Message;
}

export class View {
  readonly tree = new Tree<Cell>();
  readonly version = signal(0);
  readonly head = signal<string | null>(null);
  readonly chat: Signal<Chat>;
  readonly state = signal<'loading' | 'ready' | 'missing'>('loading');

  constructor(
    readonly id: string,
    chat?: Chat,
  ) {
    this.chat = signal(
      chat ?? {
        id,
        title: '',
        created: 0,
        updated: 0,
        pinned: false,
        archived: false,
        folder: null,
        model: null,
        temporary: false,
        running: false,
      },
    );
  }
  put(message: Message): void {
    const cell = this.tree.get(message.id);
    const size = utf8Length(message.content ?? '');
    const thought = utf8Length(message.reasoning ?? '');
    if (cell) {
      Object.assign(cell, { size, thought, next: undefined });
      cell.message.value = message;
      return;
    }
    const { id, parent, created } = message;
    this.tree.put({ id, parent, created, message: signal(message), size, thought });
    this.version.value++;
  }
  private readonly asking = new Set<Set<string>>();
  /** The answer to a request, and the messages that were told of meanwhile: what an event says of
   *  one is as new as the answer at least, and may be newer. */
  async meanwhile<T>(request: Promise<T>): Promise<[T, Set<string>]> {
    const told = new Set<string>();
    this.asking.add(told);
    try {
      return [await request, told];
    } finally {
      this.asking.delete(told);
    }
  }
  /** What an event says of a message. */
  tell(message: Message): void {
    for (const told of this.asking) told.add(message.id);
    this.put(message);
  }
  path(): Cell[] {
    void this.version.value;
    return this.tree.path(this.head.value);
  }
  running(): Cell | undefined {
    return this.path().find((c) => c.message.value.status === 'running');
  }
}

export const view = signal<View | null>(null);
/** Counts what the reader asked for here: then, and only then, the page goes to the end. */
export const asked = signal(0);

/** Reads the chat and lets its deltas join; events stand already, so nothing falls between. */
export async function openChat(id: string): Promise<void> {
  const current = view.peek();
  if (current?.id === id && current.state.peek() === 'ready') return;
  const next = current?.id === id ? current : new View(id);
  view.value = next;
  await readChat(next);
}

async function readChat(target: View): Promise<void> {
  try {
    const [got, told] = await target.meanwhile(api.chat(target.id));
    batch(() => {
      target.chat.value = got.chat;
      const ids = new Set(got.messages.map((m) => m.id));
      for (const cell of target.tree.all()) if (!ids.has(cell.id)) target.tree.remove(cell.id);
      for (const message of got.messages) if (!told.has(message.id)) target.put(message);
      if (!target.tree.get(target.head.peek()) || target.state.peek() !== 'ready')
        target.head.value = got.head ?? got.messages.at(-1)?.id ?? null;
      target.version.value++;
      target.state.value = 'ready';
    });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) target.state.value = 'missing';
    else fail(error);
  }
}
export function refresh(): void {
  const current = view.peek();
  if (current) void readChat(current);
}

export function onDelta(delta: Delta): void {
  const current = view.peek();
  if (current?.id !== delta.chat) return;
  const cell = current.tree.get(delta.message);
  if (!cell) return;
  const message = cell.next ?? cell.message.peek();
  if (message.status !== 'running') return; // the whole is here already
  let { content, reasoning } = message;
  if (delta.content) {
    const joined = join(content, cell.size, delta.content, delta.at);
    if (joined === null) {
      refresh();
      return;
    }
    cell.size = Math.max(cell.size, delta.at + utf8Length(delta.content));
    content = joined;
  }
  if (delta.reasoning) {
    const joined = join(
      reasoning ?? '',
      cell.thought,
      delta.reasoning,
      delta.reasoning_at ?? cell.thought,
    );
    if (joined === null) {
      refresh();
      return;
    }
    cell.thought += utf8Length(joined) - utf8Length(reasoning ?? '');
    reasoning = joined;
  }
  cell.next = { ...message, content, reasoning };
  late.add(cell);
  if (!flushing) flushing = window.setTimeout(flush, SHOW_MS);
}

/** Deltas are shown together, some times a second, however many come. */
const SHOW_MS = 80;
const late = new Set<Cell>();
let flushing = 0;
function flush(): void {
  flushing = 0;
  batch(() => {
    for (const cell of late) if (cell.next) cell.message.value = cell.next;
  });
  for (const cell of late) cell.next = undefined;
  late.clear();
}

export function onMessage(chat: string, message: Message): void {
  const current = view.peek();
  if (current?.id !== chat) return;
  const old = current.tree.get(message.id);
  const before = old?.message.peek().status;
  const follows =
    !old &&
    (message.parent === current.head.peek() ||
      (message.role === 'assistant' && current.path().some((c) => c.id === message.parent)));
  batch(() => {
    current.tell(message);
    if (follows) current.head.value = message.id;
  });
  if (before === 'running' && message.status !== 'running')
    said.value = asks(message) ? t('callAsks') : message.content;
}
export function onChat(chat: Chat): void {
  putChat(chat);
  const current = view.peek();
  if (current?.id === chat.id) current.chat.value = chat;
}
export function onDeleted(id: string): void {
  dropChat(id);
  const current = view.peek();
  if (current?.id === id) current.state.value = 'missing';
}

export function options(): Options {
  const sampling = settings.peek().sampling ?? {};
  const all: Options = Object.fromEntries(
    Object.entries(sampling).filter(([, v]) => v !== undefined && v !== null),
  );
  if (shape.peek()) all.json_schema = JSON.parse(shape.peek()) as object;
  return all;
}

async function makeChat(): Promise<View> {
  const chat = await api.newChat({
    model: model.peek() || undefined,
    folder: folder.peek() ?? undefined,
    temporary: temporary.peek() || undefined,
  });
  const on = newTools.peek();
  if (on.length) Object.assign(chat, await api.editChat(chat.id, { tools: on, tools_always: [] }));
  newTools.value = [];
  const made = new View(chat.id, chat);
  made.state.value = 'ready';
  return made;
}

/** Sends below `parent` (the head when not given). True once the server has it. */
export async function send(
  content: string,
  files: string[],
  parent?: string | null,
): Promise<boolean> {
  const before = view.peek();
  let at = before;
  try {
    at ??= view.value = await makeChat(); // before the message: its deltas come at once
    const target = at;
    const how = options();
    if (forced.peek()) how.tool_choice = forced.peek()!;
    const made = await api.send(target.id, {
      parent: parent === undefined ? target.head.peek() : parent,
      content,
      files,
      model: model.peek() || undefined,
      options: how,
    });
    forced.value = null;
    batch(() => {
      if (!target.tree.get(made.user.id)) target.put(made.user);
      if (!target.tree.get(made.answer.id)) target.put(made.answer);
      target.head.value = made.answer.id;
      asked.value++;
    });
    if (!before) {
      putChat(target.chat.peek());
      go({ name: 'chat', id: target.id });
    }
    said.value = t('statusWriting');
    return true;
  } catch (error) {
    fail(error);
    if (!before && at) {
      view.value = null;
      api.deleteChat(at.id).catch(() => undefined); // an empty chat that nobody asked for
    }
    return false;
  }
}

/** A temporary chat goes when one leaves it. */
export function leave(left: View | null): void {
  if (left?.chat.peek().temporary) api.deleteChat(left.id).catch(() => undefined);
}

export async function regenerate(id: string): Promise<void> {
  const current = view.peek();
  if (!current) return;
  try {
    const made = await api.regenerate(current.id, id, {
      model: model.peek() || undefined,
      options: options(),
    });
    batch(() => {
      if (!current.tree.get(made.id)) current.put(made);
      current.head.value = made.id;
      asked.value++;
    });
    said.value = t('statusWriting');
  } catch (error) {
    fail(error);
  }
}
export async function goOn(id: string): Promise<void> {
  const current = view.peek();
  if (!current) return;
  try {
    const made = await api.goOn(current.id, id);
    // Deltas may have come before this answer to the request: the longer text stands.
    const cell = current.tree.get(made.id);
    if (!cell || cell.message.peek().status !== 'running') current.put(made);
    current.head.value = current.tree.leaf(made.id);
    said.value = t('statusWriting');
  } catch (error) {
    fail(error);
  }
}
/** The person's word on a call; when it was the last one the answer goes on. */
export async function decide(
  message: Message,
  call: Call,
  allow: 'once' | 'always' | 'no',
): Promise<void> {
  const current = view.peek();
  if (!current) return;
  try {
    const made = await api.decide(current.id, message.id, call.id, allow, options());
    // Events may have come before this answer to the request: what is newer stands.
    const cell = current.tree.get(made.id);
    if (cell?.message.peek().calls?.find((c) => c.id === call.id)?.state === 'asked')
      current.put(made);
    said.value = made.status === 'running' ? t('statusWriting') : t('callAsks');
  } catch (error) {
    fail(error);
    if (error instanceof ApiError && error.status === 409) await readChat(current);
  }
}
export async function stop(): Promise<void> {
  const current = view.peek();
  const running = current?.running();
  if (!current || !running) return;
  try {
    const [made, told] = await current.meanwhile(api.stop(current.id, running.id));
    if (!told.has(running.id)) current.put(made);
  } catch (error) {
    fail(error);
  }
}
export function switchTo(id: string): void {
  const current = view.peek();
  if (!current) return;
  const head = current.tree.leaf(id);
  current.head.value = head;
  api.editChat(current.id, { head }).catch(fail);
}
export async function deleteFrom(id: string): Promise<void> {
  const current = view.peek();
  const cell = current?.tree.get(id);
  if (!current || !cell) return;
  try {
    await api.deleteMessage(current.id, id);
    const others = current.tree.siblings(id).filter((s) => s !== id);
    current.tree.remove(id);
    batch(() => {
      const last = others.at(-1);
      current.head.value = last ? current.tree.leaf(last) : cell.parent;
      current.version.value++;
    });
  } catch (error) {
    fail(error);
  }
}
