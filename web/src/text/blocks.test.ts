// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Blocks } from './blocks';
import { blockHtml, lex } from './markdown';

const SAMPLE = `# 제목

첫 문단 **굵게** 그리고 \`code\`.
둘째 줄.

- 하나
- 둘

  둘의 이어짐
- 셋

1. 하나

2. 둘

| 칩 | 값 |
|---|--:|
| 청자 | 1 |

\`\`\`c
int x = 1;

int y;
\`\`\`

> 인용
> 이어짐

$$
a^2 + b^2
$$

끝 [링크][1] $x$ 와 값 $5 와 $6.

[1]: https://example.com
`;
const html = (blocks: { token: never }[]) => blocks.map((b) => blockHtml(b.token)).join('');
const whole = (text: string) => html(new Blocks().update(text, true) as never);

test('a text fed in pieces of any size ends as the whole', () => {
  for (const step of [1, 2, 3, 7, 19, 64]) {
    const blocks = new Blocks();
    for (let i = step; i < SAMPLE.length; i += step) blocks.update(SAMPLE.slice(0, i), false);
    assert.equal(html(blocks.update(SAMPLE, true) as never), whole(SAMPLE), `steps of ${step}`);
  }
});
test('no text is lost while it grows', () => {
  const blocks = new Blocks();
  for (let i = 1; i <= SAMPLE.length; i++) {
    const raw = blocks
      .update(SAMPLE.slice(0, i), false)
      .map((b) => b.raw)
      .join('');
    const bare = (s: string) => s.replace(/\s/g, '');
    if (i <= SAMPLE.indexOf('[1]:') + 3) assert.equal(bare(raw), bare(SAMPLE.slice(0, i)));
  }
});
test('a numbered list is one list while it grows', () => {
  const blocks = new Blocks();
  let last = 0;
  for (const text of ['1. 하나\n\n', '1. 하나\n\n2', '1. 하나\n\n2. 둘'])
    last = blocks.update(text, false).length;
  assert.equal(last, 1);
});
test('settled blocks are not read again', () => {
  const blocks = new Blocks();
  let text = '';
  for (let i = 0; i < 2000; i++) text += `문단 ${i} 하나.\n\n`;
  blocks.update(text, false);
  const began = performance.now();
  for (let i = 0; i < 100; i++) blocks.update((text += '말'), false);
  assert.ok(performance.now() - began < 500);
});
test('a text that is replaced begins anew', () => {
  const blocks = new Blocks();
  blocks.update('하나\n\n둘\n\n셋', false);
  assert.equal(blocks.update('다른 글', false).length, 1);
});
test('HTML is shown, not made', () => {
  const out = lex('<img src=x onerror=alert(1)> <b>굵게</b> H<sub>2</sub>O')
    .map(blockHtml)
    .join('');
  assert.ok(!/<img|<b>/.test(out), out);
  assert.ok(out.includes('<sub>2</sub>'));
});
test('prices are not formulas', () => {
  assert.ok(!whole('값은 $5 이고 $6 이에요').includes('math'));
  assert.ok(whole('식 $x+1$ 이에요').includes('class="math"'));
  assert.ok(whole('\\(x\\) 와 \\[y\\]').includes('class="math"'));
  assert.ok(whole('\\[y\\]').includes('class="math block"'));
});
test('images are links', () => {
  assert.match(whole('![고양이](https://example.com/a.png)'), /<a class="pic" href="https/);
});

test('Korean emphasis ends before a particle, also behind a quote or a bracket', () => {
  const html = (text: string): string => lex(text).map(blockHtml).join('').trim();
  assert.equal(html('**‘해’**를'), '<p><strong>‘해’</strong>를</p>');
  assert.equal(html('**중력(重力)**은 **"힘"**이다'), '<p><strong>중력(重力)</strong>은 <strong>&quot;힘&quot;</strong>이다</p>');
  assert.equal(html('이것은**‘말’**이에요'), '<p>이것은<strong>‘말’</strong>이에요</p>');
  assert.equal(html('**`a*b`**를'), '<p><strong><code>a*b</code></strong>를</p>');
  assert.equal(html('2 ** 3 ** 4'), '<p>2 ** 3 ** 4</p>');
  assert.equal(html('\\**(x)**를'), '<p>**(x)**를</p>');
  assert.equal(html('***a***'), '<p><em><strong>a</strong></em></p>');
});
