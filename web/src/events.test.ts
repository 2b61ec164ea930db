// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { join } from './events';
import { afterBytes, utf8Length } from './utf8';

test('lengths are bytes of UTF-8', () => {
  for (const s of ['', 'abc', '담소', '값 é', '👩‍👩‍👧', '가a나'])
    assert.equal(utf8Length(s), Buffer.byteLength(s), s);
});
test('a delta that fits is added', () => assert.equal(join('담', 3, '소', 3), '담소'));
test('a delta that is there already is not', () => assert.equal(join('담소', 6, '소', 3), '담소'));
test('a delta that overlaps adds the rest', () =>
  assert.equal(join('담소', 6, '소 하나', 3), '담소 하나'));
test('a gap asks for the whole', () => assert.equal(join('담', 3, '나', 6), null));
test('an overlap inside a character asks for the whole', () =>
  assert.equal(join('ab', 2, '담소', 1), null));
test('afterBytes ends on characters', () => {
  assert.equal(afterBytes('👍가', 4), '가');
  assert.equal(afterBytes('가나', 6), '');
  assert.equal(afterBytes('가나', 7), null);
});
