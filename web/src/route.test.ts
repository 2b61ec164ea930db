// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { href, parse } from './route';

test('addresses lead where they say, also those from before', () => {
  assert.deepEqual(parse('/', ''), { name: 'new' });
  assert.deepEqual(parse('/c/chat-%ED%95%9C', ''), { name: 'chat', id: 'chat-한' });
  assert.deepEqual(parse('/c/x/print', ''), { name: 'print', id: 'x' });
  assert.deepEqual(parse('/', '#/chat/x'), { name: 'chat', id: 'x' });
  assert.deepEqual(parse('/', '#/shared/t'), { name: 'shared', token: 't' });
  assert.deepEqual(parse('/', '#/join/t'), { name: 'join', token: 't' });
  assert.deepEqual(parse('/', '#/admin/keys'), { name: 'admin', tab: 'keys' });
  assert.deepEqual(parse('/settings/set_data', ''), { name: 'settings', at: 'set_data' });
  for (const odd of ['/c/', '/c/%E0%A4%A', '/shared', '/x/y', '//', ''])
    assert.deepEqual(parse(odd, ''), { name: 'new' });
  for (const path of ['/', '/c/a%2Fb', '/shared/t', '/admin', '/admin/keys', '/bench', '/compare', '/bench/a,b.json', '/settings', '/c/a/print'])
    assert.equal(href(parse(path, '')), path);
});
