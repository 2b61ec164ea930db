// SPDX-License-Identifier: MIT
// Takes the pictures of docs/WEB.md and docs/TOOLS.md: node tests/web/pictures.mjs [NAME]
import { join } from 'node:path';
import { launch, open, root } from './drive.mjs';
import { Mock } from './mock.mjs';
import { withPeople } from './mock_people.mjs';
import { seed } from './seed.mjs';

const mock = new Mock();
const main = seed(mock);
const order = { tool: 'shop__order_tea', server: 'shop', name: 'order_tea', title: '차 시키기', round: 1 };
const tea = mock.addChat({ title: '손님 맞이' });
mock.addMessage(tea, { content: '손님이 두 분 오세요. 지금 시킬 수 있는 차를 보고, 둘에게 어울리는 걸로 시켜 주세요.' });
const said = '먼저 차림표를 볼게요.';
const seen = { ...order, tool: 'shop__menu', name: 'menu', title: '차림표 보기', arguments: '{}' };
mock.addMessage(tea, {
  role: 'assistant',
  model: 'gemma3-270m',
  content: `${said}\n\n녹차와 보리차가 있어요. 따뜻한 녹차 두 잔을 시킬게요.`,
  calls: [
    { ...seen, id: 'c1', at: Buffer.byteLength(said), state: 'done', result: '녹차, 보리차', bytes: 17 },
    { ...order, id: 'c2', at: 200, round: 2, state: 'asked', arguments: '{"tea":"녹차","cups":2}' },
  ],
});
await mock.start();
const browser = await launch();
const shots = [
  ['web-chat', `c/${main.id}`, {}],
  ['web-new', '', {}],
  ['web-call', `c/${tea.id}`, {}],
  ['web-share', 'shared/spelling', {}],
  ['web-phone', `c/${main.id}`, { phone: true, dark: true }],
];
for (const [name, hash, how] of shots) {
  if (process.argv[2] && process.argv[2] !== name) continue;
  const page = await open(browser, mock.url + hash, how);
  const ready = { 'web-call': '.call-ask', 'web-share': '.views li' }[name] ?? 'math';
  if (hash) await page.waitForSelector(ready);
  await page.evaluate(() => {
    document.querySelector('.scroll').scrollTop = 0;
    document.activeElement.blur();
  });
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(root, `docs/${name}.png`) });
  await page.context().close();
}
mock.stop();
for (const [name, who, hash, how, ready] of [
  ['web-login', null, '', {}, 'input[name=password]'],
  ['web-admin', '하늘', 'admin', {}, '.chart .ln'],
  ['web-usage', '하늘', 'admin/usage', { dark: true }, '.f1'],
]) {
  const people = withPeople(new Mock(), who);
  seed(people);
  await people.start();
  const page = await open(browser, people.url + hash, how, false);
  await page.waitForSelector(ready, { state: 'attached' });
  await page.evaluate(() => document.activeElement.blur());
  await page.waitForTimeout(ready === '.chart .ln' ? 61_000 : 500); // the minute that is drawn
  await page.screenshot({ path: join(root, `docs/${name}.png`) });
  await page.context().close();
  people.stop();
}
await browser.close();
