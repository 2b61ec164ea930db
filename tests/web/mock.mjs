// SPDX-License-Identifier: MIT
// A stand-in for the server in tests of the web app: the contract of /api/v1 in memory, with
// answers whose text and speed the test chooses, and the files of web/dist under the real
// Content-Security-Policy. `node tests/web/mock.mjs [PORT]` serves a filled one to look at.
import { createServer } from 'node:http';
import { readFileSync, statSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { seed } from './seed.mjs';

const dist = fileURLToPath(new URL('../../web/dist', import.meta.url));
export const CSP =
  "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
  "frame-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const PREVIEW =
  "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; " +
  "frame-ancestors 'self'";
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.webmanifest': 'application/manifest+json',
  '.json': 'application/json',
};
const now = () => Date.now() / 1000;
const bytes = (text) => Buffer.byteLength(text);

export class Mock {
  chats = new Map();
  gone = new Map();
  folders = [];
  settings = {};
  files = new Map();
  pictures = false; // whether the first model sees them
  shares = new Map();
  streams = new Set();
  sent = 0; // events, numbered
  told = [];
  forgets = false; // does not tell them again
  next = 0;
  rate = 60; // tokens a second
  script = []; // the answers to come; then echoes
  requests = [];
  pages = true; // web pages can be fetched
  web = {}; // address: {name, text}
  tools = []; // servers of tools

  id = (kind) => `${kind}_${(++this.next).toString(36)}`;
  emit(event, data) {
    const text = `id: run-${++this.sent}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    this.told.push(text);
    for (const stream of this.streams) stream.write(text);
  }
  /** What came after the event that a client had last; or that it has to read anew. */
  resume(last, res) {
    const from = Number(/^run-(\d+)$/.exec(last)?.[1] ?? -1);
    if (from < 0 || this.forgets) res.write('event: reset\ndata: {}\n\n');
    else for (const text of this.told.slice(from)) res.write(text);
  }
  path(chat) {
    const out = [];
    for (let id = chat.head; id;) {
      const message = chat.messages.find((m) => m.id === id);
      out.unshift(message);
      id = message.parent;
    }
    return out;
  }
  chatView(c) {
    const { messages, head, ...chat } = c;
    return { ...chat, running: messages.some((m) => m.status === 'running') };
  }
  addChat(part = {}) {
    const chat = {
      id: this.id('chat'),
      title: '',
      created: now(),
      updated: now(),
      pinned: false,
      archived: false,
      folder: null,
      model: null,
      temporary: false,
      messages: [],
      head: null,
      ...part,
    };
    this.chats.set(chat.id, chat);
    return chat;
  }
  addMessage(chat, part) {
    const message = {
      id: this.id('msg'),
      parent: chat.head,
      role: 'user',
      content: '',
      reasoning: null,
      model: null,
      created: now(),
      status: 'done',
      usage: null,
      files: [],
      ...part,
    };
    chat.messages.push(message);
    chat.head = message.id;
    return message;
  }

  /** Writes the next scripted answer, or an echo, a few characters at a time. */
  answer(chat, message, text, reasoning = '') {
    message.status = 'running';
    const parts = text.match(/[\s\S]{1,3}/gu) ?? [];
    const thoughts = reasoning.match(/[\s\S]{1,3}/gu) ?? [];
    const began = performance.now();
    let count = 0;
    const end = (status) => {
      clearInterval(message.timer);
      Object.defineProperty(message, 'timer', { value: null, enumerable: false, writable: true });
      message.status = status;
      message.usage = {
        prompt_tokens: 312,
        completion_tokens: count,
        cached_tokens: 256,
        context: 8192,
        tokens_per_second: count / ((performance.now() - began) / 1000 + 0.001),
      };
      this.emit('message', { chat: chat.id, message });
      if (!chat.title) chat.title = chat.messages[0].content.slice(0, 24);
      this.emit('chat', { chat: this.chatView(chat) });
    };
    message.end = end;
    Object.defineProperty(message, 'end', { enumerable: false });
    const timer = setInterval(() => {
      const due = Math.floor(((performance.now() - began) / 1000) * this.rate) + 1;
      for (; count < due; count++) {
        const thought = thoughts.shift();
        if (thought !== undefined) {
          const at = bytes(message.content);
          this.emit('delta', { chat: chat.id, message: message.id, reasoning: thought, at });
          message.reasoning = (message.reasoning ?? '') + thought;
          continue;
        }
        const part = parts.shift();
        if (part === undefined) return end('done');
        const at = bytes(message.content);
        message.content += part;
        this.emit('delta', { chat: chat.id, message: message.id, content: part, at });
      }
    }, 15);
    Object.defineProperty(message, 'timer', { value: timer, enumerable: false, writable: true });
  }
  begin(chat, parent, asked) {
    const message = this.addMessage(chat, {
      parent,
      role: 'assistant',
      model: 'gemma3-270m',
      status: 'running',
    });
    const next = this.script.shift() ?? `들은 말: ${asked}`;
    const { text, reasoning, error, calls } = typeof next === 'string' ? { text: next } : next;
    if (calls) {
      // as a model that calls: its words, then calls that wait for the person
      message.content = text ?? '';
      message.calls = calls.map((c) => ({
        id: this.id('call'),
        tool: `${c.server}__${c.name}`,
        title: '',
        arguments: '{}',
        at: bytes(message.content),
        round: 1,
        state: 'asked',
        ...c,
      }));
      this.answer(chat, message, '');
      return message;
    }
    if (error) {
      message.content = text ?? '';
      setTimeout(() => {
        message.error = error;
        message.end('error');
      }, 100);
      this.answer(chat, message, '');
      clearInterval(message.timer);
    } else this.answer(chat, message, text, reasoning);
    chat.updated = now();
    this.emit('chat', { chat: this.chatView(chat) });
    return message;
  }

  route(method, parts, query, body) {
    const [what, id, sub, mid, verb, cid] = parts;
    const chat = what === 'chats' ? this.chats.get(id) : null;
    const missing = { status: 404, error: { message: 'there is no such chat' } };
    if (what === 'session') return { accounts: false, user: null, empty: false };
    if (what === 'me')
      return {
        user: { id: 'u1', name: 'me', role: 'admin' },
        accounts: false,
        version: '0.1.0',
        models: [
          {
            id: 'gemma3-270m',
            name: 'Gemma 3 270M',
            context: 8192,
            tools: this.tools.length > 0,
            pictures: this.pictures,
          },
          { id: 'smollm2-135m-instruct', name: 'SmolLM2 135M', context: 2048 },
        ],
        default_model: 'gemma3-270m',
        pages: this.pages,
      };
    if (what === 'settings') return method === 'PUT' ? (this.settings = body) : this.settings;
    if (what === 'folders') return this.routeFolders(method, id, body);
    if (what === 'files') return this.routeFiles(method, id, query, body);
    if (what === 'tools') return { pages: this.pages, servers: this.tools };
    if (what === 'pages') return this.routePages(body.url);
    if (what === 'shared') {
      const share = this.shares.get(id);
      if (!share) return missing;
      if (sub !== 'copy') return share;
      const copy = this.addChat({ title: share.title, messages: structuredClone(share.messages) });
      copy.head = copy.messages.at(-1)?.id ?? null;
      return this.chatView(copy);
    }
    if (what !== 'chats') return missing;
    if (!id) return method === 'POST' ? this.chatView(this.addChat(body)) : this.list(query);
    if (sub === 'restore') {
      const back = this.gone.get(id);
      if (!back) return missing;
      this.chats.set(id, back);
      return this.chatView(back);
    }
    if (!chat) return missing;
    if (sub === 'share') {
      if (method === 'DELETE') return (this.shares.clear(), {});
      if (method === 'GET')
        return {
          shares: [...this.shares].flatMap(([token, s]) => (s.chat === id ? [{ ...s, token }] : [])),
          notes: [],
        };
      const token = this.id('share');
      this.shares.set(token, {
        chat: id,
        title: chat.title,
        created: chat.created,
        expires: now() + body.days * 86400,
        messages: structuredClone(this.path(chat)),
        likes: 0,
        liked: false,
        comments: true,
        notes: [],
      });
      return { token, expires: now() + body.days * 86400 };
    }
    if (sub === 'messages') return this.routeMessages(method, chat, mid, verb, body, cid) ?? missing;
    if (method === 'PATCH') {
      Object.assign(chat, body);
      this.emit('chat', { chat: this.chatView(chat) });
    }
    if (method === 'DELETE') {
      this.gone.set(id, chat);
      this.chats.delete(id);
      this.emit('deleted', { chat: id });
      return { deleted: true };
    }
    return method === 'GET'
      ? { chat: this.chatView(chat), messages: chat.messages, head: chat.head }
      : this.chatView(chat);
  }
  routePages(url) {
    const page = this.web[url];
    if (!page)
      return { status: 422, error: { message: `${url}: no`, code: 'page_not_allowed' } };
    const info = { id: this.id('file'), name: page.name, type: 'text/markdown', source: url };
    info.size = bytes(page.text);
    this.files.set(info.id, { info, text: page.text });
    return { ...info, url, cut: false };
  }
  /** What the person says to a call; then the next scripted text is written on. */
  routeCall(chat, message, cid, allow) {
    const call = message.calls?.find((c) => c.id === cid);
    if (!call) return null;
    if (call.state !== 'asked') return { status: 409, error: { message: 'decided already' } };
    call.state = allow === 'no' ? 'refused' : 'done';
    if (allow !== 'no') Object.assign(call, call.gives ?? { result: '돌아온 글', bytes: 13 });
    if (allow === 'always') chat.tools_always = [...(chat.tools_always ?? []), call.tool];
    this.emit('chat', { chat: this.chatView(chat) });
    if (message.calls.some((c) => c.state === 'asked')) {
      this.emit('message', { chat: chat.id, message });
      return message;
    }
    this.answer(chat, message, this.script.shift() ?? '그래서 이래요.');
    this.emit('message', { chat: chat.id, message });
    return message;
  }
  routeMessages(method, chat, mid, verb, body, cid) {
    if (!mid) {
      const files = (body.files ?? []).map((f) => this.files.get(f)?.info).filter(Boolean);
      const user = this.addMessage(chat, { parent: body.parent, content: body.content, files });
      const answer = this.begin(chat, user.id, body.content);
      this.emit('message', { chat: chat.id, message: user });
      return { user, answer: { ...answer } };
    }
    const message = chat.messages.find((m) => m.id === mid);
    if (!message) return null;
    if (verb === 'regenerate') {
      const asked = chat.messages.find((m) => m.id === message.parent);
      return this.begin(chat, message.parent, asked?.content ?? '');
    }
    if (verb === 'calls') return this.routeCall(chat, message, cid, body.allow);
    if (verb === 'continue') {
      this.answer(chat, message, this.script.shift() ?? ' 이어서.');
      return message;
    }
    if (verb === 'stop') message.end('stopped');
    if (method === 'PATCH') message.content = body.content;
    if (method === 'DELETE') {
      const below = new Set([mid]);
      for (const m of chat.messages) if (below.has(m.parent)) below.add(m.id);
      chat.messages = chat.messages.filter((m) => !below.has(m.id));
      chat.head = message.parent;
    }
    return message;
  }
  routeFolders(method, id, body) {
    if (!id && method === 'GET') return { folders: this.folders };
    if (!id) return (this.folders.push({ id: this.id('folder'), ...body }), this.folders.at(-1));
    const folder = this.folders.find((f) => f.id === id);
    if (method === 'DELETE') this.folders = this.folders.filter((f) => f.id !== id);
    return Object.assign(folder, body);
  }
  routeFiles(method, id, query, body) {
    if (method === 'GET') {
      const text = this.files.get(id)?.text;
      if (text === undefined) return { status: 404 };
      return query.get('as') ? { preview: query.get('as'), text } : text;
    }
    const info = {
      id: this.id('file'),
      name: query.get('name'),
      type: /^data:([^;]+)/.exec(body)?.[1] ?? 'text/plain',
      size: bytes(body),
    };
    this.files.set(info.id, { info, text: body });
    return info;
  }
  list(query) {
    const q = query.get('q')?.toLowerCase();
    const limit = Number(query.get('limit') ?? 50);
    const all = [...this.chats.values()].filter(
      (c) =>
        !c.temporary &&
        c.archived === (query.get('archived') === '1') &&
        (!query.get('folder') || c.folder === query.get('folder')) &&
        (!query.get('before') || c.updated < Number(query.get('before'))),
    );
    const hits = all
      .flatMap((c) => {
        if (!q) return [this.chatView(c)];
        const said = c.messages.find((m) => m.content.toLowerCase().includes(q));
        if (!said && !c.title.toLowerCase().includes(q)) return [];
        const at = said ? said.content.toLowerCase().indexOf(q) : 0;
        return [
          { ...this.chatView(c), snippet: said?.content.slice(Math.max(0, at - 12), at + 40) },
        ];
      })
      .sort((a, b) => b.updated - a.updated);
    return { chats: hits.slice(0, limit), more: hits.length > limit };
  }

  file(path, res) {
    const page = /^\/($|c\/|shared\/|settings|admin)/.test(path);
    const file = join(dist, normalize(page ? '/index.html' : path));
    if (!file.startsWith(dist)) return res.writeHead(404).end();
    try {
      statSync(file);
      res
        .writeHead(200, {
          'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
          'Content-Security-Policy': CSP,
          'X-Content-Type-Options': 'nosniff',
        })
        .end(readFileSync(file));
    } catch {
      res.writeHead(404).end();
    }
  }
  handle(req, res) {
    const url = new URL(req.url, 'http://localhost');
    if (!url.pathname.startsWith('/api/v1/')) return this.file(url.pathname, res);
    if (url.pathname === '/api/v1/events') {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      const last = req.headers['last-event-id'] ?? url.searchParams.get('last');
      if (last) this.resume(last, res);
      res.write(`: hello\nid: run-${this.sent}\n\n`);
      this.streams.add(res);
      req.on('close', () => this.streams.delete(res));
      return;
    }
    const chunks = [];
    req.on('data', (c) => chunks.push(c));
    req.on('end', () => {
      const raw = Buffer.concat(chunks).toString();
      const json = req.headers['content-type']?.startsWith('application/json');
      const body = raw && json ? JSON.parse(raw) : raw;
      const parts = url.pathname.slice(8).split('/').map(decodeURIComponent);
      this.requests.push({ method: req.method, path: url.pathname, body });
      const out = this.route(req.method, parts, url.searchParams, body);
      const status = out?.status > 99 ? out.status : 200;
      if (out?.preview)
        return res
          .writeHead(200, {
            'Content-Type': out.preview === 'html' ? 'text/html' : 'image/svg+xml',
            'Content-Security-Policy': PREVIEW,
          })
          .end(out.text);
      if (typeof out === 'string')
        return res.writeHead(200, { 'Content-Type': 'text/plain' }).end(out);
      res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(out));
    });
  }
  async start(port = 0) {
    this.server = createServer((req, res) => this.handle(req, res));
    await new Promise((ready) => this.server.listen(port, '127.0.0.1', ready));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
    return this;
  }
  drop() {
    for (const stream of this.streams) stream.destroy();
    this.streams.clear();
  }
  stop() {
    this.drop();
    for (const c of this.chats.values()) for (const m of c.messages) clearInterval(m.timer);
    this.server.close();
    this.server.closeAllConnections();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = new Mock();
  seed(mock);
  await mock.start(Number(process.argv[2] ?? 8123));
  console.log(mock.url);
}
