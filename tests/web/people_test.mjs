// SPDX-License-Identifier: MIT
// Accounts in the web app, with the program and a real small model: node tests/web/people_test.mjs
// DAMSO. Needs DAMSO_TEST_MODELS. The first admin, an invitation and a second browser profile,
// what is refused, the admin's page, both languages, a phone, dark, axe on every page.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, axe, caught, close, launch, open, serve } from './drive.mjs';

const damso = resolve(process.argv[2]);
const skip = process.env.DAMSO_TEST_MODELS ? false : 'DAMSO_TEST_MODELS is not set';
const PASSWORD = '고래가 부르는 노래를 들었다';
// The browser notes each answer that refuses; the app, what it asked when the page was closed.
const REFUSED = /status of 4\d\d|서버에 닿지 못했어요/;
let server, home, url, setup, browser, boss;

async function start(args, more = {}) {
  const begun = await serve(damso, args, home, { DAMSO_CTX: '2048', ...more }, 'pipe');
  return { ...begun, link: caught(begun.child.stderr, /(#\/join\/\S+)/) };
}
const fill = async (page, name, password) => {
  if (name !== null) await page.fill('input[name=name]', name);
  await page.fill('input[name=password]', password);
  await page.click('button.main');
};
/** A page of one who logs in by name. */
async function come(name, password, how) {
  const page = await open(browser, url, how, false);
  await page.waitForSelector('input[name=name]');
  await fill(page, name, password);
  await page.waitForSelector('#say');
  return page;
}
async function invite(note, role) {
  await boss.goto(`${url}admin/people`);
  await boss.click('text=부르기');
  await boss.fill('input[name=note]', note);
  if (role) await boss.click('.seg label:has-text("관리자")');
  await boss.click('text=초대 주소 만들기');
  const link = await boss.inputValue('.once input');
  await boss.click('text=적어 뒀어요');
  return link;
}
const menuOf = async (name, item) => {
  await boss.click(`tr:has-text("${name}") .menu button`);
  await boss.click(`[role=menuitem]:has-text("${item}")`);
};
const rowOf = (name) => boss.locator('tr', { hasText: name });

if (!skip) {
  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'damso-people-'));
    const begun = await start(['-m', 'smollm2-135m-instruct', '--accounts']);
    ({ child: server, url } = begun);
    setup = await begun.link;
    browser = await launch();
  });
  after(async () => {
    await boss?.context().close();
    await browser?.close();
    server.kill('SIGTERM');
    assert.equal(await server.ended, 0);
    rmSync(home, { recursive: true });
  });
}

test('before there is anybody the page says how one begins', { skip }, async () => {
  const page = await open(browser, url, {}, false);
  await page.waitForSelector('text=아직 아무도 자리가 없어요');
  await axe(page, 'empty');
  await close(page);
});

test('the first admin comes by the link that the server showed', { skip }, async () => {
  boss = await open(browser, url + setup, {}, false);
  await boss.waitForSelector('text=첫걸음이에요');
  await axe(boss, 'join');
  await fill(boss, '하늘', '짧다');
  assert.equal(await boss.locator('input[name=password]:invalid').count(), 1);
  await fill(boss, '하늘', PASSWORD);
  await boss.waitForSelector('#say');
  assert.equal(new URL(boss.url()).pathname, '/');
  await boss.waitForSelector('.me-row :text("하늘")');
  await boss.goto(url + setup); // used up
  await boss.reload();
  await boss.waitForSelector('text=쓸 수 없는 주소예요');
  await boss.click('text=들어가는 곳으로');
  await boss.waitForSelector('#say'); // there is a session
  await ask(boss, 'What is the capital of Korea?');
  await boss.waitForSelector('.turn:last-child:not([data-status=running])', { timeout: 120_000 });
});

test('who is invited makes a place in another browser profile, in English', { skip }, async () => {
  const link = await invite('가족');
  await boss.waitForSelector('tr:has-text("가족")');
  const guest = await open(browser, link, { lang: 'en-US' }, false);
  await guest.waitForSelector('text=You are invited');
  await fill(guest, '하늘', PASSWORD);
  await guest.waitForSelector('[role=alert]:has-text("This name is taken")');
  await fill(guest, 'Bom', PASSWORD);
  await guest.waitForSelector('#say');
  assert.equal(await guest.locator('.side .row').count(), 0); // nothing of the admin's
  assert.equal(await guest.locator('a[href="/admin"]').count(), 0);
  await guest.goto(`${url}admin`);
  await guest.waitForSelector('text=This page is for admins.');
  await close(guest, REFUSED);
  await boss.reload();
  await boss.waitForSelector('tr:has-text("Bom")');
  assert.equal(await boss.locator('tr:has-text("가족")').count(), 0); // used up
});

test('logging in: wrong, waiting, right; the language and the look switch', { skip }, async () => {
  const page = await open(browser, url, { dark: true }, false);
  await page.waitForSelector('text=어서 오세요');
  await axe(page, 'login, dark');
  await page.click('[aria-label="영어로 바꾸기"]');
  await page.waitForSelector('h1:has-text("Welcome back")');
  await page.click('[aria-label="Switch to Korean"]');
  await page.click('[aria-label="밝게 보기"]');
  await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished)));
  await axe(page, 'login, light');
  await page.press('input[name=name]', 'Tab');
  assert.equal(await page.evaluate(() => document.activeElement.name), 'password');
  await page.click('[aria-label="비밀번호 보기"]');
  assert.equal(await page.getAttribute('input[name=password]', 'type'), 'text');
  await page.click('[aria-label="비밀번호 가리기"]');
  for (let n = 0; n < 6; n++) {
    await fill(page, 'bom', `wrong wrong ${n}`);
    await page.waitForSelector('[role=alert]:has-text("이름이나 비밀번호가 달라요.")');
    await page.waitForSelector('button.main:not([disabled])');
  }
  await fill(page, 'bom', PASSWORD);
  await page.waitForSelector('[role=alert]:has-text("초 뒤에 다시 해 주세요")');
  assert.ok(await page.isDisabled('button.main'));
  await page.waitForSelector('button.main:not([disabled])'); // counted down
  await fill(page, 'BOM', PASSWORD);
  await page.waitForSelector('#say');
  await close(page, REFUSED);
});

test('one’s own account: name, password, devices, keys, the way out', { skip }, async () => {
  const page = await come('bom', PASSWORD);
  const other = await come('bom', PASSWORD, { phone: true });
  const settings = async (p) => {
    await p.click('.me-row [aria-label="설정"]');
    await p.click('nav .row:has-text("내 계정")');
    await p.waitForSelector('.account');
  };
  await settings(page);
  await axe(page, 'account');
  assert.ok((await page.locator('.devices li').count()) >= 2);
  await page.fill('.account input[name=name]', '봄');
  await page.click('.account .add button');
  await page.waitForSelector('.me-row :text("봄")');
  await page.fill('.make-key input[name=name]', '노트북');
  await page.click('.make-key button.line');
  const key = await page.inputValue('.once input');
  assert.match(key, /^damso-\w{51}$/);
  const models = (k) =>
    fetch(`${url}v1/models`, { headers: { Authorization: `Bearer ${k}` } }).then((r) => r.status);
  assert.equal(await models(key), 200);
  await axe(page, 'a new key');
  await page.click('text=적어 뒀어요');
  await page.click('li:has-text("노트북") .risk');
  await page.click('.dialog:not(.wide) .risk');
  await page.waitForSelector('text=‘노트북’ 열쇠를 거두었어요.');
  while ((await models(key)) === 200) await new Promise((r) => setTimeout(r, 50));

  await page.click('.account button:has-text("비밀번호 바꾸기")');
  await page.fill('input[name=old]', 'not this one');
  await page.fill('input[name=new]', `${PASSWORD}.`);
  await page.click('.account form button.main');
  await page.waitForSelector('[role=alert]:has-text("지금 비밀번호가 달라요.")');
  await page.fill('input[name=old]', PASSWORD);
  await page.fill('input[name=new]', `${PASSWORD}.`);
  await page.click('.account form button.main');
  await page.waitForSelector('text=비밀번호를 바꿨어요.');
  assert.equal(await page.locator('.devices li').count(), 1);
  await other.waitForSelector('text=어서 오세요', { timeout: 20_000 }); // out, by itself
  await page.click('.account button:has-text("나가기")');
  await page.waitForSelector('text=어서 오세요');
  await page.goBack();
  await page.waitForSelector('text=어서 오세요');
  await close(page, REFUSED);
  await close(other, REFUSED);
});

test('the admin’s page: now, models, usage as chart and table', { skip }, async () => {
  await boss.goto(`${url}admin`);
  await boss.waitForSelector('.chart .ln', { state: 'attached' });
  await axe(boss, 'admin');
  await boss.focus('.chart-focus');
  await boss.keyboard.press('t');
  await boss.waitForSelector('.figure table');
  await axe(boss, 'admin, table');
  await boss.keyboard.press('Escape');
  await boss.goto(`${url}admin/models`);
  await boss.click('[aria-label="smollm2-135m-instruct 내리기"]');
  await boss.waitForSelector('td :text("내려와 있음")');
  await axe(boss, 'models');
  await boss.click('[aria-label="smollm2-135m-instruct 올리기"]');
  await boss.waitForSelector('td :text("올라와 있음")', { timeout: 30_000 });
  await boss.goto(`${url}admin/usage`);
  await boss.waitForSelector('.f1', { timeout: 20_000 });
  await axe(boss, 'usage');
  const usage = async () => (await boss.request.get(`${url}api/v1/admin/usage`)).json();
  let rows = (await usage()).rows;
  for (; !rows.length; rows = (await usage()).rows) await new Promise((r) => setTimeout(r, 100));
  await boss.reload();
  await boss.click('button:has-text("표로 보기")');
  const total = rows.reduce((n, r) => n + r.prompt_tokens + r.answer_tokens, 0);
  const shown = await boss.locator('.data td:last-child').first().innerText();
  assert.equal(Number(shown.replace(/\D/g, '')), total);
  await boss.click('.seg label:has-text("사람별")');
  await boss.waitForSelector('.legend :text("하늘")');
});

test('the admin’s page: a user is limited, made admin, disabled, let in again', { skip }, async () => {
  await boss.goto(`${url}admin/people`);
  await boss.waitForSelector('tr:has-text("봄")');
  await axe(boss, 'people');
  await menuOf('봄', '한도 정하기');
  await axe(boss, 'limits');
  await boss.fill('input[name=requests_minute]', '500');
  await boss.click('dialog button.main');
  await rowOf('봄').locator('text=요청 500/분').waitFor();
  const guest = await come('봄', `${PASSWORD}.`);
  await menuOf('봄', '관리자로 바꾸기');
  await boss.click('dialog .risk');
  await rowOf('봄').locator('text=관리자').waitFor();
  await menuOf('봄', '구성원으로 바꾸기');
  await rowOf('봄').locator('text=구성원').waitFor();
  await menuOf('하늘', '구성원으로 바꾸기');
  await boss.waitForSelector('text=관리자가 한 명은 있어야 해요.');
  await menuOf('봄', '막기');
  await boss.waitForSelector('text=봄 님을 막을까요?');
  await boss.click('dialog .risk');
  await rowOf('봄').locator('.state:has-text("막음")').waitFor();
  await guest.waitForSelector('text=어서 오세요', { timeout: 20_000 });
  await fill(guest, '봄', `${PASSWORD}.`);
  await guest.waitForSelector('[role=alert]:has-text("막아 둔 계정이에요")');
  await menuOf('봄', '막기 풀기');
  await boss.waitForSelector('text=봄 님을 풀었어요.');
  await menuOf('봄', '비밀번호 새로');
  const link = await boss.inputValue('.once input');
  await boss.click('text=적어 뒀어요');
  await guest.goto(link);
  await guest.reload();
  await guest.waitForSelector('text=봄 님의 비밀번호를 새로 정해요');
  await axe(guest, 'reset');
  await fill(guest, null, PASSWORD);
  await guest.waitForSelector('#say');
  await close(guest, REFUSED);
});

test('keys of the server; an invitation is taken back', { skip }, async () => {
  await boss.goto(`${url}admin/keys`);
  await boss.click('button:has-text("새 열쇠")');
  await axe(boss, 'new key');
  await boss.fill('.make-key input[name=name]', '사내 챗봇');
  await boss.check('input[value=metrics]');
  await boss.click('.make-key button.line');
  await boss.waitForSelector('.once');
  await boss.click('text=적어 뒀어요');
  await boss.keyboard.press('Escape');
  const row = boss.locator('tr', { hasText: '사내 챗봇' });
  await row.locator('text=대화, 모델 목록, 측정값').waitFor();
  await axe(boss, 'keys');
  await row.locator('.risk').click();
  await boss.click('dialog .risk');
  await row.locator('text=거둠').waitFor();
  const link = await invite('손님');
  await boss.click('[aria-label="손님 초대 거두기"]');
  await boss.waitForSelector('text=초대를 거두었어요.');
  const guest = await open(browser, link, {}, false);
  await guest.waitForSelector('text=쓸 수 없는 주소예요');
  await close(guest, REFUSED);
});

test('on a phone, in English and dark nothing sticks out', { skip }, async () => {
  const page = await open(browser, url, { phone: true, dark: true, lang: 'en-US' }, false);
  const narrow = async (name) => {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${name} sticks out by ${wide}`);
    await axe(page, `${name}, phone`);
  };
  await page.waitForSelector('h1:has-text("Welcome back")');
  await narrow('login');
  await fill(page, '하늘', PASSWORD);
  await page.waitForSelector('#say');
  for (const tab of ['', '/people', '/keys', '/models', '/usage']) {
    await page.goto(`${url}admin${tab}`);
    await page.waitForSelector(tab ? '.block' : '.chart .ln', { state: 'attached' });
    await narrow(`admin${tab}`);
  }
  await close(page, REFUSED);
});

/** A catalogue whose second model comes from here, its second half when `go` was called. */
async function library(folder) {
  const models = process.env.DAMSO_TEST_MODELS;
  const file = readFileSync(join(models, 'smollm2-135m-instruct.gguf'));
  let go;
  const gate = new Promise((open) => (go = open));
  const web = createServer(async (req, res) => {
    const at = Number(/bytes=(\d+)/.exec(req.headers.range ?? '')?.[1] ?? 0);
    const half = Math.max(at, file.length >> 1);
    res.writeHead(at ? 206 : 200, {
      ETag: '"1"',
      'Content-Length': file.length - at,
      ...(at && { 'Content-Range': `bytes ${at}-${file.length - 1}/${file.length}` }),
    });
    res.write(file.subarray(at, half));
    await gate;
    res.end(file.subarray(half));
  });
  await new Promise((ready) => web.listen(0, '127.0.0.1', ready));
  mkdirSync(join(folder, 'models'));
  symlinkSync(
    join(models, 'smollm2-135m-instruct.gguf'),
    join(folder, 'models/smollm2-135m-instruct.gguf'),
  );
  const entry = (name, title, path) =>
    `  - name: ${name}\n    title: ${title}\n    architecture: llama\n    engine: yes\n` +
    `    about:\n      en: small\n      ko: 작아요\n    file: ${path}\n    bytes: ${file.length}\n` +
    `    sha256: ${createHash('sha256').update(file).digest('hex')}\n    gb: 0.1\n` +
    '    memory_gib: 0.3\n    context: 1\n    licence:\n      name: MIT\n' +
    '      url: https://example.org/licence\n    sources:\n' +
    `      - url: http://127.0.0.1:${web.address().port}/${path}\n        tried: yes\n`;
  writeFileSync(
    join(folder, 'catalogue.yaml'),
    `models:\n${entry('smollm2-135m-instruct', 'Here', 'smollm2-135m-instruct.gguf')}` +
      entry('byeol', '별 1호', 'byeol.gguf'),
  );
  const env = {
    DAMSO_MODELS_DIR: join(folder, 'models'),
    DAMSO_MODEL: 'smollm2-135m-instruct',
    DAMSO_CATALOGUE: join(folder, 'catalogue.yaml'),
    no_proxy: '*',
  };
  return { env, go, web };
}

test('without accounts nobody logs in, and the page is the local person’s', { skip }, async (t) => {
  const alone = mkdtempSync(join(tmpdir(), 'damso-alone-'));
  const { env, go, web } = await library(alone);
  const begun = await start([], { ...env, HOME: alone, DAMSO_STORE: `sqlite:${alone}/store.db` });
  t.after(() => {
    begun.child.kill('SIGKILL'); // where the test failed it is there still
    web.closeAllConnections();
    web.close();
  });
  const page = await open(browser, begun.url);
  await page.click('.me-row [aria-label="관리"]');
  await page.waitForSelector('.chart .ln', { state: 'attached' });
  await page.click('.tabs a:has-text("사람")');
  await page.waitForSelector('text=혼자 쓰는 서버예요.');
  await axe(page, 'alone');
  await page.click('.me-row [aria-label="설정"]');
  await page.waitForSelector('dialog nav .row');
  assert.equal(await page.locator('nav .row:has-text("내 계정")').count(), 0);
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog nav .row', { state: 'detached' });

  // A model comes, with progress: stopped, begun again, there.
  await page.click('.tabs a:has-text("모델")');
  const get = async () => {
    await page.click('button:has-text("모델 받기")');
    await page.fill('dialog input[type=search]', '별');
    await page.waitForFunction(() => document.querySelectorAll('.offers li').length === 1);
    await page.click('[aria-label="별 1호 받기"]');
    await page.waitForSelector('.offers .state:has-text("받는 중")');
  };
  await get();
  await axe(page, 'get a model');
  await page.keyboard.press('Escape');
  await page.waitForSelector('[role=progressbar]:not([aria-valuenow="0"])');
  await axe(page, 'a model comes');
  await page.click('[aria-label="byeol 받기 멈춤"]');
  await page.waitForSelector('[role=progressbar]', { state: 'detached' });
  await get();
  await page.keyboard.press('Escape');
  await page.waitForSelector('[role=progressbar]');
  go();
  await page.waitForSelector('text=byeol을 다 받았어요.');
  await page.click('[aria-label="byeol 올리기"]');
  await page.waitForSelector('[aria-label="byeol 내리기"]', { timeout: 30_000 });
  web.close();
  await close(page);
  begun.link.catch(() => null);
  begun.child.kill('SIGTERM');
  assert.equal(await begun.child.ended, 0);
  rmSync(alone, { recursive: true });
});
