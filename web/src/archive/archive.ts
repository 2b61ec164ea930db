// SPDX-License-Identifier: MIT
// Chats that move: all of them into one JSON file, and out of such a file or ChatGPT's export. A file
// is read in pieces, so that its size is no matter, and what was brought before is known again.
import { api, ApiError, type Chat, type FileInfo, type Incoming, type Message } from '../api';
import { fromChatGPT, isConversation, line, type Lost } from './chatgpt';
import { Splitter } from './split';
import { isDataPicture } from '../files/picture';

export const FILE_MAX = 2e9;
const CHAT_MAX = 24 << 20;
const UNPACKED_MAX = 8e9; // of a ZIP: one that unfolds without end is no archive of chats
const VERSION = 1;

/* ---- out ---- */

async function* allChats(): AsyncGenerator<Chat> {
  for (const archived of [false, true]) {
    let before: number | undefined;
    for (let more = true; more;) {
      const page = await api.chats({ archived, before, limit: 200 });
      yield* page.chats;
      before = page.chats.filter((c) => !c.pinned).at(-1)?.updated;
      more = page.more && before !== undefined;
    }
  }
}

/** With the texts of its files, which the archive holds beside it. */
async function withFiles<T extends { files?: FileInfo[] }>(owner: T): Promise<unknown> {
  const files = [];
  for (const file of owner.files ?? []) {
    const text = await fetch(api.fileUrl(file.id)).then((r) => (r.ok ? r.text() : ''));
    files.push({ name: file.name, type: file.type, text });
  }
  return { ...owner, files };
}

/** `onCount` hears how many were gathered. */
export async function exportAll(onCount: (n: number) => void): Promise<{ file: Blob; n: number }> {
  const [folders, settings] = await Promise.all([api.folders(), api.settings()]);
  const head = {
    damso_archive: VERSION,
    exported: Math.floor(Date.now() / 1000),
    folders: await Promise.all(folders.map(withFiles)),
    settings,
  };
  const parts: BlobPart[] = [`[${JSON.stringify(head)}`];
  let n = 0;
  for await (const chat of allChats()) {
    const whole = await api.chat(chat.id);
    const messages = [];
    for (const message of whole.messages) messages.push(await withFiles(message));
    // A Blob each: the browser may put it on the disk.
    parts.push(new Blob([`,\n${JSON.stringify({ ...whole, messages })}`]));
    onCount(++n);
  }
  parts.push(']\n');
  return { file: new Blob(parts, { type: 'application/json' }), n };
}

/* ---- in ---- */

export interface Report extends Lost {
  made: number;
  known: number;
  empty: number;
  large: number;
  bad: number;
}
export interface Progress {
  percent: number;
  report: Report;
}
export class NotOurs extends Error {}

type OldChat = {
  chat: Chat;
  head: string | null;
  messages: (Message & { files: { name: string; type: string; text: string }[] })[];
};

interface OldFolder {
  name: string;
  instructions: string;
  files: { name?: unknown; text?: unknown }[];
}

/** Folders by the ids that they had; made when a chat of theirs comes. */
class Folders {
  private readonly names = new Map<string, OldFolder>();
  private readonly ids = new Map<string, Promise<string>>();

  know(list: unknown): void {
    for (const f of Array.isArray(list) ? list : [])
      if (typeof f?.id === 'string' && typeof f.name === 'string')
        this.names.set(f.id, {
          name: line(f.name),
          instructions: String(f.instructions ?? ''),
          files: Array.isArray(f.files) ? f.files : [],
        });
  }
  async here(old: string | null): Promise<string | undefined> {
    const folder = old ? this.names.get(old) : undefined;
    if (!folder) return undefined;
    if (!this.ids.has(old!)) this.ids.set(old!, this.make(folder));
    return this.ids.get(old!);
  }
  private async make({ name, instructions, files }: OldFolder): Promise<string> {
    const same = (await api.folders()).find((f) => f.name === name);
    if (same) return same.id;
    const { id } = await api.newFolder({ name, instructions });
    for (const file of files) {
      if (typeof file?.text !== 'string' || !file.text) continue;
      const kept = await upload(String(file.name), file.text);
      await api.addFolderFile(id, kept.id);
    }
    return id;
  }
}

/** A picture's text says so itself. */
const upload = (name: string, text: string) =>
  api.upload(line(name) || 'file', text, isDataPicture(text) ? text.slice(5, text.indexOf(';')) : undefined);

async function fromDamso(old: OldChat, folders: Folders, lost: Lost): Promise<Incoming | null> {
  const kept = (old.messages ?? []).filter((m) => ['user', 'assistant', 'system'].includes(m.role));
  if (!kept.length) return null;
  const ids = new Set(kept.map((m) => m.id));
  const messages = [];
  for (const m of kept) {
    const files: string[] = [];
    lost.tools += m.calls?.length ?? 0;
    for (const f of m.files ?? [])
      if (f.text) files.push((await upload(f.name, f.text)).id);
    messages.push({
      id: m.id,
      parent: m.parent && ids.has(m.parent) ? m.parent : null,
      role: m.role,
      content: m.content ?? '',
      reasoning: m.reasoning ?? undefined,
      model: line(m.model ?? '', 100) || undefined,
      created: m.created,
      files,
    });
  }
  const { chat } = old;
  return {
    source: `damso:${line(chat.id)}`,
    title: line(chat.title ?? ''),
    created: chat.created,
    updated: chat.updated,
    pinned: chat.pinned,
    archived: chat.archived,
    folder: await folders.here(chat.folder),
    model: chat.model || undefined,
    head: old.head && ids.has(old.head) ? old.head : null,
    messages,
  };
}

/** Bytes of the JSON arrays in the file: itself, or those of a ZIP that hold conversations. */
async function* jsonOf(
  file: Blob,
  onRead: (bytes: number) => void,
): AsyncGenerator<Uint8Array | 'next'> {
  const reader = file.stream().getReader();
  let done = 0;
  const next = async (): Promise<Uint8Array | null> => {
    const { value } = await reader.read();
    done += value?.length ?? 0;
    onRead(done);
    return value ?? null;
  };
  try {
    let chunk = await next();
    if (!chunk) return;
    if (chunk[0] !== 0x50 || chunk[1] !== 0x4b) {
      for (; chunk; chunk = await next()) yield chunk;
      yield 'next';
      return;
    }
    const { Unzip, UnzipInflate } = await import('fflate');
    let out: (Uint8Array | 'next')[] = [];
    let fault: unknown = null;
    let total = 0;
    const zip = new Unzip((entry) => {
      if (!/(^|\/)conversations(-\d+)?\.json$/.test(entry.name)) return;
      entry.ondata = (error, data, last) => {
        fault ??= error;
        total += data?.length ?? 0;
        if (total > UNPACKED_MAX) fault ??= new NotOurs();
        if (data) out.push(data);
        if (last) out.push('next');
      };
      entry.start();
    });
    zip.register(UnzipInflate);
    const PIECE = 1 << 16; // what unfolds at once stays small
    for (; chunk; chunk = await next()) {
      for (let i = 0; i < chunk.length; i += PIECE) {
        zip.push(chunk.subarray(i, i + PIECE), false);
        if (fault) throw fault;
        yield* out;
        out = [];
      }
    }
    zip.push(new Uint8Array(0), true);
    yield* out;
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

const AT_ONCE = 3;

/** Reads the file and makes its chats. Stops, without undoing, when the signal says so. */
export async function importFile(
  file: Blob,
  onProgress: (now: Progress) => void,
  signal: AbortSignal,
): Promise<Report> {
  const report: Report = { made: 0, known: 0, empty: 0, large: 0, bad: 0, images: 0, tools: 0 };
  const folders = new Folders();
  const waiting: (string | null)[] = [];
  const running = new Set<Promise<void>>();
  let found = false;
  let percent = 0;
  let fault: unknown = null;
  const show = (): void => onProgress({ percent, report });
  const take = async (text: string | null): Promise<void> => {
    const chat = text === null ? 'large' : await chatOf(text, folders, report);
    if (chat === 'head') return;
    if (typeof chat === 'string') report[chat]++;
    else await send(chat, report);
    show();
  };
  const drain = async (most: number): Promise<void> => {
    while (waiting.length && !fault) {
      while (running.size >= AT_ONCE) await Promise.race(running);
      const text = waiting.shift()!;
      const job = take(text).catch((error: unknown) => {
        fault ??= error;
      });
      running.add(job);
      void job.finally(() => running.delete(job));
    }
    while (running.size > most) await Promise.race(running);
    if (fault) throw fault;
  };
  const begin = (): Splitter =>
    new Splitter(({ text }) => {
      found = true;
      waiting.push(text);
    }, CHAT_MAX);
  let splitter = begin();
  try {
    for await (const piece of jsonOf(file, (n) => (percent = Math.floor((n * 100) / file.size)))) {
      if (signal.aborted) break;
      if (piece === 'next') splitter = begin();
      else splitter.push(piece);
      await drain(AT_ONCE - 1);
      show();
    }
  } catch (error) {
    if (error instanceof ApiError || found) throw error;
    throw new NotOurs();
  } finally {
    await Promise.allSettled(running);
  }
  if (fault) throw fault as Error;
  if (!found && !signal.aborted) throw new NotOurs();
  return report;
}

async function chatOf(
  text: string,
  folders: Folders,
  lost: Lost,
): Promise<Incoming | 'bad' | 'empty' | 'head'> {
  let o: Record<string, unknown>;
  try {
    o = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return 'bad';
  }
  if (o && typeof o === 'object' && 'damso_archive' in o) {
    folders.know(o.folders);
    return 'head';
  }
  if (isConversation(o)) return fromChatGPT(o, lost) ?? 'empty';
  const old = o as unknown as OldChat;
  if (!old?.chat?.id || !Array.isArray(old.messages)) return 'bad';
  return (await fromDamso(old, folders, lost)) ?? 'empty';
}

async function send(chat: Incoming, report: Report): Promise<void> {
  for (let n = 0; ; n++) {
    try {
      const { known } = await api.importChat(chat);
      report[known ? 'known' : 'made']++;
      return;
    } catch (error) {
      const status = error instanceof ApiError ? error.status : -1;
      if (status === 413) report.large++;
      else if (status === 400) report.bad++;
      else if ((status !== 503 && status !== 429 && status !== 0) || n === 5) throw error;
      else {
        await new Promise((r) => setTimeout(r, 500 * 2 ** n)); // the server has its hands full
        continue;
      }
      return;
    }
  }
}
