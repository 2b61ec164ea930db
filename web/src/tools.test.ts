// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call } from './api';
import { addressIn, argumentsOf, partsOf } from './tools';

const call = (at: number, round: number): Call => ({
  id: `${at}-${round}`,
  tool: 's__x',
  server: 's',
  name: 'x',
  title: '',
  arguments: '{}',
  at,
  round,
  state: 'done',
});

test('an answer is cut where its calls were made, by bytes', () => {
  assert.deepEqual(partsOf('글', []), [{ text: '글', calls: [] }]);
  const calls = [call(6, 1), call(6, 1), call(6, 2), call(9, 3)];
  assert.deepEqual(
    partsOf('찾아볼게요', calls).map((p) => [p.text, p.calls.length]),
    [
      ['찾아', 2],
      ['', 1],
      ['볼', 1],
      ['게요', 0],
    ],
  );
  // what a text that is still coming does not have yet is no fault
  assert.deepEqual(
    partsOf('a', [call(50, 1)]).map((p) => p.text),
    ['a', ''],
  );
});
test('arguments are names and values, or what they are', () => {
  assert.deepEqual(argumentsOf('{"a":"b","n":[1]}'), [
    ['a', 'b'],
    ['n', '[\n 1\n]'],
  ]);
  assert.equal(argumentsOf('{"a":'), '{"a":');
  assert.equal(argumentsOf('[1]'), '[1]');
});
test('an address is found in what is written', () => {
  assert.equal(addressIn('https://a.example/x?y=1'), 'https://a.example/x?y=1');
  assert.equal(addressIn('이 글(https://a.example/뉴스)을 봐 주세요.'), 'https://a.example/뉴스');
  assert.equal(addressIn('see http://a.example.'), 'http://a.example');
  assert.equal(addressIn('file:///etc/passwd javascript:x'), null);
  assert.equal(addressIn('xhttps://a.example'), null);
  assert.equal(addressIn('글'), null);
});
