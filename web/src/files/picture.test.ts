// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitted, isDataPicture, isPicture } from './picture';

test('drawings that may hold programs are no pictures', () => {
  assert.ok(isPicture({ type: 'image/png' }));
  assert.ok(isPicture({ type: 'image/avif' }));
  assert.ok(!isPicture({ type: 'image/svg+xml' }));
  assert.ok(!isPicture({ type: 'text/plain' }));
});
test('large pictures are kept smaller, in their shape', () => {
  assert.deepEqual(fitted(800, 600), [800, 600]);
  assert.deepEqual(fitted(4000, 3000), [1536, 1152]);
  assert.deepEqual(fitted(100000, 3), [1536, 1]);
});
test('only what the app itself wrote is shown as a picture', () => {
  assert.ok(isDataPicture('data:image/png;base64,iVBORw0KGgo='));
  assert.ok(!isDataPicture('data:image/svg+xml;base64,iVBORw0KGgo='));
  assert.ok(!isDataPicture('data:text/html,<script>'));
  assert.ok(!isDataPicture('https://example.org/a.png'));
});
