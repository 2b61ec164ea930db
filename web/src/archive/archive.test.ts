// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromChatGPT, line } from './chatgpt';
import { Splitter } from './split';

const split = (text: string, step: number, most = 1e6): (string | null)[] => {
  const out: (string | null)[] = [];
  const bytes = new TextEncoder().encode(text);
  const splitter = new Splitter(({ text: t }) => out.push(t), most);
  for (let i = 0; i < bytes.length; i += step) splitter.push(bytes.slice(i, i + step));
  return splitter.whole ? out : [...out, 'cut'];
};

test('an array is split wherever its bytes are cut', () => {
  const list = [{ a: '한글 ]}," \\ "', b: [1, [2]] }, 'x,]', 5, null, [], {}, { 가: '나"' }];
  const text = `\ufeff ${JSON.stringify(list, null, 1)}\n`;
  for (const step of [1, 2, 3, 7, 64, 1e6])
    assert.deepEqual(
      split(text, step).map((t) => JSON.parse(t!) as unknown),
      list,
    );
  assert.deepEqual(split('[]', 1), []);
  assert.deepEqual(split('[{"a":1}', 3), ['{"a":1}', 'cut']);
  assert.deepEqual(split(`[{"a":"${'x'.repeat(200)}"},7]`, 16, 100), [null, '7']);
  assert.throws(() => split('{"a":1}', 3));
  assert.throws(() => split('PK', 3));
});

const say = (role: string, content: unknown, more: object = {}) => ({
  author: { role },
  content: typeof content === 'string' ? { content_type: 'text', parts: [content] } : content,
  ...more,
});
const tree = (nodes: Record<string, [string | null, object | null]>, more: object = {}) => {
  const mapping = Object.fromEntries(
    Object.entries(nodes).map(([id, [parent, message]]) => [
      id,
      {
        id,
        parent,
        message,
        children: Object.keys(nodes).filter((k) => nodes[k]![0] === id),
      },
    ]),
  );
  return { title: '되와 돼', conversation_id: 'c1', create_time: 100.5, update_time: 200, mapping, ...more };
};

test('a tree of ChatGPT keeps its branches, its texts and where it stood', () => {
  const lost = { images: 0, tools: 0 };
  const got = fromChatGPT(
    tree(
      {
        root: [null, null],
        sys: ['root', say('system', '')],
        u1: ['sys', say('user', '‘되’와 ‘돼’?', { create_time: 101 })],
        a1: ['u1', say('assistant', '첫 답', { metadata: { model_slug: 'gpt-4o' } })],
        a2: ['u1', say('assistant', '다른 답')],
        u2: ['a2', say('user', { content_type: 'multimodal_text', parts: ['이 그림은?', { content_type: 'image_asset_pointer' }] })],
        think: ['u2', say('assistant', { content_type: 'thoughts', thoughts: [{ summary: '보기', content: '생각' }] })],
        call: ['think', say('assistant', { content_type: 'code', text: 'search()' }, { recipient: 'web' })],
        tool: ['call', say('tool', 'found')],
        a3: ['tool', say('assistant', '고양이\ue200cite\ue202turn0\ue201예요.')],
        a4: ['a3', say('assistant', '더 있어요.')],
        hid: ['a4', say('user', 'x', { metadata: { is_visually_hidden_from_conversation: true } })],
      },
      { current_node: 'hid' },
    ),
    lost,
  )!;
  assert.deepEqual(lost, { images: 1, tools: 2 });
  assert.equal(got.source, 'chatgpt:c1');
  assert.deepEqual(
    got.messages.map((m) => [m.id, m.parent, m.role, m.content, m.reasoning ?? '']),
    [
      ['u1', null, 'user', '‘되’와 ‘돼’?', ''],
      ['a1', 'u1', 'assistant', '첫 답', ''],
      ['a2', 'u1', 'assistant', '다른 답', ''],
      ['u2', 'a2', 'user', '이 그림은?', ''],
      ['a3', 'u2', 'assistant', '고양이예요.\n\n더 있어요.', '보기\n\n생각'],
    ],
  );
  assert.equal(got.head, 'a3');
  assert.equal(got.messages[1]!.model, 'gpt-4o');
  assert.equal(got.created, 100.5);
});
test('hostile and broken trees end', () => {
  const lost = { images: 0, tools: 0 };
  const loop = tree({ a: ['b', say('user', 'x')], b: ['a', say('user', 'y')] });
  assert.equal(fromChatGPT(loop, lost), null);
  const self = { mapping: { a: { parent: 'none', children: ['a', 'a', 5, null, 'zz'], message: say('user', 'x') } } };
  assert.equal(fromChatGPT(self, lost)!.messages.length, 1);
  for (const odd of [{ mapping: {} }, { mapping: { a: null } }, { mapping: { a: { message: 5 } } }, { mapping: { a: { message: { content: { parts: 5 } } } } }])
    assert.equal(fromChatGPT(odd, lost), null);
  const deep: Record<string, [string | null, object | null]> = {};
  for (let i = 0; i < 20_000; i++) deep[`n${i}`] = [i ? `n${i - 1}` : null, null];
  const mapping = Object.fromEntries(
    Object.keys(deep).map((id, i) => [id, { parent: i ? `n${i - 1}` : null, children: [`n${i + 1}`], message: say(i % 2 ? 'assistant' : 'user', String(i)) }]),
  );
  assert.equal(fromChatGPT({ mapping }, lost)!.messages.length, 20_000);
  assert.equal(line(' 한\n줄\u0000 '), '한 줄');
});
