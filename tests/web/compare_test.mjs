// SPDX-License-Identifier: MIT
// Simulated chips in the web app, with the program itself: node tests/web/compare_test.mjs DAMSO.
// Needs DAMSO_TEST_MODELS. What the model says proves nothing: figures are compared with the server's.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, axe, close, launch, open, serve } from './drive.mjs';

const damso = resolve(process.argv[2]);
const skip = process.env.DAMSO_TEST_MODELS ? false : 'DAMSO_TEST_MODELS is not set';
let server, home, url, browser;

before(async () => {
  if (skip) return;
  home = mkdtempSync(join(tmpdir(), 'damso-compare-'));
  ({ child: server, url } = await serve(damso, ['-m', 'smollm2-135m-instruct', '--device', 'atom'], home, { DAMSO_CTX: '512', DAMSO_N: '40' }));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.kill('SIGTERM');
  if (server) assert.equal(await server.ended, 0);
  if (home) rmSync(home, { recursive: true });
});

test('an answer tells what the chip would have taken', { skip }, async () => {
  const page = await open(browser, url);
  assert.match(await page.locator('.on-chip').innerText(), /atom\s+모의/);
  await ask(page, '안녕하세요. 숫자를 세어 주세요.');
  await page.waitForSelector('.turn:last-child[data-status=done] .sim-line', { timeout: 120_000 });
  assert.match(await page.locator('.sim-line').innerText(), /atom\s*모의\s*첫 토큰 [\d.,]+ms\s*[\d,]+ 토큰\/초\s*[\d.,]+ J/);
  await close(page);
});

async function compared(page, first, second) {
  await page.waitForFunction(() => document.querySelectorAll('.compare-ask option').length > 20);
  await page.fill('[data-testid=compare-question]', 'Tell me about the sea.');
  await page.locator('.compare-ask select').nth(0).selectOption(first);
  await page.locator('.compare-ask select').nth(1).selectOption(second);
  const priced = page.waitForResponse((r) => r.url().endsWith('/api/v1/compare'), { timeout: 120_000 });
  await page.click('[data-testid=compare-ask]');
  const { chips } = await (await priced).json();
  await page.waitForSelector('[data-testid=compare-1]');
  return chips;
}

test('two chips write one answer, each at its speed', { skip }, async () => {
  const page = await open(browser, `${url}compare`, { lang: 'en-US' }, false);
  const [atom, x220] = await compared(page, 'atom', 'x220-compact');
  assert.ok(atom.tpot_ms < x220.tpot_ms);
  // the faster one is through first, while the other still writes
  await page.waitForSelector('[data-testid=compare-0][data-state=done]');
  assert.equal(await page.getAttribute('[data-testid=compare-1]', 'data-state'), 'writing');
  await page.waitForSelector('[data-testid=compare-1][data-state=done]', { timeout: 30_000 });
  const [a, b] = await page.locator('.duo .prose').allInnerTexts();
  assert.ok(a.length > 20);
  assert.equal(a, b);
  assert.match(await page.locator('[data-testid=compare-0] .fig.best').first().innerText(), /TTFT/);
  assert.match(await page.locator('.compare').innerText(), /This server computes in bf16, the chips in bf16, int8/);
  await axe(page, 'two chips');
  // nothing is kept
  const { chats } = await (await fetch(`${url}api/v1/chats`)).json();
  assert.ok(chats.every((c) => !c.temporary));
  await page.click('[data-testid=compare-play]');
  assert.notEqual(await page.getAttribute('[data-testid=compare-0]', 'data-state'), 'done');
  await close(page);
});

test('on a phone, in the dark, in Korean; the picker leads there', { skip }, async () => {
  const page = await open(browser, url, { phone: true, dark: true });
  await page.click('.pick');
  await page.getByText('두 칩 비교').click();
  await compared(page, 'rngd', 'l4');
  await page.waitForSelector('[data-testid=compare-1][data-state=done]', { timeout: 60_000 });
  assert.match(await page.locator('.compare').innerText(), /같은 수 체계\(bf16\)/);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
  await axe(page, 'two chips');
  await close(page);
});

test('what cannot be compared is said', { skip }, async () => {
  const page = await open(browser, `${url}compare`, { lang: 'en-US' }, false);
  await page.waitForFunction(() => document.querySelectorAll('.compare-ask option').length > 20);
  await page.click('[data-testid=compare-ask]');
  await page.getByText('Write a question.').waitFor();
  await page.fill('[data-testid=compare-question]', 'x');
  await page.locator('.compare-ask select').nth(1).selectOption('atom');
  await page.locator('.compare-ask select').nth(0).selectOption('atom');
  await page.click('[data-testid=compare-ask]');
  await page.getByText('Choose two different chips.').waitFor();
  await close(page);
});
