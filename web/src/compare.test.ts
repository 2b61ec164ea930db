// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOf, slowness, textAt, ticksOf, tokensAt } from './compare';
import type { ChipRun } from './api';

const run = { ttft_ms: 10, tpot_ms: 2 } as ChipRun;

test('tokens come at the times that the chip says', () => {
  assert.equal(endOf(run, 5), 18);
  assert.deepEqual([0, 9.9, 10, 11.9, 12, 18, 99].map((ms) => tokensAt(run, 5, ms)), [0, 0, 1, 1, 2, 5, 5]);
  assert.equal(tokensAt({ ...run, tpot_ms: null }, 1, 10), 1);
});

test('text is cut between whole characters', () => {
  assert.equal(textAt('가나다라', 1, 2), '가나');
  assert.equal(textAt('😀😀', 1, 2), '😀');
  assert.equal(textAt('가나', 0, 2), '');
  assert.equal(textAt('가나', 2, 2), '가나');
});

test('what is too fast is slowed down until it can be watched, in round numbers', () => {
  assert.equal(slowness(5000), 1);
  assert.equal(slowness(3000), 2);
  assert.equal(slowness(900), 5);
  assert.equal(slowness(50), 100);
  for (const ms of [0.3, 7, 44, 130, 2100]) assert.ok(slowness(ms) * ms >= 4000);
});

test('a lane has no more ticks than places', () => {
  assert.equal(ticksOf(run, 5, 99, 10).length, 5);
  assert.ok(ticksOf(run, 5000, 99999, 0.01).length <= 100);
  assert.deepEqual(ticksOf(run, 5, 12, 1), [10, 12]);
});
