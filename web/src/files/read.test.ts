// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutAt, decode, isLong } from './read';

test('UTF-8, UTF-16 and EUC-KR are text', () => {
  assert.equal(decode(new TextEncoder().encode('담소,1')), '담소,1');
  assert.equal(decode(new Uint8Array([0xff, 0xfe, 0xf4, 0xb2])), '담');
  assert.equal(decode(new Uint8Array([0xb4, 0xe3, 0xbc, 0xd2])), '담소');
});
test('what is not text is not', () => {
  assert.equal(decode(new Uint8Array([0x7f, 0x45, 0, 1])), null);
  assert.equal(decode(new Uint8Array([0xff, 0xff, 0xff])), null);
});
test('a short text is not cut', () => assert.equal(cutAt('짧은 글', 100), 4));
test('a long text is cut at a line near the limit', () => {
  const text = '가나다라마바사 아자\n'.repeat(1000);
  const at = cutAt(text, 1500);
  const size = new TextEncoder().encode(text.slice(0, at)).length;
  assert.equal(text[at - 1], '\n');
  assert.ok(size <= 1500 && size > 1400);
});
test('no cut inside a pair', () => {
  const text = '😀'.repeat(2000);
  for (const max of [301, 302, 303]) assert.equal(cutAt(text, max) % 2, 0);
});
test('what a model hardly reads whole is told before', () => {
  assert.equal(isLong('짧은 글', 2048), false);
  assert.equal(isLong('길고 긴 글이에요.\n'.repeat(500), 2048), true);
});
