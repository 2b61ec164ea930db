#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes src/mlperf/small.jsonl, the questions of the unofficial small benchmark: tools/mlperf_small.py
URL.  All texts are our own.  URL is a llama-server (llama.cpp) with SmolLM2-135M-Instruct Q4_1, the
file that `damso pull` loads: its greedy answers are the reference, so that they come from outside."""
import hashlib, json, sys, urllib.request

TOPICS = ('a black hole', 'photosynthesis', 'the water cycle', 'a compiler', 'an eclipse', 'gravity', 'a glacier',
          'an enzyme', 'inflation in an economy', 'a database index', 'a vaccine', 'the ozone layer', 'a transistor',
          'plate tectonics', 'a symphony', 'a haiku', 'the Moon', 'an earthquake', 'a bicycle gear', 'a semiconductor',
          'a coral reef', 'magnetism', 'a lighthouse', 'the greenhouse effect')
FORMS = (('Explain {} in one sentence.', 32), ('Name three facts about {}.', 48), ('Why does {} matter?', 32),
         ('What would a child ask about {}?', 24))
TEXTS = (
    'The ferry left the island at seven. A storm had been forecast, yet the captain knew the channel well and '
    'brought all forty passengers home before the wind turned.',
    'Mina planted beans in two rows. The row by the wall had sun all day and grew twice as tall, so next year she '
    'will use the wall for everything that climbs.',
    'The library moved its oldest maps to the cellar, where the air is cool and dry. Visitors may see copies '
    'upstairs; the originals are shown once a year, in October.',
    'Our bakery sells bread from six in the morning. Rye is baked on Tuesdays and Fridays only, because the oven '
    'has to be hotter and the other loaves would burn.',
    'The telescope takes one picture every minute. A program compares each picture with the last one and marks '
    'whatever has moved; most of it turns out to be aeroplanes.',
    'The town has three bridges. The oldest is closed to cars since the flood, and the council wants to make it '
    'a market, while the fire service asks to keep one lane free.',
    'Jun repaired the radio with a part from an old clock. It plays again, but only while the window is open, and '
    'nobody in the house can say why.',
    'Memory in a computer is fast and small, disks are slow and large. A cache keeps what was used lately near the '
    'processor, in the hope that it is wanted again soon.',
    'The school garden is watered by rain from the roof. In a dry May the tank is empty after ten days, so the '
    'pupils measure the level every morning and write it on the door.',
    'The museum train has one driver and no timetable. It leaves when twelve people are waiting, and it stops '
    'wherever somebody on the path raises a hand.')
TEXT_FORMS = (('Summarise this in one sentence: {}', 40), ('Give this a short title: {}', 12),
              ('Who or what is this text about? {}', 16), ('Rewrite this for a news report: {}', 48))
WORDS = ('river', 'honest', 'to borrow', 'winter', 'machine', 'quiet', 'to repair', 'island', 'memory', 'bright',
         'kitchen', 'careful', 'to measure', 'harbour', 'neighbour', 'ancient', 'to forget', 'mountain', 'thread', 'brave')
WORD_FORMS = (('Use the word "{}" in a sentence.', 20), ('Give the opposite or a synonym of "{}".', 12))
KO_TOPICS = ('블랙홀', '광합성', '물의 순환', '컴파일러', '일식', '중력', '빙하', '효소', '물가 상승', '반도체', '백신', '오존층',
             '지진', '김치', '한글', '한옥', '세종대왕', '제주도', '단풍', '장마', '지하철', '도서관', '바다', '인공지능')
KO_FORMS = (('{}에 대해 한 문장으로 설명해 주세요.', 32), ('{}에 관한 사실 두 가지를 말해 주세요.', 32))
KO_TEXTS = (
    '민아는 담장 옆에 콩을 심었다. 하루 종일 볕이 드는 쪽이 두 배나 자라서, 내년에는 덩굴이 있는 것은 모두 담장 옆에 심기로 했다.',
    '배는 아침 일곱 시에 섬을 떠났다. 폭풍이 온다고 했지만 선장은 물길을 잘 알았고, 바람이 바뀌기 전에 마흔 명을 모두 데려왔다.',
    '우리 동네 빵집은 여섯 시에 문을 연다. 호밀빵은 화요일과 금요일에만 굽는데, 오븐이 더 뜨거워야 하기 때문이다.',
    '도서관은 가장 오래된 지도를 지하로 옮겼다. 위층에서는 사본을 볼 수 있고, 원본은 해마다 시월에 한 번만 공개한다.',
    '준이는 낡은 시계의 부품으로 라디오를 고쳤다. 다시 소리가 나지만 창문을 열어 두었을 때만 그렇고, 그 까닭은 아무도 모른다.',
    '학교 텃밭에는 지붕에서 받은 빗물을 준다. 가문 오월에는 열흘이면 물통이 비어서, 학생들이 아침마다 높이를 재어 적는다.')
KO_TEXT_FORMS = (('다음 글을 한 문장으로 요약해 주세요: {}', 40), ('다음 글에 짧은 제목을 붙여 주세요: {}', 12))


def questions():
    out = [('en', f.format(t), n) for t in TOPICS for f, n in FORMS]
    out += [('en', f.format(t), n) for t in TEXTS for f, n in TEXT_FORMS]
    out += [('en', f.format(w), n) for w in WORDS for f, n in WORD_FORMS]
    for i in range(1, 33):
        a, b = 7 * i % 90 + 10, 13 * i % 80 + 5
        ask = (f'What is {a} plus {b}?', f'What is {a} minus {b}?', f'Is {a} an even number?',
               f'A shop sells {b} pens a day. How many in {i % 7 + 2} days?')[i % 4]
        out.append(('en', ask, 16))
    out += [('ko', f.format(t), n) for t in KO_TOPICS for f, n in KO_FORMS]
    out += [('ko', f.format(t), n) for t in KO_TEXTS for f, n in KO_TEXT_FORMS]
    for i in range(1, 53):
        a, b = 11 * i % 80 + 10, 5 * i % 70 + 3
        out.append(('ko', (f'{a} 더하기 {b}는 얼마인가요?', f'{a}에서 {b}를 빼면 얼마인가요?',
                           f'{a}은 짝수인가요?', f'하루에 연필을 {b}자루 팔면 {i % 6 + 2}일 동안 몇 자루인가요?')[i % 4], 16))
    # Languages and lengths in turns, so that any part of the set is like the whole.
    return sorted(out, key=lambda q: hashlib.sha256(q[1].encode()).digest())


def answer(url, prompt, n):
    body = {'messages': [{'role': 'user', 'content': prompt}], 'temperature': 0, 'max_tokens': n, 'cache_prompt': False}
    request = urllib.request.Request(url + '/v1/chat/completions', json.dumps(body).encode(),
                                     {'Content-Type': 'application/json'})
    with urllib.request.urlopen(request, timeout=600) as r:
        return json.load(r)['choices'][0]['message']['content']


def main():
    lines = [json.dumps({'id': f'{lang}-{i:03}', 'lang': lang, 'prompt': text, 'max_tokens': n,
                         'reference': answer(sys.argv[1], text, n)}, ensure_ascii=False)
             for i, (lang, text, n) in enumerate(questions())]
    head = {'set': 'damso-small', 'count': len(lines), 'licence': 'CC0-1.0: questions and texts by the authors of '
            'damso; references written by SmolLM2-135M-Instruct (Apache-2.0)'}
    text = '\n'.join([json.dumps(head), *lines]) + '\n'
    with open('src/mlperf/small.jsonl', 'w', encoding='utf-8') as f:
        f.write(text)
    print(len(lines), hashlib.sha256(text.encode()).hexdigest())


if __name__ == '__main__':
    main()
