// SPDX-License-Identifier: MIT
// Korean particles by the last sound of the word before them, which may be Hangul, a number, a
// Latin word or an abbreviation: "청자 C1이", "Haneul 7B를", "3은", "6으로" but "7로".

type Sound = 'vowel' | 'rieul' | 'consonant';

// How digits end when read in Sino-Korean: 영 일 이 삼 사 오 육 칠 팔 구.
const DIGIT: Sound[] = [
  'consonant',
  'rieul',
  'vowel',
  'consonant',
  'vowel',
  'vowel',
  'consonant',
  'rieul',
  'rieul',
  'vowel',
];
// Letters read by name (엘 엠 엔 알 end in a consonant); words read as words end as they are spelt.
const LETTER_NAME: Record<string, Sound> = {
  l: 'rieul',
  m: 'consonant',
  n: 'consonant',
  r: 'rieul',
};
const WORD_END: Record<string, Sound> = {
  l: 'rieul',
  m: 'consonant',
  n: 'consonant',
  b: 'consonant',
  p: 'consonant',
  k: 'consonant',
  c: 'consonant',
  t: 'consonant',
  g: 'consonant',
};

/** The number's ending: trailing zeros are read as 십, 백, 천, 만, 억 or 조. */
function numberSound(digits: string): Sound {
  const last = digits[digits.length - 1] ?? '0';
  if (last !== '0' || digits === '0') return DIGIT[Number(last)] ?? 'vowel';
  const zeros = digits.length - digits.replace(/0+$/, '').length;
  return zeros === 12 ? 'vowel' : 'consonant'; // 조 is the only open one
}

export function lastSound(word: string): Sound {
  const text = word.replace(/[\s"'”’»)\]}>.,!?…`*_⁠]+$/u, '');
  const last = text[text.length - 1];
  if (!last) return 'vowel';
  const code = last.charCodeAt(0);
  if (code >= 0xac00 && code <= 0xd7a3) {
    const tail = (code - 0xac00) % 28;
    return tail === 0 ? 'vowel' : tail === 8 ? 'rieul' : 'consonant';
  }
  if (code >= 0x3131 && code <= 0x314e) return 'consonant';
  const number = /(\d[\d,]*)$/.exec(text);
  if (number?.[1]) return numberSound(number[1].replace(/,/g, ''));
  const latin = /([A-Za-z]+)$/.exec(text)?.[1];
  if (!latin) return 'vowel';
  const end = latin[latin.length - 1]!.toLowerCase();
  const byName = latin.length === 1 || latin === latin.toUpperCase();
  if (!byName && /ng$/i.test(latin)) return 'consonant';
  if (!byName && /[aeiouy][^aeiouy]?e$/i.test(latin)) return 'vowel';
  return (byName ? LETTER_NAME[end] : WORD_END[end]) ?? 'vowel';
}

const PAIRS: Record<string, [closed: string, open: string]> = {
  은: ['은', '는'],
  는: ['은', '는'],
  이: ['이', '가'],
  가: ['이', '가'],
  을: ['을', '를'],
  를: ['을', '를'],
  과: ['과', '와'],
  와: ['과', '와'],
  이에요: ['이에요', '예요'],
  이라는: ['이라는', '라는'],
};

export type Particle =
  '은' | '는' | '이' | '가' | '을' | '를' | '과' | '와' | '이에요' | '이라는' | '으로' | '로';

/** The particle alone: josa('달', '으로') is '로'. */
export function josa(word: string, particle: Particle): string {
  const sound = lastSound(word);
  if (particle === '으로' || particle === '로') return sound === 'consonant' ? '으로' : '로';
  const pair = PAIRS[particle];
  return pair ? pair[sound === 'vowel' ? 1 : 0] : particle;
}

/** The word with its particle; after a closing quote a word joiner keeps the two on one line. */
export function withJosa(word: string, particle: Particle): string {
  const join = /["'”’»)\]]$/u.test(word) ? '\u2060' : '';
  return word + join + josa(word, particle);
}
