// SPDX-License-Identifier: MIT
// Replays of the three orders of events, with a field that takes the last syllable in as late as
// browsers do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Composer, type KeyInfo } from './compose';

class Field {
  value = '';
  sent: string[] = [];
  clock = 0;
  touch = false;
  sendKey: 'enter' | 'ctrl-enter' = 'enter';
  timers: { at: number; run: () => void }[] = [];
  composer = new Composer({
    send: () => {
      this.sent.push(this.value);
      this.value = '';
    },
    now: () => this.clock,
    later: (run, ms) => this.timers.push({ at: this.clock + ms, run }),
    sendKey: () => this.sendKey,
    touch: () => this.touch,
  });

  pass(ms: number): void {
    const end = this.clock + ms;
    for (;;) {
      this.timers.sort((a, b) => a.at - b.at);
      if (!this.timers[0] || this.timers[0].at > end) break;
      const timer = this.timers.shift()!;
      this.clock = timer.at;
      timer.run();
    }
    this.clock = end;
  }
  key(part: Partial<KeyInfo> & { code?: string }): void {
    const event = {
      key: 'Enter',
      keyCode: 13,
      isComposing: false,
      shiftKey: false,
      ctrlKey: false,
      metaKey: false,
      altKey: false,
      code: 'Enter',
      ...part,
    };
    const prevented = this.composer.keyDown(event);
    const breaks = event.keyCode === 13 && !prevented && !event.isComposing;
    if (breaks && !this.composer.beforeInput('insertLineBreak')) this.value += '\n';
  }
  compose(base: string, steps: string[]): void {
    this.composer.compositionStart();
    for (const step of steps) {
      this.composer.compositionUpdate(step);
      this.value = base + step;
      this.pass(30);
    }
  }
  end(data: string): void {
    this.composer.compositionEnd(data);
  }
}

const typed = (): Field => {
  const field = new Field();
  field.compose('안녕하세', ['ㅇ', '요']);
  return field;
};

test('order A: keydown 229 while composing, then the end', () => {
  const f = typed();
  f.key({ key: 'Process', keyCode: 229, isComposing: true });
  f.end('요');
  f.pass(1000);
  assert.deepEqual(f.sent, ['안녕하세요']);
  assert.equal(f.value, '');
});
test('order B: a second, clean Enter follows at once', () => {
  const f = typed();
  f.key({ keyCode: 229, isComposing: true });
  f.end('요');
  f.key({});
  f.pass(1000);
  assert.deepEqual(f.sent, ['안녕하세요']);
  assert.equal(f.value, '');
});
test('order B: the clean Enter comes after the message has gone', () => {
  const f = typed();
  f.key({ keyCode: 229, isComposing: true });
  f.end('요');
  f.pass(10);
  f.key({});
  f.pass(1000);
  assert.deepEqual(f.sent, ['안녕하세요']);
  assert.equal(f.value, '');
});
test('order C: Safari ends the composition before the key', () => {
  const f = typed();
  f.end('요');
  f.pass(5);
  f.key({ keyCode: 229 });
  f.pass(1000);
  assert.deepEqual(f.sent, ['안녕하세요']);
});
test('the last syllable that lands after the end is not lost', () => {
  const f = new Field();
  f.compose('테스', ['ㅌ']);
  f.key({ keyCode: 229, isComposing: true });
  f.end('트');
  f.value = '테스트'; // the browser commits between the event and the timer
  f.pass(1000);
  assert.deepEqual(f.sent, ['테스트']);
});
test('Enter without composition sends', () => {
  const f = new Field();
  f.value = 'hello';
  f.key({});
  f.pass(1000);
  assert.deepEqual(f.sent, ['hello']);
});
test('two messages in a row are two', () => {
  const f = typed();
  f.key({ keyCode: 229, isComposing: true });
  f.end('요');
  f.pass(300);
  f.compose('', ['ㄴ', '네']);
  f.key({ keyCode: 229, isComposing: true });
  f.end('네');
  f.pass(300);
  assert.deepEqual(f.sent, ['안녕하세요', '네']);
});
test('Japanese: Enter confirms a candidate, a second one sends', () => {
  for (const safari of [false, true]) {
    const f = new Field();
    f.compose('', ['にほん', '日本']);
    if (safari) f.end('日本');
    f.key({ keyCode: 229, isComposing: !safari });
    if (!safari) f.end('日本');
    f.pass(300);
    assert.deepEqual(f.sent, []);
    assert.equal(f.value, '日本');
    f.key({});
    f.pass(300);
    assert.deepEqual(f.sent, ['日本']);
  }
});
test('Shift+Enter breaks the line, also while composing', () => {
  const f = typed();
  f.key({ keyCode: 229, isComposing: true, shiftKey: true });
  f.end('요');
  f.pass(300);
  assert.deepEqual(f.sent, []);
});
test('other keys of an input method never send', () => {
  const f = typed();
  f.key({ key: 'Process', keyCode: 229, isComposing: true, code: 'KeyG' });
  f.pass(1000);
  assert.deepEqual(f.sent, []);
});
test('with Ctrl+Enter chosen, Enter breaks the line', () => {
  const f = new Field();
  f.sendKey = 'ctrl-enter';
  f.value = 'a';
  f.key({});
  assert.deepEqual([f.sent.length, f.value], [0, 'a\n']);
  f.key({ ctrlKey: true });
  assert.deepEqual(f.sent, ['a\n']);
});
test('on a touch keyboard Enter breaks the line', () => {
  const f = new Field();
  f.touch = true;
  f.value = 'a';
  f.key({});
  assert.deepEqual([f.sent.length, f.value], [0, 'a\n']);
});
test('leaving the field takes a pending send back', () => {
  const f = typed();
  f.key({ keyCode: 229, isComposing: true });
  f.composer.blur();
  f.pass(1000);
  assert.deepEqual(f.sent, []);
});
test('a browser that never ends the composition sends when it does', () => {
  const f = typed();
  f.key({ keyCode: 229, isComposing: true });
  f.pass(2000);
  assert.deepEqual(f.sent, []);
  f.end('요');
  f.pass(10);
  assert.deepEqual(f.sent, ['안녕하세요']);
});
