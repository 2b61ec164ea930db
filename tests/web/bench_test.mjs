// SPDX-License-Identifier: MIT
// The page of measurements, with the program: node tests/web/bench_test.mjs DAMSO. Needs
// DAMSO_TEST_MODELS. Its folder has two runs of mlperf, two curves, one of a simulated chip, and
// hostile ones; both languages, a phone, dark, axe.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { axe, close, launch, open, serve } from './drive.mjs';

const damso = resolve(process.argv[2]);
const skip = process.env.DAMSO_TEST_MODELS ? false : 'DAMSO_TEST_MODELS is not set';
let server, home, url, browser;

const times = (p50) => ({ p50, p90: p50 * 1.4, p99: p50 * 2 });
const mlperf = (more) => ({
  benchmark: 'small', official_benchmark: false, scenario: 'Offline', mode: 'performance', verdict: 'VALID', why: null,
  model: '/m/smollm2.gguf', set_sha256: 'aa', queries: 320, answered: 320, tokens: 9000, seconds: 60, samples_per_s: 5.25,
  tokens_per_s: 151.5, latency_ms: times(900), ttft_ms: times(120.5), tpot_ms: times(14.25),
  histogram: { from_ms: 100, bar_ms: 50, counts: Array.from({ length: 40 }, (_, i) => (i * 37) % 11) },
  energy: { source: 'RAPL packages (powercap)', joules_per_token: 0.1234 },
  machine: { cpu: 'A processor', threads: 2, memory_gib: 15.5 }, build: { damso: '0.1.0', loadgen: '6.0.17' }, unix_time: 1795800000, ...more,
});
const curve = (scale) => ({
  url: 'http://127.0.0.1:8080', model: 'm', words: 128, answer: 64,
  levels: [1, 2, 4, 8, 16, 32, 64].map((clients, i) => ({
    clients, rate: 0, requests: 4 * clients, errors: 0, tokens: 64, seconds: 1, system_tps: scale * 60 * (i + 1), user_tps: (scale * 70) / (i + 1),
    ttft_ms: times(50 * clients), tpot_ms: times(14 + i), pareto: i !== 6,
  })),
});

function lay(folder) {
  const write = (name, o) => {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), JSON.stringify(o));
  };
  write('offline/run.json', mlperf({}));
  write('slower/run.json', mlperf({ verdict: 'INVALID', why: 'LoadGen says INVALID', tokens_per_s: 80, energy: { source: null } }));
  write('chip/run.json', mlperf({ machine: { cpu: 'A processor', threads: 2, device: { title: 'Chip One' } } }));
  write('today.json', curve(1));
  write('before.json', curve(0.7));
  const bad = '<img src=x onerror=alert(1)>';
  write('hostile/run.json', mlperf({ benchmark: bad, scenario: bad, verdict: bad, model: bad, tokens_per_s: 'x', latency_ms: 3, histogram: { counts: [bad, null, -1] }, energy: 1, machine: bad }));
  write('hostile.json', { levels: [null, 3, { user_tps: 'x' }, { user_tps: 1e308, system_tps: 1e308, ttft_ms: bad }], url: bad });
}

before(async () => {
  if (skip) return;
  home = mkdtempSync(join(tmpdir(), 'damso-bench-'));
  lay(join(home, 'runs'));
  const begun = await serve(damso, ['--runs', join(home, 'runs')], home, { DAMSO_CTX: '2048' });
  server = begun.child;
  url = begun.url.slice(0, -1);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.kill();
  if (home) rmSync(home, { recursive: true });
});

const at = (page, path, wait) => page.goto(`${url}${path}`).then(() => page.waitForSelector(wait));

test('a list, and runs side by side', { skip }, async () => {
  const page = await open(browser, `${url}/bench`, {}, false);
  await page.waitForSelector('.runs tbody tr');
  assert.equal(await page.locator('.runs tbody tr').count(), 7);
  assert.match(await page.textContent('.note-box'), /Result not verified by MLCommons Association/);
  assert.equal(await page.locator('.runs .tag.sim').count(), 1);
  assert.match(await page.textContent('.runs tr:has-text("chip")'), /모의/);
  await axe(page, 'the list');
  await page.check('input[aria-label="offline 고르기"]');
  await page.waitForSelector('.side-by');
  await page.check('input[aria-label="slower 고르기"]');
  await page.waitForSelector('.side-by thead th:nth-child(3)');
  assert.match(page.url(), /\/bench\/offline,slower$/);
  const said = await page.textContent('.side-by');
  for (const part of ['151.5', '80.0', '120.5 / 168.7 / 241', '14.25', '0.1234 J', '재지 않음', 'INVALID', 'A processor', 'LoadGen 6.0.17'])
    assert.ok(said.includes(part), `${part} in ${said}`);
  assert.match(await page.textContent('.page'), /어떻게 끝났는지: LoadGen says INVALID/);
  await page.locator('.figure:has(rect.pt)').nth(1).waitFor(); // drawn once its width is known
  assert.equal(await page.locator('svg.chart rect.pt').count(), 80); // two histograms of 40 bars
  await page.uncheck('input[aria-label="slower 고르기"]');
  await page.waitForURL(/\/bench\/offline$/);
  await page.goBack();
  await page.waitForSelector('.side-by thead th:nth-child(3)');
  await close(page);
});

test('curves of two, as a chart and as a table', { skip }, async () => {
  const page = await open(browser, `${url}/bench/today.json,before.json`, { dark: true }, false);
  await page.waitForSelector('.figure svg.chart g.s2 .pt');
  assert.equal(await page.locator('.figure svg.chart g.s1 .pt').count(), 7);
  assert.equal(await page.locator('.figure svg.chart .pt.hollow').count(), 2); // not on the curve
  await axe(page, 'curves, dark');
  await page.locator('.figure .b.sm').first().click();
  await page.waitForSelector('.figure table');
  assert.match(await page.textContent('.figure table'), /today\.json, 1.*70\.0.*60\.0/s);
  // Curves and runs of mlperf are not the same thing.
  await at(page, '/bench/today.json,offline', '.side-by');
  await page.waitForFunction(() => /바로 견줄 수 없어요/.test(document.body.textContent));
  await close(page);
});

test('a phone, in English', { skip }, async () => {
  const page = await open(browser, `${url}/bench/offline,chip`, { lang: 'en-US', phone: true }, false);
  await page.waitForSelector('.side-by');
  assert.match(await page.textContent('.page'), /How many people/);
  assert.match(await page.textContent('.side-by'), /simulated: Chip One/);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} px too wide`);
  await axe(page, 'a phone');
  await close(page);
});

test('hostile files and runs that are not there', { skip }, async () => {
  const page = await open(browser, `${url}/bench/hostile,hostile.json,nothing`, {}, false);
  await page.waitForSelector('[role=alert]');
  assert.match(await page.textContent('[role=alert]'), /nothing/);
  await page.waitForSelector('.side-by');
  assert.equal(await page.locator('.page img').count(), 0);
  await axe(page, 'hostile files');
  await close(page, /status of 404/);
});
