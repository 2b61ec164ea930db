# SPDX-License-Identifier: MIT
"""The texts of tools/tok_vectors.py: those whose ids are compared, and those that small vocabularies are
trained on."""

import pathlib
import random
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER = ["<tool>", "<tool>s", "   ", "안녕하세요"]
SEED = 20261124

KOREAN = """대한민국은 동아시아의 한반도 남부에 자리한 나라이다. 수도는 서울이며, 공용어는 한국어이다.
오늘은 날씨가 맑고 바람이 조금 붑니다. 내일 오전 9시 30분에 회의가 있으니 늦지 마세요!
프로그램을 실행하려면 먼저 모델 파일을 내려받아 두어야 합니다. 그런 다음에 명령을 입력하세요.
"왜 안 되지?" 하고 그가 물었다. 나는 대답하지 않았다. 값은 12,500원이고 배송비는 3,000원입니다.
사람은 누구나 자유롭고 평등하게 태어났으며, 서로 형제의 정신으로 행동하여야 한다.
"""
ENGLISH = """The quick brown fox doesn't jump over the lazy dog; it's asleep, and they'll wait. In 2024, 1,234
people said that we've seen 3.14159 before. "I'd rather not," she said - but he'd gone already.
A tokenizer turns text into numbers, and numbers into text. That is all there is to it, isn't it?
Les élèves étudient à l'école. Größe, Straße, señor, Ærø. Привет, как дела? Γειά σου Κόσμε.
日本語の文章です。東京都に住んでいます。中文句子，没有空格。 مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก
"""

TORTURE = [
    "",
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n",
    "\n ",
    "\r",
    "a",
    " a",
    "a ",
    "  a",
    "a  b",
    "a   b",
    "\ta",
    "\t\ta\t\t",
    "a\n\nb",
    "a \n \n b",
    "a\r\n\r\nb\r\n",
    "   \n   \n\n\n  x  ",
    "Hello world",
    "Hello, World!",
    " leading and trailing ",
    "it's 'S IT'S we'LL They'Re I'd'd 'tis",
    "'s't're've'm'll'd",
    "'S'T'RE'VE'M'LL'D",
    "don\u2019t can\u2019t",
    "x'\u017f y'\u212a",
    "''''",
    "'",
    "0",
    "12",
    "123",
    "1234",
    "12345678901234567890",
    "3.14159",
    "1,234,567.89",
    "a1b22c333",
    "0x1F600",
    "\u0661\u0662\u0663 \u0967\u0968\u0969 \u00b2\u00b3\u00b9\u00bc\u00bd\u00be \u2167\u2178 \u2460\u2461",
    "안녕하세요",
    " 안녕하세요 세계",
    "대한민국은 민주공화국이다.",
    "한국어 tokenizer를 test합니다 123개",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    unicodedata.normalize("NFD", "한글과 값 뷁 é à Å ệ"),
    "가\u11a8 \uac00\u11a8\u11a8 \u1100\uac00",
    "ㄱㄴㄷㅏㅑㅓ ㅋㅋㅋㅋ ㅠㅠ",
    "값싼 닭, 넋을 읽다",
    "e\u0301 e\u0323\u0302 e\u0302\u0323 a\u0315\u0300\u05ae\u0062",
    "\u0301start",
    "x\u0301\u0301\u0301\u0301\u0301\u0301",
    "\u212b \u2126 \u1e9b\u0323 \ufb01 \u2460 \u0344 \u0958 \u2adc \ufb1d",
    "q\u0307\u0323",
    "\u0f71\u0f72\u0f74\u0f80",
    "👍",
    "👍🏽",
    "👨‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇰🇷🇺🇸",
    "❤️",
    "1️⃣2️⃣",
    "text🙂text",
    "🙂🙂🙂 🙂",
    "日本語の文章",
    "中文 没有空格",
    "東京タワー",
    "\u3000全角　空白",
    "ﾊﾝｶｸ ｶﾅ",
    "！＂＃￥",
    "Привет мир",
    "Γειά σου",
    "שלום עולם",
    "مرحبا بالعالم",
    "नमस्ते",
    "สวัสดี",
    "ជំរាបសួរ",
    "İstanbul ı ß ẞ ǅ Ǆ ǆ",
    "HTTPServer parseJSON XMLHttpRequest camelCase snake_case SCREAMING_CASE",
    "def f(x):\n    return x + 1\n\n\nclass A:\n\tpass\n",
    "for (int i = 0; i < n; i++) {\n    a[i] += b[i];\n}\n",
    "if (p != NULL && *p == '\\0') return -1; // 끝\n",
    "#include <stdio.h>\n#define X(a) #a\n",
    '<div class="a">&amp;</div>',
    '{"key": [1, 2.5, null, "값"]}',
    "https://example.com/a?b=c&d=%20#e",
    "user@example.co.kr",
    "C:\\dir\\file.txt",
    "!!!",
    "...",
    "---",
    "***",
    "==>",
    "$100 + 5% = ?",
    "a!b?c.d,e;f:g",
    "!\n",
    "!\n\n a",
    "?!\r\n",
    "/\n//\n",
    "$a $1 ^x ~y |z `w",
    "\u00a0nbsp\u00a0",
    "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
    "a\u2028b\u2029c\u0085d",
    "\u180e \u180ea",
    "\u200b\u200c\u200d\ufeff\u2060",
    "\u0000",
    "a\u0000b",
    "\u0001\u0002\u001f\u007f",
    "\x0b\x0c",
    "\x1c\x1d\x1e\x1f a",
    "\ufffd",
    "\uffff\ufffe",
    "\U0010ffff",
    "\U000e0001\U000e0041",
    "\ue000",
    "\U0001d400\U0001d41a\U00010400",
    "▁",
    "▁▁",
    "a▁b",
    " ▁ ",
    "▁a ▁b",
    "Ġ",
    "ĠĊ",
    "ĉ",
    "Ã©",
    "<0x0A>",
    "<0x41>",
    "<unk>",
    "<s>",
    "</s>",
    "a" * 300,
    "가" * 200,
    " " * 200,
    "\n" * 100,
    "1" * 200,
    "!" * 150,
    "ab" * 150,
    " a" * 100,
    "\t" * 70,
    "\u0301" * 60,
    "a " * 80,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "ééééé",
    "\u0300\u0316" * 20,
    "<|im_start|>user\nhi<|im_end|>\n",
    "<|im_start|>",
    "x<|im_end|>y",
    "<|im_end|><|im_end|>",
    " <|im_end|> ",
    "<|im_en",
    "<|im_end|",
    "<<|im_end|>>",
    "<|endoftext|>",
    "<|im_start|>assistant\n안녕하세요<|im_end|>",
    "<start_of_turn>user\nhi<end_of_turn>\n",
    "<bos>a<eos>",
    "<tool>",
    "<tool>s",
    "<tool>x</tool>",
    "<to<tool>ol>",
    "안녕하세요<tool>s안녕",
    "a    b     c",
    "[multimodal]",
    "<start_of_image>",
    "<unused0>",
    "e<tool>\u0301",
    "a\u0301<|im_end|>\u0301b",
]

POOLS = [
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    " ",
    " ",
    "  ",
    "\n\r\t\x0b\x0c",
    "\u00a0\u0085\u1680\u2000\u2003\u2009\u2028\u2029\u202f\u205f\u3000\u180e\u200b",
    [chr(c) for c in range(0xAC00, 0xD7A4)],
    [chr(c) for c in range(0xAC00, 0xD7A4)],
    [chr(c) for c in range(0x1100, 0x1200)],
    [chr(c) for c in range(0x3131, 0x318F)],
    [chr(c) for c in range(0x300, 0x370)],
    [chr(c) for c in range(0x4E00, 0x9FA6)],
    [chr(c) for c in range(0x3041, 0x30FF)],
    [chr(c) for c in range(0xA1, 0x250)],
    [chr(c) for c in range(0x370, 0x530)],
    [chr(c) for c in range(0x590, 0x700)],
    [chr(c) for c in range(0x900, 0xE80)],
    [chr(c) for c in range(0x1E00, 0x2000)],
    [chr(c) for c in range(0x2010, 0x2C00)],
    [chr(c) for c in range(0xF900, 0xFB50)],
    [chr(c) for c in range(0xFF01, 0xFFEF)],
    [chr(c) for c in range(0x1F300, 0x1F700)] + ["\u200d", "\ufe0f"],
    [chr(c) for c in range(0x1D400, 0x1D800)],
    [chr(c) for c in range(0x20)],
    [chr(c) for c in range(0x10000, 0x12000)],
    ["'s", "'S", "'ll", "'RE", "n't", "ing", " the", " of", "the"],
    ["은", "는", "이다", "합니다", " 있는", " 그"],
    CONTROL,
    USER,
    ["<bos>", "<end_of_turn>", "\n\n", "▁", "▁▁", "<0x0A>"],
]
# assigned in Unicode 14, so that the references and PCRE2 agree on what a character is
POOLS = [[c for c in p if len(c) > 1 or unicodedata.category(c) not in ("Cn", "Cs")] for p in POOLS]


# not UTF-8: only sentencepiece takes them
ILL_FORMED = [
    b"a\xff\xfeb",
    b"\xe1\x80c",
    b"\xf0\x9f\x98 d\xf0\x9f",
    b"\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80",
    b"\x80 \xec\x95\x88",
]


def make_texts():
    rng = random.Random(SEED)
    texts = [
        {"text": t, "special": s} for t in TORTURE for s in ((False, True) if "<" in t else (True,))
    ]
    for i in range(320):
        pools = rng.sample(POOLS, rng.randint(1, 5))
        chars = [rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 22))]
        if i % 4 == 0:  # runs
            chars = [c * rng.randint(1, 5) for c in chars[:8]]
        texts.append({"text": "".join(chars), "special": bool(rng.getrandbits(1))})
    for block in (KOREAN, ENGLISH, KOREAN + ENGLISH):
        texts.append({"text": block, "special": False})
    texts += [{"hex": b.hex(), "special": False} for b in ILL_FORMED]
    return texts


def corpus():
    code = [p.read_text() for p in sorted((ROOT / "src/base").glob("*.[ch]"))]
    return [KOREAN] * 3 + [ENGLISH] * 3 + code + TORTURE
