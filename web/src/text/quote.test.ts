// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bare, nthAt, places } from './quote';

test('phrases are found whatever the white space, and told from their like', () => {
  assert.equal(bare(' 이제\n 가도\u00a0돼. '), '이제가도돼.');
  assert.deepEqual(places('돼돼돼', '돼돼'), [0]);
  assert.deepEqual(places('가나가나', '가나'), [0, 2]);
  assert.deepEqual(places('가나', ''), []);
  assert.equal(nthAt('가나다가나다', '가나', 3), 1);
  assert.equal(nthAt('가나다가나다', '가나', 0), 0);
  assert.equal(nthAt('가나다', '라', 0), 0);
});
