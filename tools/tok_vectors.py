#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/data/tok/: texts and the ids that the reference tokenizers give them.

    python3 -m venv V && V/bin/pip install tokenizers sentencepiece gguf protobuf rwkv
    V/bin/python tools/tok_vectors.py [--models FOLDER] [--only NAME] [--bench FILE]

texts.json has the texts, each with `special`: whether control tokens in it are read; bytes that are
not UTF-8 are `hex`.  NAME.json has the ids of each text in the same order (null where the reference
cannot take it), for the vocabulary NAME.gguf: one in the same folder (small,
trained here, vocabulary only), or one of the two real test models, found in FOLDER.  The references
are Hugging Face `tokenizers` with the pre_tokenizer and normalizer that the makers of the models
publish in their tokenizer.json, Google's `sentencepiece`, and the tokenizer of the `rwkv` package.
"""

import argparse
import io
import json
import pathlib
import random
import tempfile
import time
import unicodedata

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as sp_pb
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, trainers
from tokenizers import pre_tokenizers as pt

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/data/tok"
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


def split(pattern):
    return pt.Split(Regex(pattern), "isolated")


def steps(*patterns):
    return pt.Sequence(
        [
            *(split(p) if isinstance(p, str) else p for p in patterns),
            pt.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def byte_level():
    return pt.ByteLevel(add_prefix_space=False, use_regex=True)


CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = O200K.replace(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")
CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7d"
    "ᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗ"
    "Ａ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
HAN = "[一-龥ࠀ-一가-퟿]+"
DIGITS = pt.Digits(individual_digits=True)

BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
EXAONE_MOE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
KIMI = (
    r"[\p{Han}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BAILING = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
SEED = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
YOUTU = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"
SPARK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"
)

JAIS2 = CL100K.replace(
    r"|\s+(?!\S)|\s+", "".join(rf"|\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2")) + r"|\s{1}"
)
AFMOE_DIGITS = (
    r"\p{Nd}{1,510}(?=(?>\p{Nd}{510})*(?:\P{Nd}|$))|\G\p{Nd}{510}",
    r"\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)",
    r"\A\p{Nd}{3}|\G\p{Nd}{3}",
)
AFMOE_SCRIPTS = (
    r"(?:[\u4E00-\u9FFF\u3040-\u309F\u30A0-\u30FF\u3400-\u4DBF\uf900-\uFAFF\uFF65-\uFF9F\u2F00-\u2FDF]+"
    r"|[\u0E00-\u0E7F]+|[\u0E80-\u0EFF]+|[\u1780-\u17FF]+|[\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF]+"
    r"|[\uAC00-\uD7AF\u1100-\u11FF]+)"
)
SUPERBPE_DIGITS = (r"\p{N}+", r"(?=(\d{3})+(?!\d))")
TINY_AYA = steps(r"\d{1,3}(?=(?:\d{3})*\b)", O200K)

# name: (pre_tokenizer, normalizer is NFC, ignore_merges); the pipelines as published
PRES = {
    "gpt-2": (byte_level(), False, False),
    "mpt": (byte_level(), True, False),
    "starcoder": (pt.Sequence([DIGITS, byte_level()]), False, False),
    "command-r": (pt.Sequence([DIGITS, byte_level()]), True, False),
    "llama-bpe": (steps(CL100K), False, True),
    "dbrx": (steps(CL100K), False, False),
    "qwen2": (steps(QWEN2), True, False),
    "qwen35": (steps(QWEN35), True, False),
    "gpt-4o": (steps(O200K), False, True),
    "tekken": (steps(TEKKEN), False, True),
    "deepseek-llm": (
        steps(
            "[\r\n]",
            r"\s?[" + CASED + "]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            HAN,
            DIGITS,
        ),
        False,
        False,
    ),
    "deepseek-coder": (steps("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN, DIGITS), False, False),
    "deepseek-v3": (steps(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3), False, False),
    "falcon": (
        pt.Sequence(
            [
                pt.Punctuation("contiguous"),
                byte_level(),
                pt.Digits(individual_digits=False),
                split("[0-9][0-9][0-9]"),
            ]
        ),
        False,
        False,
    ),
    "exaone-moe": (steps(EXAONE_MOE), True, False),
    "kimi-k2": (steps(KIMI), False, True),
    "bailingmoe": (steps(BAILING), False, False),
    "seed-coder": (steps(SEED), False, False),
    "minicpm5": (steps(r"\p{N}{1,3}", CL100K.replace(r"\p{N}{1,3}", r"\p{N}+")), False, True),
    "youtu": (steps(YOUTU, O200K.replace("{1,3}", "")), False, True),
    "spark2_5": (steps(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", SPARK, r"\p{N}"), False, False),
    "viking": (steps(BLOOM, r"\p{N}"), False, False),
    "bloom": (steps(" ?[^(\\s|[.,!?…。，、।۔،])]+"), False, False),
    "jais-2": (steps(JAIS2), False, False),
    "afmoe": (steps(*AFMOE_DIGITS, AFMOE_SCRIPTS, DEEPSEEK3), False, False),
    "tiny_aya": (TINY_AYA, False, False),
    "superbpe": (steps(*SUPERBPE_DIGITS), False, False),
}
# Pipelines that leave whole texts in one piece learn from lines.
LEARN_BY = {"superbpe": steps("[^\n]{1,24}|\n+", *SUPERBPE_DIGITS)}


def write_gguf(path, model, tokens, types, merges=None, scores=None, pre=None, **keys):
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_tokenizer_model(model)
    if pre:
        w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if merges is not None:
        w.add_token_merges(merges)
    if scores is not None:
        w.add_token_scores(scores)
    for key, value in keys.items():
        getattr(w, "add_" + key)(*(value if isinstance(value, tuple) else (value,)))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def hf_encoder(tok):
    def encode(text, special):
        if isinstance(text, bytes):
            return None
        tok.encode_special_tokens = not special
        return tok.encode(text, add_special_tokens=False).ids

    return encode


def hf_tokenizer(vocab, merges, pre, nfc=False, ignore_merges=False):
    tok = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore_merges))
    tok.pre_tokenizer = pre
    if nfc:
        tok.normalizer = normalizers.NFC()
    return tok


def make_bpe(name):
    """Trains a small vocabulary with the row's pipeline and writes NAME.gguf."""
    pre, nfc, ignore = PRES[name]
    trained = hf_tokenizer({}, [], LEARN_BY.get(name, pre), nfc)
    trained.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=900,
            min_frequency=2,
            initial_alphabet=sorted(pt.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    vocab = model["vocab"]
    if ignore:  # tokens that merges do not reach, as tiktoken vocabularies have them
        for word in ("Ġ" + "tokenizer", "hello", "aaaa"):
            if word not in vocab:
                vocab[word] = len(vocab)
    tok = hf_tokenizer(vocab, merges, pre, nfc, ignore)
    tok.add_special_tokens([AddedToken(c, special=True, normalized=False) for c in CONTROL])
    tok.add_tokens([AddedToken(u, special=False, normalized=False) for u in USER])
    tokens = [None] * tok.get_vocab_size()
    for text, i in tok.get_vocab().items():
        tokens[i] = text
    types = [3 if t in CONTROL else 4 if t in USER else 1 for t in tokens]
    write_gguf(
        OUT / f"{name}.gguf",
        "gpt2",
        tokens,
        types,
        merges=[" ".join(m) for m in merges],
        pre=name,
        eos_token_id=tok.token_to_id("<|im_end|>"),
    )
    return hf_encoder(tok)


def make_gemma4(name):
    """BPE of characters with byte fallback; spaces are U+2581 for the model."""
    spaces = normalizers.Replace(" ", "▁")
    trained = Tokenizer(models.BPE())
    trained.normalizer = spaces
    trained.pre_tokenizer = pt.Split(Regex("[^\n]+|\n+"), "isolated")  # else it learns whole texts
    trained.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=1200, min_frequency=4, show_progress=False,
                                      max_token_length=12, limit_alphabet=500)
    )
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    head = special + [f"<0x{b:02X}>" for b in range(256)]
    vocab = {t: i for i, t in enumerate(head)}
    for t in sorted(model["vocab"], key=model["vocab"].get):
        vocab.setdefault(t, len(vocab))
    tok = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = spaces
    tok.pre_tokenizer = pt.Split(" ", "merged_with_previous")
    control = special + CONTROL
    tok.add_special_tokens([AddedToken(c, special=True, normalized=False) for c in control])
    tok.add_tokens([AddedToken(u, special=False, normalized=False) for u in USER])
    tokens = [None] * tok.get_vocab_size()
    for text, i in tok.get_vocab().items():
        tokens[i] = text
    types = [
        3 if t in control else 4 if t in USER else 6 if t in head else 1 for t in tokens
    ]
    write_gguf(
        OUT / f"{name}.gguf", "gemma4", tokens, types, merges=[" ".join(m) for m in merges],
        scores=[-1000.0] * len(tokens), bos_token_id=2, eos_token_id=1, unk_token_id=3,
        add_space_prefix=False,
    )
    return hf_encoder(tok)


def bert_knows(text):
    """False for characters newer than the tables (Unicode 8) of Hugging Face's basic tokenizer."""
    split = pt.BertPreTokenizer()
    clean = normalizers.BertNormalizer(True, False, True, False)
    for c in set(text):
        kind = unicodedata.category(c)
        plain = "".join(
            x for x in unicodedata.normalize("NFD", c) if unicodedata.category(x) != "Mn"
        )
        if kind[0] == "P" and len(split.pre_tokenize_str(f"a{c}a")) != 3:
            return False
        if kind == "Cf" and clean.normalize_str(f"a{c}a") != "aa":
            return False
        if kind[0] in "LMNSP" and clean.normalize_str(f"a{c}a") != f"a{plain}a":
            return False
    return True


def make_wordpiece(name, lowercase):
    """Written as the converter writes BERT's: U+2581 before words, "##" left out."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + CONTROL
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tok.pre_tokenizer = pt.BertPreTokenizer()
    tok.train_from_iterator(
        corpus(),
        trainers.WordPieceTrainer(vocab_size=1300, limit_alphabet=420, special_tokens=special,
                                  show_progress=False),
    )
    tokens = [None] * tok.get_vocab_size()
    for text, i in tok.get_vocab().items():
        tokens[i] = text
    written = [
        t if t in special else t[2:] if t.startswith("##") else "▁" + t for t in tokens
    ]
    write_gguf(
        OUT / f"{name}.gguf", "bert", written, [3 if t in special else 1 for t in tokens],
        pre="bert-bge", unk_token_id=1, sep_token_id=3, bos_token_id=2,
        **({} if lowercase else {"bool": ("tokenizer.ggml.normalizer.lowercase", False)}),
    )
    encode = hf_encoder(tok)

    def encode_known(text, special):
        return encode(text, special) if isinstance(text, str) and bert_knows(text) else None

    return encode_known


def make_rwkv(name):
    """Tokens are bytes: all single ones, pieces of characters, and common words."""
    from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

    seen = {}
    for text in corpus():
        data = text.encode()
        for n in (2, 3, 4, 6, 8):
            for i in range(0, len(data) - n):
                seen[data[i : i + n]] = seen.get(data[i : i + n], 0) + 1
    best = sorted(seen, key=lambda b: (-seen[b] * len(b), b))[:700]
    words = [bytes([b]) for b in range(256)] + sorted(best, key=lambda b: (len(b), b))
    words += [b"'\"both'", b"\\n\n"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        for i, word in enumerate(words, 1):
            try:
                text = repr(word.decode())
            except UnicodeDecodeError:
                text = repr(word)
            f.write(f"{i} {text} {len(word)}\n")
        f.flush()
        tok = TRIE_TOKENIZER(f.name)
    n = len(words) + 1
    write_gguf(
        OUT / f"{name}.gguf", "rwkv",
        ["<s>"] + [repr(b)[2:-1] for b in words] + [f"[PAD{n}]"], [3] + [1] * len(words) + [5],
        bos_token_id=0, eos_token_id=0,
    )

    def encode(text, special):
        if special and "<s>" in (text if isinstance(text, str) else ""):
            parts = [tok.encodeBytes(p.encode()) for p in text.split("<s>")]
            return [i for k, p in enumerate(parts) for i in ([0] if k else []) + list(p)]
        return list(tok.encodeBytes(text.encode() if isinstance(text, str) else text))

    return encode


RULES = (
    [(chr(c), unicodedata.normalize("NFKC", chr(c))) for c in range(0xFF01, 0xFFE7)]
    + [(chr(c), unicodedata.normalize("NFKC", chr(c))) for c in range(0x2460, 0x2480)]
    + [(unicodedata.normalize("NFD", c), c) for c in "한글과값뷁éàÅệ안녕하세요"]
    + [("\u3000", " "), ("\u00a0", " "), ("\t", " "), ("\n", " "), ("\u200b", ""), ("\u00ad", "")]
    + [("ﷺ", "صلى الله عليه وسلم"), ("\u2026", "..."), ("ab", "AB"), ("abab", "x y"), ("\u2028", "  ")]
)


def write_sp(name, model, proto, **more):
    """The file of a SentencePiece model; gives its control tokens."""
    write_gguf(
        OUT / f"{name}.gguf",
        model,
        [p.piece for p in proto.pieces],
        [p.type for p in proto.pieces],
        scores=[p.score for p in proto.pieces],
        pre="default",
        bos_token_id=1,
        eos_token_id=2,
        unk_token_id=0,
        add_space_prefix=proto.normalizer_spec.add_dummy_prefix,
        **more,
    )
    return {p.piece: i for i, p in enumerate(proto.pieces) if p.type == 3}


def make_unigram(name, **options):
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
        for a, b in {a: b for a, b in RULES if a != b}.items():
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        f.flush()
        if options.pop("rules"):
            options["normalization_rule_tsv"] = f.name
        else:
            options["normalization_rule_name"] = "identity"
        out = io.BytesIO()
        lines = [line for text in corpus() for line in text.split("\n") if "\0" not in line]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=1300,
            character_coverage=0.99, minloglevel=2, hard_vocab_limit=False,
            user_defined_symbols=["<tool>", "<tool>s", "▁▁▁"],
            control_symbols=["<|im_start|>", "<|im_end|>"], **options,
        )
    proto = sp_pb.ModelProto.FromString(out.getvalue())
    for i, p in enumerate(proto.pieces):  # some unused tokens, some equal scores
        if p.type == 1 and len(p.piece) > 1 and i % 9 == 0:
            p.type = 5
        elif p.type == 1 and i % 5 == 0:
            p.score = float(int(p.score))
    spec = proto.normalizer_spec
    charsmap = {"precompiled_charsmap": spec.precompiled_charsmap} if spec.precompiled_charsmap else {}
    model = "t5" if options["model_type"] == "unigram" else "llama"
    control = write_sp(name, model, proto, remove_extra_whitespaces=spec.remove_extra_whitespaces, **charsmap)
    return sp_encoder(proto, control)


OTHERS = {
    "gemma4": make_gemma4,
    "wordpiece": lambda n: make_wordpiece(n, True),
    "wordpiece-cased": lambda n: make_wordpiece(n, False),
    "rwkv": make_rwkv,
    "unigram": lambda n: make_unigram(n, model_type="unigram", rules=True),
    "unigram-bytes": lambda n: make_unigram(
        n, model_type="unigram", rules=False, byte_fallback=True, remove_extra_whitespaces=False
    ),
    "spm-rules": lambda n: make_unigram(n, model_type="bpe", rules=True, byte_fallback=True),
}


def sp_encoder(proto, control):
    sp = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())

    def encode(text, special):
        ids = []
        while special and text:  # control tokens are cut out first, the leftmost and longest
            hits = [(text.find(c), -len(c), c) for c in control if c in text]
            if not hits:
                break
            at, _, c = min(hits)
            ids += sp.encode(text[:at]) + [control[c]]
            text = text[at + len(c) :]
        return ids + sp.encode(text)

    return encode


def make_spm(name, **options):
    out = io.BytesIO()
    lines = [line for text in corpus() for line in text.split("\n") if "\0" not in line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        model_type="bpe",
        vocab_size=1400,
        character_coverage=0.99,
        normalization_rule_name="identity",
        split_digits=True,
        max_sentencepiece_length=16,
        minloglevel=2,
        user_defined_symbols=["<tool>", "<tool>s", "▁▁", "▁▁▁", "\n"],
        control_symbols=["<|im_start|>", "<|im_end|>"],
        **options,
    )
    proto = sp_pb.ModelProto.FromString(out.getvalue())
    for i, p in enumerate(proto.pieces):  # some unused tokens, some equal scores
        if p.type == 1 and len(p.piece) > 1 and i % 7 == 0:
            p.type = 5
        elif p.type == 1 and i % 5 == 0:
            p.score = float(int(p.score) // 16 * 16)
    control = write_sp(name, "llama", proto)
    spec = proto.normalizer_spec
    if spec.remove_extra_whitespaces:
        w = gguf.GGUFWriter(str(OUT / f"{name}.gguf"), "llama")
        w.add_tokenizer_model("llama")
        w.add_token_list([p.piece for p in proto.pieces])
        w.add_token_types([p.type for p in proto.pieces])
        w.add_token_scores([p.score for p in proto.pieces])
        w.add_unk_token_id(0)
        w.add_add_space_prefix(spec.add_dummy_prefix)
        w.add_remove_extra_whitespaces(True)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.close()
    return sp_encoder(proto, control)


SPMS = {
    "spm-llama": dict(byte_fallback=True, add_dummy_prefix=True, remove_extra_whitespaces=False),
    "spm-plain": dict(byte_fallback=False, add_dummy_prefix=True, remove_extra_whitespaces=True),
}


def read_gguf(path):
    r = gguf.GGUFReader(str(path))

    def strings(key):
        f = r.fields["tokenizer.ggml." + key]
        return [bytes(f.parts[i]).decode() for i in f.data]

    def numbers(key):
        f = r.fields["tokenizer.ggml." + key]
        return [f.parts[i][0].item() for i in f.data]

    return strings, numbers


def real_smollm2(path):
    strings, numbers = read_gguf(path)
    tokens, types = strings("tokens"), numbers("token_type")
    vocab = {t: i for i, t in enumerate(tokens)}
    tok = hf_tokenizer(
        vocab, [tuple(m.split(" ")) for m in strings("merges")], pt.Sequence([DIGITS, byte_level()])
    )
    tok.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3]
    )
    return hf_encoder(tok)


def real_gemma3(path):
    strings, numbers = read_gguf(path)
    proto = sp_pb.ModelProto()
    control = {}
    for i, (text, score, kind) in enumerate(
        zip(strings("tokens"), numbers("scores"), numbers("token_type"))
    ):
        p = proto.pieces.add()
        # the converter writes the spaces of user-defined tokens plainly, and types <unk> as control
        p.piece = text.replace(" ", "▁") if kind == 4 else text
        p.score = score
        p.type = 2 if text == "<unk>" else kind
        if kind == 3:
            control[text] = i
    spec = proto.trainer_spec
    spec.model_type = sp_pb.TrainerSpec.ModelType.BPE
    spec.byte_fallback = True
    spec.unk_id, spec.bos_id, spec.eos_id, spec.pad_id = 3, 2, 1, 0
    spec.bos_piece, spec.eos_piece, spec.pad_piece, spec.unk_piece = (
        "<bos>",
        "<eos>",
        "<pad>",
        "<unk>",
    )
    norm = proto.normalizer_spec
    norm.name = "identity"
    norm.add_dummy_prefix = False
    norm.remove_extra_whitespaces = False
    norm.escape_whitespaces = True
    return sp_encoder(proto, control)


REAL = {"smollm2-135m-instruct": real_smollm2, "gemma3-270m": real_gemma3}


def write_json(path, rows):
    path.write_text(
        "[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n"
    )


def bench(encode, name, path):
    text = pathlib.Path(path).read_text()
    t = time.perf_counter()
    n = len(encode(text, False))
    t = time.perf_counter() - t
    print(
        f"{name}: {n} ids of {len(text.encode())} bytes in {t:.3f} s, {len(text.encode()) / t / 1e6:.2f} MB/s"
    )


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--models", help="folder of the two real test models")
    ap.add_argument("--only", help="one vocabulary, with the texts that there are")
    ap.add_argument("--bench", help="time the real models' references on this file instead")
    a = ap.parse_args()
    makers = {n: (lambda n=n: make_bpe(n)) for n in PRES}
    makers.update({n: (lambda n=n, o=o: make_spm(n, **o)) for n, o in SPMS.items()})
    makers.update({n: (lambda n=n, f=f: f(n)) for n, f in OTHERS.items()})
    real = (
        {n: (lambda n=n, f=f: f(pathlib.Path(a.models) / f"{n}.gguf")) for n, f in REAL.items()}
        if a.models
        else {}
    )
    if a.bench:
        for name, make in real.items():
            bench(make(), name, a.bench)
        return
    OUT.mkdir(parents=True, exist_ok=True)
    if a.only:  # the random texts depend on Python's version of Unicode
        texts = json.loads((OUT / "texts.json").read_text())
    else:
        texts = make_texts()
        write_json(OUT / "texts.json", texts)
    for name, make in {**makers, **real}.items():
        if a.only in (None, name):
            encode = make()
            write_json(
                OUT / f"{name}.json",
                [
                    encode(t["text"] if "text" in t else bytes.fromhex(t["hex"]), t["special"])
                    for t in texts
                ],
            )
            print(name, flush=True)


if __name__ == "__main__":
    main()
