// SPDX-License-Identifier: MIT
// The web app in Debian's Chromium, against the stand-in of tests/web/mock.mjs. Needs web/dist
// (tools/web.sh) and build/clients (tools/clients.sh).
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ask, axe, close, compose, docx, done, last, launch, open, pdf, root } from './drive.mjs';
import { HOSTILE } from './hostile.mjs';
import { Mock } from './mock.mjs';
import { LONG, seed } from './seed.mjs';

let browser;
let mock;
let main;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  mock = await new Mock().start();
  main = seed(mock);
});
afterEach(() => mock.stop());
const chat = (id = main.id) => `${mock.url}c/${id}`;

test('the first load is small', () => {
  const html = readFileSync(join(root, 'web/dist/index.html'), 'utf8');
  const scripts = [...html.matchAll(/(?:src|href)="\/([^"]+\.js)"/g)].map((m) => m[1]);
  const size = scripts.map((s) => gzipSync(readFileSync(join(root, 'web/dist', s))).length);
  assert.ok(size.reduce((a, b) => a + b) < 120_000, `${size}`);
  assert.ok(scripts.length > 0);
  assert.ok(readdirSync(join(root, 'web/dist/assets')).length > scripts.length);
});
test('the first language is the browser’s, and can be changed', async () => {
  const page = await open(browser, mock.url, { lang: 'en-US' });
  assert.match(await page.innerText('.hello h2'), /Welcome/);
  await page.click('[aria-label="Switch to Korean"]');
  assert.match(await page.innerText('.hello h2'), /어서 오세요/);
  assert.equal(await page.getAttribute('html', 'lang'), 'ko');
  await page.reload();
  assert.match(await page.innerText('.hello h2'), /어서 오세요/);
  await close(page);
});
test('a question is answered while it is written, and becomes Markdown', async () => {
  mock.script = [{ text: LONG, reasoning: '차례로 생각해 보자.' }];
  mock.rate = 400;
  const page = await open(browser, mock.url);
  await ask(page, '왜요?');
  await page.waitForSelector('.turn[aria-busy=true]');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'say');
  await done(page);
  const answer = last(page);
  await answer.locator('math').first().waitFor();
  await answer.locator('.hljs-type').first().waitFor();
  assert.equal(await answer.locator('td').count(), 12);
  assert.equal(await answer.locator('li.task').count(), 2);
  assert.equal(await answer.locator('.reason').count(), 1);
  assert.match(await answer.locator('.quiet').innerText(), /토큰\/초/);
  assert.equal(await answer.locator('a[rel~=noopener][target=_blank]').count(), 1);
  assert.match(await page.innerText('#said'), /가중치 전체를/);
  await answer.locator('.copy-code').click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^\/\/ 토큰/);
  await close(page);
});
test('an answer is stopped, and goes on', async () => {
  mock.script = ['가나다라 '.repeat(4000), '끝.'];
  const page = await open(browser, chat());
  await ask(page, '길게');
  await page.waitForFunction(
    () => document.querySelector('.turn:last-child .prose')?.innerText.length > 20,
  );
  await page.focus('#say');
  await page.keyboard.press('Escape');
  await done(page, 'stopped');
  await page.click('.turn:last-child .go-on');
  await done(page);
  assert.match(await last(page).locator('.prose').innerText(), /끝\.$/);
  await close(page);
});
test('an edit and another answer are branches', async () => {
  const page = await open(browser, mock.url);
  await ask(page, '하나');
  await done(page);
  await page.hover('.turn:first-child');
  await page.click('.turn:first-child [aria-label="고치기"]');
  await page.fill('.edit textarea', '둘');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.turn:last-child[data-status=done] >> text=들은 말: 둘');
  await page.click('.turn:last-child [aria-label="다시 쓰기"]');
  await page.waitForSelector('.turn:last-child[data-status=done] .branch >> text=2/2');
  await page.hover('.turn:first-child');
  await page.click('.turn:first-child [aria-label="앞의 것"]');
  await page.waitForSelector('text=들은 말: 하나');
  assert.equal(mock.requests.at(-1).method, 'PATCH');
  await close(page);
});
test('deleting a turn asks first and takes what follows', async () => {
  const page = await open(browser, chat());
  await page.hover('.turn:nth-child(3)');
  await page.click('.turn:nth-child(3) [aria-haspopup=menu]');
  await page.click('[role=menuitem] >> text=여기부터 지우기');
  await page.click('dialog .b.risk');
  await page.waitForFunction(() => document.querySelectorAll('.turn').length === 2);
  await close(page);
});
test('a reload and a broken line in mid-answer lose and double nothing', async () => {
  const text = Array.from({ length: 400 }, (_, i) => `${i}번 값 `).join('');
  mock.script = [text];
  mock.rate = 250;
  const page = await open(browser, mock.url);
  await ask(page, '세어 주세요');
  await page.waitForFunction(
    () => document.querySelector('.turn:last-child .prose')?.innerText.length > 200,
  );
  await page.reload();
  await page.waitForSelector('.turn:last-child[data-status=running]');
  mock.drop();
  await page.waitForTimeout(300);
  mock.drop();
  await done(page);
  assert.equal((await last(page).locator('.prose').innerText()).trim(), text.trim());
  await close(page, /ERR_|Failed to load/);
});
test('two tabs show the same chat', async () => {
  const page = await open(browser, chat());
  const other = await open(browser, chat());
  await ask(page, '같이 봐요');
  await other.waitForSelector('text=들은 말: 같이 봐요');
  await close(page);
  await close(other);
});
test('chats are found, renamed, pinned, archived, deleted and brought back', async () => {
  const page = await open(browser, mock.url);
  await page.fill('#find', '김치찌개');
  await page.waitForFunction(() => document.querySelectorAll('.side li').length === 1);
  await page.fill('#find', '');
  await page.waitForSelector('.side >> text=영문 이메일 다듬기');
  const menu = async (title, item) => {
    const row = page.locator('.side li', { hasText: title });
    await row.hover();
    await row.locator('[aria-haspopup=menu]').click();
    await page.click(`[role=menuitem] >> text=${item}`);
  };
  await menu('이사 당일', '이름 바꾸기');
  await page.waitForSelector('.rename:focus');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('새 이름');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.side li >> text=새 이름');
  await menu('새 이름', '고정하기');
  await page.waitForSelector('section[aria-label="고정한 대화"] >> text=새 이름');
  await menu('영문 이메일', '보관하기');
  await page.click('.toast .b');
  await page.waitForSelector('.side li >> text=영문 이메일');
  await menu('영문 이메일', '지우기');
  assert.match(await page.innerText('.toast'), /‘영문 이메일 다듬기’ 대화를 지웠어요/);
  await page.waitForSelector('.side li >> text=영문 이메일', { state: 'detached' });
  await page.click('.toast .b');
  await page.waitForSelector('.side li >> text=영문 이메일');
  await close(page);
});
test('folders are made, filled and left', async () => {
  const page = await open(browser, chat());
  await page.click('[aria-label="폴더 만들기"]');
  await page.fill('input[name=name]', '여행');
  await page.fill('textarea[name=instructions]', '짧게');
  await page.click('dialog .b.main');
  await page.click('.bar [aria-haspopup=menu]');
  await page.click('[role=menuitem] >> text=폴더로 옮기기');
  await page.click('dialog >> text=여행');
  await page.waitForSelector('.crumb >> text=여행');
  await page.click('.side .row-in >> text=여행');
  await page.waitForFunction(() => document.querySelectorAll('.side li').length === 1);
  await close(page);
});
test('files of many kinds become text; a long one is cut for all to see', async () => {
  const page = await open(browser, mock.url);
  const files = [
    {
      name: '기록.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from([0xb4, 0xe3, 0xbc, 0xd2, 0x2c, 0x31]),
    },
    { name: 'note.pdf', mimeType: 'application/pdf', buffer: pdf('Hello from a PDF') },
    { name: '글.docx', mimeType: 'application/zip', buffer: docx(['첫 줄', '둘째 줄']) },
    {
      name: '긴 글.txt',
      mimeType: 'text/plain',
      buffer: Buffer.from('길고 긴 글이에요.\n'.repeat(5000)),
    },
  ];
  await page.setInputFiles('input[type=file]', files);
  await page.waitForFunction(
    () => document.querySelectorAll('.file[aria-busy=false]').length === 4,
  );
  const texts = Object.fromEntries([...mock.files.values()].map((f) => [f.info.name, f.text]));
  assert.equal(texts['기록.csv'], '담소,1');
  assert.match(texts['note.pdf'], /Hello from a PDF/);
  assert.equal(texts['글.docx'], '첫 줄\n둘째 줄');
  assert.equal(texts['긴 글.txt'].length, 55_000); // how much is read the server finds out
  assert.match(await page.innerText('.file:last-child .cut'), /길어서 앞부분만/);
  await ask(page, '읽어 주세요');
  await done(page);
  assert.equal(await page.locator('.turn:first-child .file').count(), 4);
  const bad = { name: 'a.bin', mimeType: '', buffer: Buffer.from([0x7f, 0x45, 0, 1]) };
  await page.setInputFiles('input[type=file]', [bad]);
  await page.waitForSelector('.toast >> text=a.bin은 읽을 수 없는 파일이에요');
  await close(page);
});
test('a file that is dropped anywhere or pasted is attached', async () => {
  const page = await open(browser, chat());
  await page.evaluate(() => {
    const give = (name) => {
      const data = new DataTransfer();
      data.items.add(new File(['글'], name, { type: 'text/plain' }));
      return data;
    };
    const how = { bubbles: true, cancelable: true };
    const turn = document.querySelector('.turn');
    turn.dispatchEvent(new DragEvent('drop', { ...how, dataTransfer: give('끌어온.txt') }));
    const paste = new ClipboardEvent('paste', { ...how, clipboardData: give('붙인.txt') });
    document.querySelector('#say').dispatchEvent(paste);
  });
  await page.waitForSelector('.file[aria-busy=false] >> text=끌어온.txt');
  await page.waitForSelector('.file[aria-busy=false] >> text=붙인.txt');
  await close(page);
});
test('a picture is attached where the model sees, smaller, and shown where it was sent', async () => {
  const page = await open(browser, chat());
  const paste = (width, height) =>
    page.evaluate(
      async ([w, h]) => {
        const canvas = Object.assign(document.createElement('canvas'), { width: w, height: h });
        canvas.getContext('2d').fillRect(0, 0, w / 2, h);
        const blob = await new Promise((done) => canvas.toBlob(done));
        const data = new DataTransfer();
        data.items.add(new File([blob], '그림.png', { type: 'image/png' }));
        const event = { bubbles: true, cancelable: true, clipboardData: data };
        document.querySelector('#say').dispatchEvent(new ClipboardEvent('paste', event));
      },
      [width, height],
    );
  await paste(20, 10);
  await page.waitForSelector('.toast >> text=글만 읽어요');
  assert.equal(await page.locator('.box .file').count(), 0);
  mock.pictures = true;
  await page.reload();
  await page.waitForSelector('#say');
  const upload = page.waitForRequest((r) => r.url().includes('/files?'));
  await paste(3000, 1500);
  assert.equal((await upload).headers()['content-type'], 'image/png');
  await page.waitForSelector('.box .file[aria-busy=false] .thumb');
  await axe(page, 'a picture is attached');
  await ask(page, '무슨 그림이에요?');
  await done(page);
  const shown = page.locator('.turn.mine .file .thumb.large').last();
  await shown.waitFor();
  assert.equal(await shown.getAttribute('alt'), '그림: 그림.png');
  assert.equal(await shown.evaluate((i) => `${i.naturalWidth}x${i.naturalHeight}`), '1536x768');
  const kept = [...mock.files.values()].at(-1);
  assert.match(kept.text, /^data:image\/png;base64,/);
  await close(page);
});
test('a shared chat is read elsewhere and continued as a copy', async () => {
  const page = await open(browser, chat());
  await page.click('.bar .wide');
  await page.click('dialog .b.main');
  const url = await page.inputValue('dialog input.mono');
  const reader = await open(browser, url, { lang: 'en-US' });
  assert.match(await reader.innerText('h1'), /메모리가 병목인 까닭/);
  assert.equal(await reader.locator('.acts').count(), 0);
  await reader.click('text=Continue in my chats');
  await reader.waitForSelector('#say');
  await reader.waitForSelector('.turn:nth-child(4)');
  await close(reader);
  await close(page);
});
test('settings are kept; a prompt asks for its variables', async () => {
  const page = await open(browser, mock.url);
  await page.click('[aria-label="설정"]');
  await page.check('.seg label:has-text("어둡게") input');
  assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
  await page.click('.set nav >> text=답변');
  await page.check('.seg label:has-text("안 함") input');
  await page.click('.set nav >> text=지침과 기억');
  await page.fill('.add input', '나는 서울에 산다');
  await page.click('.add button');
  await page.keyboard.press('Escape');
  await page.waitForTimeout(600);
  assert.equal(mock.settings.theme, 'dark');
  assert.equal(mock.settings.sampling.reasoning_effort, 'none');
  assert.equal(mock.settings.memory[0].text, '나는 서울에 산다');
  await page.click('[aria-label="글감"]');
  await page.click('[role=menuitem] >> text=번역');
  await page.fill('dialog textarea', '영어');
  await page.click('dialog .b.main');
  await page.waitForFunction(() =>
    document.querySelector('#say').value.startsWith('다음 글을 영어로'),
  );
  await close(page);
});

const TEA = {
  server: 'shop',
  name: 'order_tea',
  title: '차 시키기',
  arguments: '{"tea":"녹차","cups":2}',
};
const SHOP = {
  name: 'shop',
  state: 'ready',
  tools: [
    { id: 'shop__order_tea', name: 'order_tea', title: '차 시키기', description: '차를 시켜요.' },
    { id: 'shop__close', name: 'close', title: '', description: 'Closes.' },
  ],
};
test('the text of a web page is attached by its address', async () => {
  const url = 'https://news.example/첫눈';
  mock.web[url] = { name: '첫눈 소식', text: '서울에 첫눈이 내렸어요.' };
  const page = await open(browser, mock.url);
  await page.fill('#say', `이 글 좀 봐 주세요 ${url} 부탁해요`);
  await page.click('.offer >> text=이 주소의 글 붙이기');
  await page.waitForSelector('.file[aria-busy=false] >> text=첫눈 소식');
  await page.waitForSelector('.offer', { state: 'detached' });
  await axe(page, 'a page is attached');
  await page.focus('#say');
  await page.keyboard.press('Enter');
  await done(page);
  assert.equal(await page.innerText('.turn:first-child .file .source'), 'news.example');
  assert.equal(await page.getAttribute('.turn:first-child .source', 'href'), url);
  // one that cannot be had says so, and nothing is left behind
  await page.fill('#say', 'http://127.0.0.1/');
  await page.click('.offer button');
  await page.waitForSelector('.toast >> text=공개된 인터넷의 글만');
  assert.equal(await page.locator('.box .file').count(), 0);
  await page.fill('#say', '주소가 없는 글');
  await page.waitForSelector('.offer', { state: 'detached' });
  await close(page, /422/);
});
test('no page is offered where the server fetches none', async () => {
  mock.pages = false;
  const page = await open(browser, mock.url);
  await page.fill('#say', 'https://news.example/');
  await page.waitForTimeout(100);
  assert.equal(await page.locator('.offer').count(), 0);
  await close(page);
});
test('a part of a file that was read is told', async () => {
  const c = mock.addChat({ title: '긴 글' });
  const file = { id: 'f', name: '긴 글.txt', type: 'text/plain', size: 1000, kept: 627 };
  mock.addMessage(c, { content: '읽어 주세요', files: [file] });
  mock.addMessage(c, { role: 'assistant', content: '네' });
  const page = await open(browser, chat(c.id));
  assert.equal(await page.innerText('.turn:first-child .file .cut'), '앞의 62 %만 읽었어요');
  await close(page);
});
test('tools are switched on, and one is named for the next answer', async () => {
  mock.tools = [SHOP, { name: 'lost', state: 'failed', error: 'it ended with status 3', tools: [] }];
  const page = await open(browser, mock.url);
  await page.click('[aria-label="도구와 답의 모양"]');
  await page.waitForSelector('.tool-server >> text=it ended with status 3');
  await axe(page, 'tools');
  await page.click('.opt:has-text("차를 시켜요") .tog');
  await page.click('text=다음 답에 꼭 쓰기');
  await page.waitForSelector('.forced >> text=차 시키기');
  mock.script = [{ text: '', calls: [TEA] }];
  await ask(page, '차 두 잔요');
  await page.waitForSelector('.call-ask');
  const sent = mock.requests.find((r) => r.method === 'POST' && r.path.endsWith('/messages')).body;
  assert.equal(sent.options.tool_choice, 'shop__order_tea');
  const made = [...mock.chats.values()].at(-1);
  assert.deepEqual(made.tools, ['shop__order_tea']);
  assert.equal(await page.locator('.forced').count(), 0);
  await close(page);
});
test('a model that was not made for tools is offered none', async () => {
  mock.tools = [SHOP];
  const page = await open(browser, mock.url);
  await page.click('[aria-label="모델 고르기"]');
  await page.click('[role=menuitemradio] >> text=SmolLM2');
  await page.click('[aria-label="도구와 답의 모양"]');
  await page.waitForSelector('text=SmolLM2');
  assert.equal(await page.locator('.tog').count(), 0);
  await close(page);
});
test('a call is shown and asked for; it is used once, after a reload, and folded', async () => {
  mock.tools = [SHOP];
  mock.script = [{ text: '시켜 볼게요.', calls: [TEA] }, '두 잔 시켰어요.'];
  const page = await open(browser, mock.url);
  await ask(page, '차 두 잔요');
  await page.waitForSelector('.call-ask >> text=‘차 시키기’ 도구를 써도 될까요?');
  assert.match(await page.innerText('.call-ask'), /shop 서버의 order_tea[\s\S]*tea\s*녹차[\s\S]*cups\s*2/);
  assert.match(await page.innerText('#said'), /도구를 써도 될지 묻고 있어요/);
  await axe(page, 'a call is asked for');
  await page.reload(); // it waits
  await page.waitForSelector('.call-ask');
  const other = await open(browser, page.url());
  await other.waitForSelector('.call-ask');
  await page.click('.call-ask >> text=한 번 쓰기');
  await done(page);
  assert.deepEqual(await page.locator('.turn:last-child .prose').allInnerTexts(), [
    '시켜 볼게요.',
    '두 잔 시켰어요.',
  ]);
  await page.click('.turn:last-child .call summary');
  assert.match(await page.innerText('.turn:last-child .call'), /돌아온 글/);
  assert.equal(mock.requests.findLast((r) => r.path.includes('/calls/')).body.allow, 'once');
  // the other tab sees the same
  await other.waitForSelector('.call-ask', { state: 'detached' });
  await other.waitForSelector('.turn:last-child >> text=두 잔 시켰어요.');
  await close(other);
  await close(page);
});
test('a call is refused; another is always allowed, by the keyboard', async () => {
  mock.tools = [SHOP];
  mock.script = [{ text: '', calls: [TEA] }, '알겠어요.', { text: '', calls: [TEA, { ...TEA, arguments: '[1]' }] }, '네.'];
  const page = await open(browser, mock.url);
  await ask(page, '차 두 잔요');
  await page.click('.call-ask >> text=쓰지 않기');
  await done(page);
  assert.match(await page.innerText('.turn:last-child .call summary'), /쓰지 않았어요/);
  await ask(page, '다시요');
  await page.waitForFunction(() => document.querySelectorAll('.call-ask').length === 2);
  await page.locator('.call-ask >> text=이 대화에서는 늘 쓰기').first().focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('.call-ask').length === 1);
  await page.click('.call-ask >> text=한 번 쓰기');
  await done(page);
  assert.deepEqual([...mock.chats.values()].at(-1).tools_always, ['shop__order_tea']);
  await close(page);
});
test('answers have the shape that is asked for', async () => {
  const page = await open(browser, mock.url);
  await page.click('[aria-label="도구와 답의 모양"]');
  await page.fill('.toolbox textarea', '{"type": ');
  await page.waitForSelector('.toolbox [role=alert]');
  await page.fill('.toolbox textarea', '{"type": "object"}');
  await page.waitForSelector('.toolbox [role=alert]', { state: 'detached' });
  await page.keyboard.press('Escape');
  await ask(page, '모양대로');
  await done(page);
  const sent = mock.requests.find((r) => r.method === 'POST' && r.path.endsWith('/messages')).body;
  assert.deepEqual(sent.options.json_schema, { type: 'object' });
  await close(page);
});
test('HTML and SVG are previewed in a frame that can do nothing', async () => {
  const evil =
    '<style>p { color: rgb(1, 2, 3) }</style><p id=x>글</p><script>parent.canary = 1; ' +
    'document.body.innerHTML = "ran"</script><img src=x onerror="parent.canary = 1">' +
    '<form action="https://example.invalid/"><button>x</button></form>';
  mock.script = ['```html\n' + evil + '\n```', '```svg\n<svg xmlns="http://www.w3.org/2000/svg" onload="parent.canary=1"><circle r="9"/></svg>\n```'];
  mock.rate = 4000;
  const page = await open(browser, mock.url);
  await ask(page, '보여 줘요');
  await done(page);
  await page.click('.preview-code');
  const frame = page.frameLocator('iframe.preview');
  await frame.locator('#x').waitFor();
  assert.equal(await page.getAttribute('iframe.preview', 'sandbox'), '');
  assert.equal(
    await frame.locator('#x').evaluate((p) => getComputedStyle(p).color).catch(() => 'no scripts'),
    'rgb(1, 2, 3)',
  );
  await page.waitForTimeout(200);
  assert.equal(await page.evaluate(() => window.canary), undefined);
  await page.click('.preview-code');
  await page.waitForSelector('iframe.preview', { state: 'detached' });
  await ask(page, '그림도');
  await done(page);
  await last(page).locator('.preview-code').click();
  await page.waitForSelector('iframe.preview');
  await page.waitForTimeout(300);
  assert.equal(await page.evaluate(() => window.canary), undefined);
  await close(page, /Content Security Policy|Blocked script|sandboxed/i);
});

for (const order of ['A', 'B', 'C'])
  test(`Korean: one Enter sends once, order ${order}`, async () => {
    const page = await open(browser, mock.url);
    await page.focus('#say');
    const ime = await compose(page, []);
    await ime.commit('안녕하세');
    const { commit, imeEnter, enter } = await compose(page, ['ㅇ', '요']);
    if (order !== 'C') await imeEnter();
    await commit('요');
    if (order === 'C') await imeEnter();
    if (order === 'B') await enter();
    await page.waitForSelector('.turn');
    await page.waitForTimeout(400);
    const sent = mock.requests.filter((r) => r.method === 'POST' && r.path.endsWith('/messages'));
    assert.deepEqual(
      sent.map((r) => r.body.content),
      ['안녕하세요'],
    );
    assert.equal(await page.inputValue('#say'), '');
    await close(page);
  });
test('a lost server is told, what is written is kept, and all is well after', async () => {
  const page = await open(browser, chat());
  const { port } = mock.server.address();
  mock.drop();
  mock.server.closeAllConnections();
  await new Promise((closed) => mock.server.close(closed));
  await page.waitForSelector('.note-box.warn');
  await page.fill('#say', '기다려요');
  await page.keyboard.press('Enter');
  assert.equal(await page.inputValue('#say'), '기다려요');
  await mock.start(port);
  await page.waitForSelector('.note-box.warn', { state: 'detached', timeout: 20_000 });
  await page.focus('#say');
  await page.keyboard.press('Enter');
  await page.waitForSelector('text=들은 말: 기다려요');
  await close(page, /ERR_|Failed to load/);
});
test('a failed answer says what happened and what was kept', async () => {
  mock.script = [{ text: '여기까지', error: { message: 'out of memory' } }];
  const page = await open(browser, mock.url);
  await ask(page, '막혀라');
  await page.waitForSelector('.note-box.bad >> text=여기까지 쓴 글은 남아 있어요');
  await page.click('.note-box.bad .b');
  await done(page);
  await close(page);
});
test('no text of a model, a title, a file or a shared chat runs a script', async () => {
  mock.rate = 4000;
  const evil = mock.addChat({ title: HOSTILE[0] });
  for (const text of HOSTILE) {
    mock.addMessage(evil, { content: text, files: [{ id: 'f', name: text, type: text, size: 1 }] });
    const call = { id: text, tool: text, server: text, name: text, title: text, at: 0, round: 1 };
    const images = [{ type: 'image/svg+xml', data: 'PHN2Zz4=' }, { type: text, data: text }];
    const calls = [
      { ...call, arguments: text, state: 'done', result: text, bytes: 9e9, images },
      { ...call, arguments: JSON.stringify({ [text]: text }), state: 'asked' },
    ];
    const source = `javascript:${text}`;
    mock.addMessage(evil, { content: text, files: [{ id: 'p', name: text, type: text, size: 1, source }] });
    mock.addMessage(evil, { role: 'assistant', content: text, reasoning: text, model: text, calls });
  }
  mock.folders.push({ id: 'f9', name: HOSTILE[1], instructions: HOSTILE[1] });
  mock.script = [HOSTILE.join('\n\n')];
  const { token } = mock.route('POST', ['chats', evil.id, 'share'], null, { days: 1 });
  const page = await open(browser, chat(evil.id));
  await page.evaluate(() => document.querySelectorAll('.turn').forEach((t) => t.scrollIntoView()));
  await ask(page, HOSTILE.join('\n'));
  await done(page);
  for (const at of [`${mock.url}shared/${token}`, chat(evil.id)]) {
    await page.goto(at);
    await page.waitForTimeout(500);
    const found = await page.evaluate(() => ({
      ran: window.canary !== undefined,
      bad: [...document.querySelectorAll('.prose *')]
        .filter(
          (e) =>
            /^(script|iframe|object|embed|form|base|link|meta|style)$/i.test(e.tagName) ||
            [...e.attributes].some(
              (a) =>
                /^on|^style$|^srcdoc$|^id$|^name$/i.test(a.name) ||
                (/^(href|src|action|xlink:href)$/i.test(a.name) &&
                  !/^(https?:|mailto:|data:image\/(png|gif))/.test(a.value)),
            ),
        )
        .map((e) => e.outerHTML.slice(0, 200)),
    }));
    assert.deepEqual(found, { ran: false, bad: [] });
  }
  await close(page);
});
test('axe finds nothing on any page, in both themes and on a phone', async () => {
  for (const dark of [false, true]) {
    const page = await open(browser, chat(), { dark });
    await page.waitForSelector('math');
    await axe(page, 'a chat');
    await page.click('.bar [aria-haspopup=menu]');
    await axe(page, 'a menu');
    await page.keyboard.press('Escape');
    await page.click('.bar .wide');
    await page.waitForSelector('dialog[open]');
    await axe(page, 'sharing');
    await page.keyboard.press('Escape');
    await page.click('.side .new');
    await page.waitForSelector('.starts');
    await axe(page, 'a new chat');
    await page.click('[aria-label="설정"]');
    for (const name of ['모양', '답변', '지침과 기억', '글감', '단축키']) {
      await page.click(`.set nav >> text=${name}`);
      await axe(page, name);
    }
    await close(page);
  }
  const phone = await open(browser, chat(), { phone: true, lang: 'en-US' });
  await axe(phone, 'a chat on a phone');
  const wide = await phone.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false);
  await phone.click('.menu-open');
  await phone.waitForTimeout(400);
  await axe(phone, 'the drawer');
  await close(phone);
});
test('the keyboard reaches everything', async () => {
  const page = await open(browser, mock.url);
  await page.keyboard.press('Alt+2');
  await page.waitForFunction(() => document.querySelector('#say').value.startsWith('다음 회의록'));
  await page.keyboard.press('Control+K');
  await page.waitForFunction(() => document.activeElement.id === 'find');
  await page.keyboard.press('Control+B');
  assert.equal(await page.isVisible('.side'), false);
  await page.keyboard.press('Control+B');
  await page
    .locator('.scroll')
    .first()
    .click({ position: { x: 5, y: 5 } });
  await page.keyboard.press('?');
  await page.waitForSelector('dialog .keys');
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'say');
  await close(page);
});
test('the shell opens without the server once it was here', async () => {
  const page = await open(browser, mock.url);
  await page.waitForFunction(async () => (await navigator.serviceWorker.ready).active !== null);
  await page.reload(); // now through the worker, which keeps what it sees
  await page.waitForSelector('#say');
  await page.waitForTimeout(500);
  await new Promise((closed) => {
    mock.drop();
    mock.server.close(closed);
    mock.server.closeAllConnections();
  });
  await page.reload();
  await page.waitForSelector('.note-box.warn');
  const kept = await page.evaluate(async () => {
    const keys = await (await caches.open('damso-shell-1')).keys();
    return keys.filter((k) => k.url.includes('/api/')).length;
  });
  assert.equal(kept, 0);
  await close(page, /ERR_|Failed to load|EventSource|대화|서버/);
});
test('the page is ready within a second at a quarter of the speed', async (context) => {
  const page = await open(browser, 'about:blank#', {}, false);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' }); // its own time, not the clock's
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  await page.goto(mock.url);
  await page.waitForSelector('.side li');
  const ms = await page.evaluate(() => performance.now());
  const { metrics } = await cdp.send('Performance.getMetrics');
  const own = metrics.find((m) => m.name === 'TaskDuration').value * 1000;
  context.diagnostic(`ready after ${ms.toFixed(0)} ms, ${own.toFixed(0)} of them its own`);
  assert.ok(own < 2500, `${own}`); // the aim is 1,000 on a quiet machine
  await page.context().close();
});
test('200 tokens a second cost little', async (context) => {
  mock.rate = 200;
  mock.script = [`${LONG}\n\n`.repeat(12)];
  const page = await open(browser, mock.url);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' }); // its own time, not the clock's
  const busy = async () => {
    const { metrics } = await cdp.send('Performance.getMetrics');
    return metrics.find((m) => m.name === 'TaskDuration').value;
  };
  await ask(page, '길게');
  await page.waitForTimeout(2500);
  const [from, began] = [await busy(), performance.now()];
  await page.waitForTimeout(5000);
  const share = ((await busy()) - from) / ((performance.now() - began) / 1000);
  context.diagnostic(`streaming takes ${(share * 100).toFixed(1)} % of a core`);
  assert.ok(share < 0.3, `${share}`); // the aim is 0.2
  await close(page);
});
test('a chat of 1,000 messages opens and scrolls', async (context) => {
  const long = mock.addChat({ title: '긴 대화' });
  for (let i = 0; i < 500; i++) {
    mock.addMessage(long, { content: `${i}번째 질문` });
    mock.addMessage(long, {
      role: 'assistant',
      content: i % 5 ? `${i}번째 **답**이에요.\n\n- 하나\n- 둘` : LONG,
    });
  }
  const began = performance.now();
  const page = await open(browser, chat(long.id));
  await page.waitForSelector('.turn:last-child .prose:not(.raw) li');
  context.diagnostic(`open after ${(performance.now() - began).toFixed(0)} ms`);
  assert.equal(await page.locator('.turn').count(), 1000);
  const frames = await page.evaluate(async () => {
    const box = document.querySelector('.scroll');
    const times = [];
    for (let i = 0; i < 120; i++) {
      box.scrollTop -= 160;
      times.push(await new Promise((next) => requestAnimationFrame(next)));
    }
    const gaps = times
      .slice(1)
      .map((t, i) => t - times[i])
      .sort((a, b) => a - b);
    return {
      median: gaps[gaps.length >> 1],
      worst: gaps.at(-1),
      slow: gaps.filter((g) => g > 34).length,
    };
  });
  context.diagnostic(`frames: ${JSON.stringify(frames)}`);
  assert.ok(frames.median < 34, JSON.stringify(frames));
  await close(page);
});
