// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { josa, lastSound, withJosa, type Particle } from './josa';

const CASES: [string, Particle, string][] = [
  ['담소', '은', '는'],
  ['대화', '을', '를'],
  ['폴더', '으로', '로'],
  ['글', '으로', '로'],
  ['방', '으로', '으로'],
  ['값', '이', '이'],
  ['달', '은', '은'],
  ['청자 C1', '이', '이'],
  ['백자 W2', '이', '가'],
  ['Haneul 7B', '을', '를'],
  ['3', '은', '은'],
  ['6', '으로', '으로'],
  ['7', '으로', '로'],
  ['8', '으로', '로'],
  ['10', '으로', '으로'],
  ['1,000', '이', '이'],
  ['1,000,000,000,000', '으로', '로'],
  ['0', '은', '은'],
  ['README.md', '을', '를'],
  ['HTML', '으로', '로'],
  ['URL', '은', '은'],
  ['JSON', '이', '이'],
  ['Gemma', '과', '와'],
  ['Qwen', '과', '과'],
  ['file', '을', '를'],
  ['SmolLM', '은', '은'],
  ['‘돼’', '이', '가'],
  ['“밥”', '을', '을'],
  ['값 (부가세)', '은', '는'],
  ['', '은', '는'],
];

for (const [word, particle, want] of CASES)
  test(`${word || '(nothing)'} + ${particle}`, () => assert.equal(josa(word, particle), want));

test('a particle never begins a line after a closing quote', () => {
  assert.equal(withJosa('‘되’', '을'), '‘되’\u2060를');
  assert.equal(withJosa('달', '을'), '달을');
});
test('a lone consonant counts as closed', () => assert.equal(lastSound('ㅋ'), 'consonant'));
