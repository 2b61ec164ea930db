// SPDX-License-Identifier: MIT
// How fast the web app is, in Debian's Chromium against the stand-in on loopback, with the limits it
// is held to: node tests/web/perf.mjs. The figures of docs/WEB.md come from here. A busy machine
// gives worse ones: run it alone.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ask, done, launch, open, root } from './drive.mjs';
import { Mock } from './mock.mjs';
import { LONG } from './seed.mjs';

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const results = [];
function tell(name, value, unit, limit) {
  results.push({ name, value, unit, limit, ok: value <= limit });
  console.log(`${name}: ${value} ${unit} (at most ${limit})`);
}

function firstLoad() {
  const html = readFileSync(join(root, 'web/dist/index.html'), 'utf8');
  const scripts = [...html.matchAll(/(?:src|href)="\/([^"]+\.js)"/g)].map((m) => m[1]);
  const size = scripts.map((s) => gzipSync(readFileSync(join(root, 'web/dist', s))).length);
  tell('first load, script, gzip', Math.round(size.reduce((a, b) => a + b) / 100) / 10, 'kB', 120);
}

/** From the address to a field that takes keys while the main thread is at rest, CPU 4x slower. */
async function interactive(browser, mock) {
  const times = [];
  for (let i = 0; i < 7; i++) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
    const page = await context.newPage();
    const cdp = await context.newCDPSession(page);
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: 4 });
    await page.addInitScript(() => {
      const look = () => {
        const field = document.querySelector('#say');
        if (!field || field.disabled) return setTimeout(look, 10);
        const asked = performance.now();
        // at rest: what is asked of the main thread happens at once
        setTimeout(() => {
          if (performance.now() - asked > 50) return look();
          window.ready = performance.now();
        }, 0);
      };
      look();
    });
    await page.goto(mock.url);
    await page.waitForFunction(() => window.ready);
    times.push(await page.evaluate(() => window.ready));
    await context.close();
  }
  tell('interactive, CPU 4x slower', Math.round(median(times)), 'ms', 1000);
}

/** Frames while a chat of 1,000 messages is scrolled as by a finger: those that come too late. */
async function scrolling(browser, mock) {
  const chat = mock.addChat({ title: '천 개의 글' });
  for (let i = 0; i < 1000; i++)
    mock.addMessage(
      chat,
      i % 2 ? { role: 'assistant', content: `${i}번 답이에요.\n\n${LONG}` } : { content: `물음 ${i}` },
    );
  const page = await open(browser, `${mock.url}c/${chat.id}`);
  await page.waitForSelector('.turn:last-child math');
  await page.waitForTimeout(1000);
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const tick = (now) => {
      window.frames_.push(now - last);
      last = now;
      window.raf = requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const began = performance.now();
  const cdp = await page.context().newCDPSession(page);
  const tasks = async () =>
    (await cdp.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value;
  await cdp.send('Performance.enable');
  const before = await tasks();
  await page.mouse.move(700, 400);
  for (let i = 0; i < 400; i++) {
    await page.mouse.wheel(0, i < 300 ? -120 : 120);
    await page.waitForTimeout(16);
  }
  const work = (await tasks()) - before;
  const wall = (performance.now() - began) / 1000;
  const frames = await page.evaluate(() => (cancelAnimationFrame(window.raf), window.frames_.slice(2)));
  const all = frames.reduce((n, ms) => n + Math.max(1, Math.round(ms / (1000 / 60))), 0);
  const lost = all - frames.length;
  console.log(
    `  ${frames.length} frames in ${wall.toFixed(1)} s, longest ${Math.round(Math.max(...frames))} ms, ` +
      `main thread ${((work / wall) * 100).toFixed(0)} %`,
  );
  tell('1,000 messages scrolled, frames lost', Math.round((lost / all) * 1000) / 10, '%', 2);
  await page.context().close();
}

/** What the page's process needs of a core while 200 tokens a second come. */
async function streaming(browser, mock) {
  const page = await open(browser, mock.url);
  const cdp = await browser.newBrowserCDPSession();
  const used = async () =>
    (await cdp.send('SystemInfo.getProcessInfo')).processInfo
      .filter((p) => p.type === 'renderer')
      .reduce((sum, p) => sum + p.cpuTime, 0);
  mock.rate = 200;
  const text = Array.from({ length: 8 }, () => LONG).join('\n\n');
  mock.script = [text];
  await ask(page, '길게 써 주세요.');
  await page.waitForSelector('.turn:last-child[data-status=running] .prose > *');
  const began = performance.now();
  const before = await used();
  await page.waitForTimeout(8000);
  const cpu = (await used()) - before;
  const wall = (performance.now() - began) / 1000;
  tell('200 tokens/s of Markdown, of a core', Math.round((cpu / wall) * 1000) / 10, '%', 20);
  await done(page);
  await page.context().close();
}

const mock = await new Mock().start();
const browser = await launch();
firstLoad();
const only = process.argv[2];
for (const measure of [interactive, scrolling, streaming])
  if (!only || measure.name === only) await measure(browser, mock);
await browser.close();
mock.stop();
const missed = results.filter((r) => !r.ok);
if (missed.length) console.log(`missed: ${missed.map((r) => r.name).join('; ')}`);
process.exit(missed.length ? 1 : 0);
