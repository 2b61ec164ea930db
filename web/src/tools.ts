// SPDX-License-Identifier: MIT
// Tools that answers may call: what there is, what is switched on, what a call stands at. And the
// shape that answers are held to.
import { computed, signal } from '@preact/signals';
import { api, ApiError, type Call, type Message, type ToolServer } from './api';
import { fail, me, model } from './store';

export const servers = signal<ToolServer[]>([]);
/** Switched on for a chat that is not there yet. */
export const newTools = signal<string[]>([]);
/** The next question's answer begins with this tool. */
export const forced = signal<string | null>(null);
/** A JSON schema as text; '': answers are free. */
export const shape = signal('');

/** Only models that were made for it are offered tools. */
export const canCall = computed(
  () => me.value?.models.find((m) => m.id === model.value)?.tools ?? false,
);

export async function loadTools(): Promise<void> {
  if (!me.peek()) return; // nobody has come in yet
  try {
    servers.value = (await api.tools()).servers;
  } catch (error) {
    // Nobody asked: a lost server is said by the page as a whole, and it asks again with it.
    if (!(error instanceof ApiError && error.status === 0)) fail(error);
  }
}
export const toolOf = (id: string) =>
  servers.value.flatMap((s) => s.tools).find((tool) => tool.id === id);

/** Whether the answer waits for a word on a call. */
export const asks = (message: Message): boolean =>
  message.calls?.some((c) => c.state === 'asked') ?? false;

export interface Part {
  text: string;
  calls: Call[];
}
/** An answer's text, cut where its calls were made; what follows the last has none. */
export function partsOf(content: string, calls: Call[]): Part[] {
  if (!calls.length) return [{ text: content, calls }];
  const data = new TextEncoder().encode(content);
  const read = new TextDecoder();
  const parts: Part[] = [];
  let from = 0;
  for (let i = 0; i < calls.length; ) {
    const round = calls[i]!.round;
    const at = Math.min(Math.max(calls[i]!.at, from), data.length);
    let to = i;
    while (calls[to]?.round === round) to++;
    parts.push({ text: read.decode(data.subarray(from, at)), calls: calls.slice(i, to) });
    from = at;
    i = to;
  }
  parts.push({ text: read.decode(data.subarray(from)), calls: [] });
  return parts;
}

/** What a call is given, for people: names and values, or the text where it is no object. */
export function argumentsOf(text: string): [string, string][] | string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return text;
    return Object.entries(value).map(([name, v]) => [
      name,
      typeof v === 'string' ? v : JSON.stringify(v, null, 1),
    ]);
  } catch {
    return text;
  }
}

/** The first address of a web page in a text; of one in brackets what stands within. */
export function addressIn(text: string): string | null {
  const found = /(^|[\s(<])(https?:\/\/[^\s<>"'\u3000-\u303f\uff00-\uff0f]+)/iu.exec(text);
  if (!found) return null;
  let url = found[2]!;
  if (found[1] === '(') url = url.split(')')[0]!;
  url = url.replace(/[.,;:!?)\]}]+$/, '');
  return url.length <= 4096 && /^https?:\/\/[^/]/i.test(url) ? url : null;
}
