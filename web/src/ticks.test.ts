// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { biggest, ticks } from './ticks';

test('ticks are round, begin at 0 and reach the greatest value', () => {
  assert.deepEqual(ticks(214), [0, 100, 200, 300]);
  assert.deepEqual(ticks(300), [0, 100, 200, 300]);
  assert.deepEqual(ticks(0), [0, 1]);
  for (const most of [1e-3, 0.7, 1, 3, 7, 9.99, 10, 99, 101, 12345, 1e9]) {
    const all = ticks(most);
    assert.ok(all.at(-1)! >= most * (1 - 1e-9), `${most}: ${all}`);
    assert.ok(all.length >= 3 && all.length <= 5, `${most}: ${all}`);
  }
});

test('the biggest stand alone, one more than they are not made into a rest', () => {
  const rows = [
    ['a', 1],
    ['b', 5],
    ['a', 9],
    ['c', 2],
    ['d', 1],
    ['e', 1],
  ] as [string, number][];
  const by = (n: number) =>
    biggest(
      rows,
      (r) => r[0],
      (r) => r[1],
      n,
    );
  assert.deepEqual(by(2), { names: ['a', 'b'], rest: true });
  assert.deepEqual(by(4), { names: ['a', 'b', 'c', 'd', 'e'], rest: false });
});
