// SPDX-License-Identifier: MIT
// A conversation of ChatGPT's export as a chat: the tree in `mapping`, without what has no place
// here, which is counted. Shapes that are not known are passed over, never guessed.
import type { Incoming, IncomingMessage } from '../api';

export interface Lost {
  images: number;
  tools: number;
}
interface Node {
  id?: unknown;
  parent?: unknown;
  children?: unknown;
  message?: unknown;
}
type Obj = Record<string, unknown>;
const obj = (x: unknown): Obj => (x && typeof x === 'object' && !Array.isArray(x) ? (x as Obj) : {});
const str = (x: unknown): string => (typeof x === 'string' ? x : '');
const time = (x: unknown): number | undefined =>
  typeof x === 'number' && Number.isFinite(x) && x >= 0 && x < 253402300799 ? x : undefined;

export const isConversation = (x: unknown): boolean =>
  typeof obj(x).mapping === 'object' && obj(x).mapping !== null;

/** One line that the server takes as a title or a name. */
export function line(text: string, most = 300): string {
  return [...text.replace(/[\p{Cc}\s]+/gu, ' ').trim()].slice(0, most).join('');
}

/** Marks of the original's sources, which lead nowhere here. */
const clean = (text: string): string => text.replace(/\ue200[^\ue200\ue201]*\ue201/gu, '').trim();

interface Read {
  role: 'user' | 'assistant';
  text: string;
  thoughts: string;
}

/** What a message says; null: nothing that is shown. */
function read(message: Obj, lost: Lost): Read | null {
  const role = str(obj(message.author).role);
  const content = obj(message.content);
  const type = str(content.content_type);
  const hidden = obj(message.metadata).is_visually_hidden_from_conversation === true;
  if (hidden || role === 'system') return null;
  const to = str(message.recipient) || 'all';
  if (role === 'tool' || (role === 'assistant' && to !== 'all')) {
    if (type !== 'reasoning_recap') lost.tools++;
    return null;
  }
  if (role !== 'user' && role !== 'assistant') return null;
  if (type === 'thoughts') {
    const all = Array.isArray(content.thoughts) ? content.thoughts : [];
    const thoughts = all
      .map((t) => [str(obj(t).summary), str(obj(t).content)].filter(Boolean).join('\n\n'))
      .join('\n\n');
    return { role, text: '', thoughts: clean(thoughts) };
  }
  if (type === 'reasoning_recap' || type === 'user_editable_context') return null;
  if (type === 'code') return { role, text: fenced(str(content.text)), thoughts: '' };
  const parts = Array.isArray(content.parts) ? content.parts : [content.text ?? content.result];
  const words: string[] = [];
  for (const part of parts) {
    const kind = str(obj(part).content_type);
    if (typeof part === 'string') words.push(part);
    else if (kind === 'audio_transcription') words.push(str(obj(part).text));
    else if (kind.includes('image') || kind.includes('video')) lost.images++;
  }
  return { role, text: clean(words.filter(Boolean).join('\n\n')), thoughts: '' };
}
function fenced(text: string): string {
  return text.trim() ? `\`\`\`\n${text}\n\`\`\`` : '';
}

interface Place {
  id: string;
  /** The nearest message before it that is kept, and thoughts that wait for their answer. */
  above: string | null;
  thoughts: string;
  /** Nothing branches off between `above` and here. */
  alone: boolean;
}

/** null: there is no text in it. */
export function fromChatGPT(conversation: unknown, lost: Lost): Incoming | null {
  const c = obj(conversation);
  const nodes = new Map(Object.entries(obj(c.mapping)).map(([id, n]) => [id, obj(n) as Node]));
  const out = new Map<string, IncomingMessage>();
  const keptAs = new Map<string, string | null>(); // what each node became
  const seen = new Set<string>();
  const roots = [...nodes].filter(([, n]) => !nodes.has(str(n.parent))).map(([id]) => id);
  const work: Place[] = roots
    .reverse()
    .map((id) => ({ id, above: null, thoughts: '', alone: false }));
  for (let at = work.pop(); at; at = work.pop()) {
    if (seen.has(at.id)) continue;
    seen.add(at.id);
    const node = nodes.get(at.id)!;
    const message = node.message ? obj(node.message) : null;
    const got = message && read(message, lost);
    let { above, thoughts } = at;
    if (got?.thoughts) thoughts = [thoughts, got.thoughts].filter(Boolean).join('\n\n');
    if (got?.text) {
      above = add(out, at, got, message!, thoughts);
      thoughts = '';
    }
    keptAs.set(at.id, above);
    const next = Array.isArray(node.children) ? node.children.map(str) : [];
    const alone = next.length === 1 && (got?.text ? true : at.alone);
    for (const id of next.reverse())
      if (nodes.has(id)) work.push({ id, above, thoughts, alone });
  }
  if (!out.size) return null;
  const messages = [...out.values()];
  const source = str(c.conversation_id) || str(c.id) || `${str(c.title)} ${String(c.create_time)}`;
  return {
    source: line(`chatgpt:${source}`),
    title: line(str(c.title)),
    created: time(c.create_time) ?? messages[0]!.created,
    updated: time(c.update_time) ?? time(c.create_time),
    archived: c.is_archived === true,
    pinned: c.is_starred === true,
    head: keptAs.get(str(c.current_node)) ?? messages.at(-1)!.id,
    messages,
  };
}

/** Keeps it as a message, or as more of the answer before it; the id it has then. */
function add(
  out: Map<string, IncomingMessage>,
  at: Place,
  got: Read,
  message: Obj,
  thoughts: string,
): string {
  const before = at.above ? out.get(at.above) : undefined;
  if (before && at.alone && before.role === 'assistant' && got.role === 'assistant') {
    before.content += `\n\n${got.text}`;
    if (thoughts) before.reasoning = [before.reasoning, thoughts].filter(Boolean).join('\n\n');
    return before.id;
  }
  const model = line(str(obj(message.metadata).model_slug), 100);
  out.set(at.id, {
    id: at.id,
    parent: at.above,
    role: got.role,
    content: got.text,
    ...(thoughts && got.role === 'assistant' ? { reasoning: thoughts } : {}),
    ...(model && got.role === 'assistant' ? { model } : {}),
    created: time(message.create_time),
  });
  return at.id;
}
