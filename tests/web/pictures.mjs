// SPDX-License-Identifier: MIT
// Takes the pictures of docs/WEB.md: node tests/web/pictures.mjs
import { join } from 'node:path';
import { launch, open, root } from './drive.mjs';
import { Mock } from './mock.mjs';
import { withPeople } from './mock_people.mjs';
import { seed } from './seed.mjs';

const mock = new Mock();
const main = seed(mock);
await mock.start();
const browser = await launch();
const shots = [
  ['web-chat', `#/chat/${main.id}`, {}],
  ['web-new', '', {}],
  ['web-phone', `#/chat/${main.id}`, { phone: true, dark: true }],
];
for (const [name, hash, how] of shots) {
  const page = await open(browser, mock.url + hash, how);
  if (hash) await page.waitForSelector('math');
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
  ['web-admin', '하늘', '#/admin', {}, '.chart .ln'],
  ['web-usage', '하늘', '#/admin/usage', { dark: true }, '.f1'],
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
