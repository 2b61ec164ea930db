// SPDX-License-Identifier: MIT
// Chats to look at and to take pictures of.

export const LONG = `답을 쓸 때는 토큰 하나마다 **가중치 전체를 한 번씩 읽어야** 해요. 곱셈은 가중치 하나에 한 번뿐이라 계산기는 놀고, 읽는 속도가 상한을 정해요.

$$
\\frac{\\text{토큰}}{\\text{초}} \\le \\frac{B_{\\text{mem}}}{N \\cdot b / 8} = \\frac{B_{\\text{mem}}}{7.0 \\times 10^9 \\times 4.5 / 8}
$$

| 칩 | 대역폭 | 토큰당 읽는 양 | 상한 |
|---|--:|--:|--:|
| 청자 C1 | 256 GB/s | 3.94 GB | 65.0 토큰/초 |
| 백자 W2 | 102 GB/s | 3.94 GB | 25.9 토큰/초 |
| 이 서버의 CPU | 31.7 GB/s | 3.94 GB | 8.1 토큰/초 |

코드로는 두 줄이에요. 비트 수를 줄이면 그만큼 빨라져요.

\`\`\`c
// 토큰 하나에 걸리는 시간의 아래 한계 (초)
double decode_floor_s(double n_params, double bits, double gbps)
{
    double bytes = n_params * bits / 8.0;
    return bytes / (gbps * 1e9);
}
\`\`\`

- [x] 대역폭을 잰다
- [ ] 비트 수를 고른다
  - 4비트는 품질이 조금 떨어져요
- 더 읽을 것: [루프라인](https://example.com/roofline), \`perf stat\`으로 확인

> 계산이 아니라 읽기가 막는다. $t = V / B$ 예요.`;

const usage = {
  prompt_tokens: 1728,
  completion_tokens: 412,
  cached_tokens: 1024,
  tokens_per_second: 41.8,
  context: 8192,
};
const DAY = 86400;

function talk(mock, part, turns) {
  const chat = mock.addChat(part);
  for (const turn of turns) mock.addMessage(chat, turn);
  return chat;
}

/** Fills the mock; returns the chat with every kind of text. */
export function seed(mock) {
  mock.folders = [
    { id: 'f1', name: '칩 공부', instructions: '수식과 단위를 함께 적어 주세요.' },
    { id: 'f2', name: '회사 일', instructions: '' },
  ];
  mock.settings.prompts = [
    { id: 'p1', name: '번역', text: '다음 글을 {{언어}}로 옮겨 주세요.\n\n' },
    { id: 'p2', name: '세 줄 요약', text: '세 줄로 간추려 주세요.\n\n' },
  ];
  const t = Date.now() / 1000;
  const main = talk(mock, { title: '메모리가 병목인 까닭', updated: t, folder: 'f1' }, [
    {
      content:
        '7B 모델을 4비트로 돌릴 때, 토큰 하나를 만드는 데 왜 메모리가 병목이 되나요? 칩별로 어림해 주세요.',
    },
    {
      role: 'assistant',
      content: LONG,
      usage,
      model: 'gemma3-270m',
      reasoning:
        '매개변수 7.0 × 10⁹개, Q4_0은 가중치 하나에 4.5비트. 한 토큰마다 가중치를 모두 읽으니 대역폭으로 ' +
        '나누면 상한이 나온다. 배치 1이므로 계산량은 무시해도 된다.',
    },
    { content: '그럼 열여섯 명이 한꺼번에 물어보면요?' },
    {
      role: 'assistant',
      usage: { ...usage, completion_tokens: 96, tokens_per_second: 38.2 },
      model: 'gemma3-270m',
      content:
        '한 번 읽은 가중치를 열여섯 명이 나눠 쓰니까, 읽는 값은 그대로이고 전체 속도는 거의 열여섯 배까지 늘어요. ' +
        '대신 사람마다 쌓이는 KV 캐시를 따로 읽어야 해서, 대화가 길어질수록 이득이 줄어요.',
    },
  ]);
  const first = main.messages[1];
  mock.addMessage(main, {
    role: 'assistant',
    parent: main.messages[0].id,
    content: '다른 답이에요.',
    created: t,
  });
  main.head = main.messages[3].id;
  void first;
  const others = [
    ['이사 당일 할 일 정리', 0.1],
    ['C에서 고리 버퍼 만들기', 0.2, { pinned: true }],
    ['전세 계약서에서 볼 곳', 1.1],
    ['아이와 갈 만한 당일 여행', 1.3],
    ['영문 이메일 다듬기', 4],
    ['김치찌개가 짤 때', 5],
    ['맞춤법 ‘되’와 ‘돼’', 6],
    ['A very long English title about a ring buffer', 12],
    ['지난여름의 여행 계획', 70],
  ];
  for (const [title, ago, more] of others)
    talk(mock, { title, updated: t - ago * DAY, created: t - ago * DAY, ...more }, [
      { content: `${title}에 대해 알려 주세요.` },
      { role: 'assistant', content: '그럼요. 먼저 **하나**부터 볼까요?', usage },
    ]);
  shareSpelling(mock);
  talk(mock, { title: '보관해 둔 대화', archived: true, updated: t - 40 * DAY }, [
    { content: '보관' },
  ]);
  return main;
}

const SPELLING = `‘돼’는 **‘되어’가 줄어든 말**이에요. 그래서 그 자리에 ‘되어’를 넣어 자연스러우면 ‘돼’, 어색하면 ‘되’\u2060를 쓰면 돼요.

더 빠른 방법도 있어요. ‘되’ 자리에 **‘하’**, ‘돼’ 자리에 **‘해’**를 넣어 소리 내어 읽어 보세요.

| 헷갈리는 말 | 바꿔 읽기 | 맞는 표기 |
|---|---|---|
| 안 ○요 | 안 **해**요 | 안 돼요 |
| ○고 싶어요 | **하**고 싶어요 | 되고 싶어요 |
| 그렇게 ○면 | 그렇게 **하**면 | 그렇게 되면 |
| 다 ○었어요 | 다 **하**였어요 | 다 되었어요, 됐어요 |

문장 끝에 홀로 올 때는 늘 ‘돼’예요. “이제 가도 돼.”처럼요.`;

/** A shared chat with what readers left: `spelling` is its token. */
function shareSpelling(mock) {
  const t = Date.now() / 1000;
  const message = (id, parent, role, content) => ({
    id,
    parent,
    role,
    content,
    reasoning: '',
    model: role === 'assistant' ? 'gemma3-4b' : '',
    created: t,
    files: [],
  });
  const note = (id, ago, name, quote, text, likes) => ({
    id,
    name,
    text,
    message: quote ? 'a' : '',
    quote,
    nth: 0,
    created: t - ago * DAY,
    likes,
    liked: false,
    own: false,
  });
  mock.shares.set('spelling', {
    title: '맞춤법 ‘되’와 ‘돼’, 한 번에 가려 쓰는 법',
    created: t - 3 * DAY,
    expires: t + 12.5 * DAY,
    likes: 24,
    liked: false,
    comments: true,
    notes: [
      note(
        'n2',
        2,
        '나루',
        '“이제 가도 돼.”처럼요.',
        '‘되라’와 ‘돼라’는 둘 다 쓰여요. 글로 옮길 때는 ‘되라고’가 되니 같이 적어 두면 좋겠어요.',
        3,
      ),
      note(
        'n1',
        1,
        '가람',
        '그래서 그 자리에 ‘되어’를 넣어 자연스러우면 ‘돼’, 어색하면 ‘되’\u2060를 쓰면 돼요.',
        '저는 ‘되어’보다 ‘하/해’가 먼저 나왔으면 해요. 아이들에게는 그쪽이 훨씬 쉬웠어요.',
        8,
      ),
    ],
    messages: [
      message('u', null, 'user', '‘되’와 ‘돼’가 늘 헷갈려요. 외우기 쉬운 방법이 있을까요?'),
      message('a', 'u', 'assistant', SPELLING),
    ],
  });
}
