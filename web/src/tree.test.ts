// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tree } from './tree';

const node = (id: string, parent: string | null) => ({ id, parent, created: 0 });
const ids = (nodes: { id: string }[]) => nodes.map((n) => n.id).join('');
// a - b - c - d
//   \ B - C    (another answer to a)
const tree = () =>
  new Tree([
    node('a', null),
    node('b', 'a'),
    node('c', 'b'),
    node('d', 'c'),
    node('B', 'a'),
    node('C', 'B'),
  ]);

test('the path is from the root to the head', () => assert.equal(ids(tree().path('d')), 'abcd'));
test('an unknown head shows nothing', () => assert.equal(ids(tree().path('x')), ''));
test('siblings are in order of arrival', () => assert.deepEqual(tree().siblings('b'), ['b', 'B']));
test('a switch leads to the newest leaf', () => {
  assert.equal(tree().leaf('B'), 'C');
  assert.equal(tree().leaf('b'), 'd');
});
test('a removal takes what follows, and no more', () => {
  const t = tree();
  t.remove('b');
  assert.equal(ids(t.all()), 'aBC');
  assert.deepEqual(t.siblings('B'), ['B']);
});
test('a circle of parents does not hang', () => {
  const t = new Tree([node('a', 'b'), node('b', 'a')]);
  assert.equal(t.path('a').length, 2);
});
