// SPDX-License-Identifier: MIT
// What the tests of the web app share: a browser, pages that note what went wrong, Korean typing.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const require = createRequire(join(root, 'build/clients/package.json'));
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
);

/** What the pattern catches in the first of a stream's lines that has it. */
export async function caught(stream, pattern) {
  for await (const line of createInterface({ input: stream })) {
    const found = pattern.exec(line);
    if (found) return found[1];
  }
  throw new Error('the server did not start');
}

/** `damso serve` at a free port, at home in a folder; child.ended is its exit status. */
export async function serve(damso, args, home, more = {}, stderr = 'inherit') {
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    DAMSO_MODELS_DIR: process.env.DAMSO_TEST_MODELS,
    DAMSO_STORE: `sqlite:${home}/store.db`,
    ...more,
  };
  for (const name of ['DAMSO_CPU', 'DAMSO_SANDBOX', 'ASAN_OPTIONS', 'TSAN_OPTIONS'])
    if (process.env[name]) env[name] = process.env[name];
  const child = spawn(damso, ['serve', '--port', '0', ...args], { env, stdio: ['ignore', 'pipe', stderr] });
  child.ended = new Promise((ended) => child.on('exit', ended));
  return { child, url: `${await caught(child.stdout, / at (http:\S+)/)}/` };
}

export async function launch() {
  const { chromium } = require('playwright-core');
  return chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

/** A page in a profile of its own; faults collect in page.faults, foreign addresses too. */
export async function open(
  browser,
  url,
  { lang = 'ko-KR', phone = false, dark = false } = {},
  wait = true,
) {
  const context = await browser.newContext({
    locale: lang,
    colorScheme: dark ? 'dark' : 'light',
    hasTouch: phone,
    isMobile: phone,
    viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 860 },
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const page = await context.newPage();
  page.faults = [];
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => page.faults.push(`uncaught: ${error.message}`));
  page.on('console', (line) => line.type() === 'error' && page.faults.push(line.text()));
  page.on('request', (request) => {
    const at = new URL(request.url());
    if (at.protocol.startsWith('http') && at.origin !== new URL(url).origin)
      page.faults.push(`asks ${at.origin}`);
  });
  await page.goto(url);
  if (wait) await page.waitForSelector('#say, .shared, .hello');
  return page;
}
export async function close(page, ignore = /$^/) {
  const faults = page.faults.filter((f) => !ignore.test(f));
  await page.context().close();
  assert.deepEqual(faults, []);
}

/** Korean as an input method types it: through CDP, so that the page sees a true composition. */
export async function compose(page, steps) {
  const cdp = await page.context().newCDPSession(page);
  for (const text of steps)
    await cdp.send('Input.imeSetComposition', {
      text,
      selectionStart: text.length,
      selectionEnd: text.length,
    });
  const key = (keyCode, name) =>
    cdp.send('Input.dispatchKeyEvent', {
      type: 'rawKeyDown',
      key: name,
      code: 'Enter',
      windowsVirtualKeyCode: keyCode,
      nativeVirtualKeyCode: keyCode,
    });
  return {
    commit: (text) => cdp.send('Input.insertText', { text }),
    imeEnter: () => key(229, 'Process'),
    enter: () => page.keyboard.press('Enter'),
  };
}

export async function axe(page, name) {
  const source = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
  const cdp = await page.context().newCDPSession(page); // past the page's own policy
  await cdp.send('Runtime.evaluate', { expression: source });
  const { result } = await cdp.send('Runtime.evaluate', {
    expression: `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
      'best-practice'] }).then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.impact,
      v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? ''))])))`,
    awaitPromise: true,
    returnByValue: true,
  });
  const found = JSON.parse(result.value);
  assert.deepEqual(found, [], `axe on ${name}: ${JSON.stringify(found, null, 1)}`);
}

export const last = (page) => page.locator('.turn').last();
export const done = (page, status = 'done') =>
  page.waitForSelector(`.turn:last-child[data-status=${status}]`, { timeout: 30_000 });
export async function ask(page, text) {
  await page.fill('#say', text);
  await page.keyboard.press('Enter');
}

/** A PDF of one line, by hand. */
export function pdf(text) {
  const parts = [
    '<</Type/Catalog/Pages 2 0 R>>',
    '<</Type/Pages/Kids[3 0 R]/Count 1>>',
    '<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>',
    `<</Length ${text.length + 31}>>stream\nBT /F1 18 Tf 20 100 Td (${text}) Tj ET\nendstream`,
    '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>',
  ];
  let out = '%PDF-1.4\n';
  const at = parts.map((part, i) => {
    const offset = out.length;
    out += `${i + 1} 0 obj\n${part}\nendobj\n`;
    return `${String(offset).padStart(10, '0')} 00000 n \n`;
  });
  const xref = out.length;
  out += `xref\n0 6\n0000000000 65535 f \n${at.join('')}trailer<</Size 6/Root 1 0 R>>\nstartxref\n${xref}\n%%EOF`;
  return Buffer.from(out, 'latin1');
}
/** A ZIP of the files, as ChatGPT's export is one. */
export function zipOf(files) {
  const { zipSync, strToU8 } = createRequire(join(root, 'web/package.json'))('fflate');
  return Buffer.from(
    zipSync(Object.fromEntries(Object.entries(files).map(([k, v]) => [k, strToU8(v)]))),
  );
}
/** A Word document with the paragraphs, by hand: a stored ZIP of one file. */
export function docx(paragraphs) {
  const { crc32 } = zip;
  const name = Buffer.from('word/document.xml');
  const body = Buffer.from(
    '<?xml version="1.0"?><w:document xmlns:w=' +
      '"http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>' +
      paragraphs.map((p) => `<w:p><w:r><w:t>${p}</w:t></w:r></w:p>`).join('') +
      '</w:body></w:document>',
  );
  const head = Buffer.alloc(30);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(20, 4);
  head.writeUInt32LE(crc32(body), 14);
  head.writeUInt32LE(body.length, 18);
  head.writeUInt32LE(body.length, 22);
  head.writeUInt16LE(name.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(20, 4);
  central.writeUInt16LE(20, 6);
  head.copy(central, 16, 14, 28);
  central.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length + name.length, 12);
  end.writeUInt32LE(head.length + name.length + body.length, 16);
  return Buffer.concat([head, name, body, central, name, end]);
}
const zip = {
  crc32(data) {
    let crc = ~0;
    for (const byte of data) {
      crc ^= byte;
      for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
    }
    return ~crc >>> 0;
  },
};
