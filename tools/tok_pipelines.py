# SPDX-License-Identifier: MIT
"""The pipelines of byte-level BPE that makers of models publish in their tokenizer.json, for
tools/tok_vectors.py."""

from tokenizers import Regex
from tokenizers import pre_tokenizers as pt


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
SEED_CODER = (
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
    "seed-coder": (steps(SEED_CODER), False, False),
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
