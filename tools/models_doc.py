#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes docs/MODELS.md out of the tables: families (src/model/arch.def), formats
(src/kern/format.def), tokenizers (src/tok/tok_pre.def), and what engine_arch_test measured
(tests/data/errors.tsv, which the test writes where DAMSO_WRITE_ERRORS is set).

    tools/models_doc.py          checks the page
    tools/models_doc.py --write  brings it up to date
"""
import json
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def read(path):
    return open(os.path.join(ROOT, path), encoding="utf-8").read()


def rows(text, macro):
    """The arguments of each MACRO(...) outside comments, split at top level."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for m in re.finditer(r"^%s\(" % macro, text, re.M):
        depth, quoted, at, start, args = 1, False, m.end(), m.end(), []
        while depth:
            c = text[at]
            if c == '"' and text[at - 1] != "\\":
                quoted = not quoted
            elif not quoted and c in "()":
                depth += 1 if c == "(" else -1
            if not quoted and ((c == "," and depth == 1) or depth == 0):
                args.append(" ".join(text[start:at].split()))
                start = at + 1
            at += 1
        yield args


WORDS = {
    "MODEL_PAIR": "pairs", "MODEL_HALF": "halves", "MODEL_UNTURNED": "none",
    "MODEL_GELU": "GELU", "MODEL_GELU_ERF": "GELU (erf)", "MODEL_RELU2": "ReLU²",
    "MODEL_SWIGLU_OAI": "clamped SwiGLU", "MODEL_XIELU": "xIELU",
    "MODEL_SIGMOID": "experts by sigmoid", "MODEL_SOFTMAX_CHOSEN": "experts by softmax of the chosen",
    "MODEL_SPARSEMIXER": "experts by sparse mixer", "MODEL_V_BARE": "values normed bare",
    "MODEL_QK_NORM": "normed queries and keys", "MODEL_NORM_TURNED": "normed after the rotation",
    "MODEL_POST_NORM": "norms after blocks too", "MODEL_NORM_AFTER": "norms after blocks alone",
    "MODEL_NORM_BARE": "norms without gains", "MODEL_FFN_NORM_POST": "",
    "MODEL_PARALLEL": "blocks in parallel", "MODEL_EMBED_SCALE": "embeddings by √width",
    "MODEL_LOGITS_DIVIDED": "logits divided", "MODEL_WINDOW_TURNS": "rotation in windows only",
    "MODEL_YARN_SMOOTH": "smooth YaRN", "MODEL_EXPERTS_NORM": "experts' weights to 1",
    "MODEL_WEIGH_FIRST": "experts weighed before", "MODEL_CHUNKS": "chunks",
    "MODEL_QK_BARE": "queries and keys normed bare", "MODEL_LAST_EMBED_NORM": "",
    "MODEL_TURN_TUNED": "", "MODEL_HEADS_TILED": "",
    "MODEL_BIDIRECTIONAL": "encoder", "MODEL_STREAM_NORM": "stream normed after blocks",
    "MODEL_FIRST_BARE": "", "MODEL_GLOBAL_FIRST": "",
    "MODEL_SCORES_BY_SIZE": "scores by the head's size", "MODEL_BESIDE_ROOT": "a block beside experts",
    "MODEL_SCORES_GROW": "scores grow with the length",
}


def ordinal(n):
    return {2: "every second", 3: "every third", 4: "every fourth", 5: "every fifth", 6: "every sixth",
            8: "every eighth"}[int(n)]


def particulars(fields, blocks):
    out = blocks
    if fields.get(".norm") == "MODEL_MEAN":
        out.append("LayerNorm")
    for key in (".act", ".gating"):
        if key in fields:
            out.append(WORDS[fields[key]])
    out += [WORDS[f] for f in fields.get(".flags", "").split(" | ") if f and WORDS[f]]
    if ".window_pattern" in fields:
        n = int(fields[".window_pattern"])
        out.append("windows" if n == 1 else f"windows but in {ordinal(n)} layer")
    if ".unturned_pattern" in fields:
        out.append(f"no rotation in {ordinal(fields['.unturned_pattern'])} layer")
    for key, word in ((".attn_cap", "capped scores"), (".alibi", "ALiBi"), (".temper", "tempered queries")):
        if key in fields:
            out.append(word)
    return ", ".join(out)


def families(errors, made):
    out = ["| family | models | rotation | particulars | checked with | error, exact kernels | error, 8-bit kernels |",
           "|---|---|---|---|---|---|---|"]
    for name, *choices in rows(read("src/model/arch.def"), "ARCH"):
        fields = dict(c.split(" = ", 1) for c in choices)
        mine = [e for e in errors if e["arch"] == name and "format-" not in e["file"]]
        assert mine, f"{name}: no row in tests/data/errors.tsv"
        exact, fast = (max(float(e[k]) for e in mine) for k in ("exact", "fast"))
        blocks = sorted({e["blocks"] for e in mine if e["blocks"]})
        how = sorted({made.get(os.path.basename(e["file"]), "transformers") for e in mine})
        out.append(f"| `{name}` | {fields['.models'][1:-1]} | {WORDS[fields.get('.rope', 'MODEL_PAIR')]} | "
                   f"{particulars(fields, blocks)} | {', '.join(how)}, {len(mine)} model{'s' * (len(mine) > 1)} | "
                   f"{exact:.1e} | {fast:.1e} |")
    return out


def refused():
    """Families that are known and refused, by the reason."""
    text = read("src/model/arch_not.def")
    words = dict(re.findall(r'#define (NOT_\w+)\s+"([^"]*)"', text))
    by = {}
    for name, why in rows(text, "NOT_ARCH"):
        by.setdefault(words.get(why, why.strip('"')), []).append(f"`{name}`")
    return ["", "Refused with the reason:", ""] + [f"- {', '.join(names)}: {why}" for why, names in by.items()]


def page():
    lines = read("tests/data/errors.tsv").splitlines()
    head = lines[0].split("\t")
    lines = lines[1:] + read("tests/data/errors_encoder.tsv").splitlines()[1:]
    errors = [dict(zip(head, line.split("\t"))) for line in lines]
    made = {}
    for name, m in json.loads(read("tools/family_vectors.json")).items():
        made[name] = "by math" if "math" in m else "transformers" + (f" (as {m['class']})" if "arch" in m else "")
    for name, m in json.loads(read("tools/encoder_vectors.json")).items():
        made[name] = "transformers" + (f" ({m['class']} with its parts)" if "made" in m else "")
    out = [read("tools/models_doc.md").rstrip(), "", "## Families", ""]
    out += families(errors, made)
    out += refused()
    out += ["", "## Tensor formats", "",
            "Each equals the dequantiser of PyPI `gguf` to the bit (Q1_0 and Q2_0: that of ggml); a "
            "model of each is near what "
            "`transformers` computes with the same numbers.", "",
            "| format | error, exact kernels | error, 8-bit kernels |", "|---|---|---|"]
    out += [f"| {e['file'].split('format-')[1]} | {float(e['exact']):.1e} | {float(e['fast']):.1e} |"
            for e in errors if "format-" in e["file"]]
    return "\n".join(out + tokenizers() + folders())


# tokenizer.ggml.model: what it is, the vectors in tests/data/tok, what they come from
KINDS = [
    ("gpt2", "byte-level BPE", "", "Hugging Face `tokenizers`"),
    ("llama", "SentencePiece BPE, with the file's charsmap", "spm-llama spm-plain spm-rules", "`sentencepiece`"),
    ("gemma4", "BPE of characters, byte fallback", "gemma4", "Hugging Face `tokenizers`"),
    ("t5", "SentencePiece Unigram, with the file's charsmap", "unigram unigram-bytes", "`sentencepiece`"),
    ("bert", "WordPiece, with BERT's basic tokenizer", "wordpiece wordpiece-cased", "Hugging Face `tokenizers`"),
    ("rwkv", "RWKV's longest match", "rwkv", "the tokenizer of PyPI `rwkv`"),
]


def vectors(name):
    """The texts whose ids were compared, or 0."""
    path = os.path.join(ROOT, "tests/data/tok", name + ".json")
    if not os.path.exists(path):
        return 0
    return sum(ids is not None for ids in json.load(open(path, encoding="utf-8")))


def tokenizers():
    out = ["", "## Tokenizers", "",
           "Each gives the ids of its reference for every text compared: Korean and other scripts, "
           "emoji, control characters, odd white space, long runs, text that is not UTF-8 where the "
           "reference takes it. The vocabularies are small ones trained for that. Another "
           "`tokenizer.ggml.model` is refused by its name.", "",
           "| `tokenizer.ggml.model` | tokenizer | reference | texts compared |", "|---|---|---|---|"]
    pres = [r for r in rows(read("src/tok/tok_pre.def"), "PRE(?:_TOLD)?")]
    for model, what, files, reference in KINDS:
        names = files.split() or [p[0].strip('"') for p in pres if p[0] != '"gemma4"']
        out.append(f"| `{model}` | {what} | {reference} | {sum(vectors(n) for n in names)} |")
    out += ["", "Byte-level BPE cuts text by the pre-tokenizer that the file names "
            "(`tokenizer.ggml.pre`); an unknown name is refused. Where the makers' own "
            "`tokenizer.json` was not at hand, the pattern is the one that llama.cpp is known to use "
            "for the name: it is marked \"told\", and a normalisation that the makers may do is not "
            "done. One with the same pattern as another is checked by that one's texts.", "",
            "| pre-tokenizer | pattern from | checked by |", "|---|---|---|"]
    told = {r[0] for r in rows(read("src/tok/tok_pre.def"), "PRE_TOLD")}
    for name, flags, *steps in pres:
        own = name.strip('"')
        same = [p[0].strip('"') for p in pres if p[2:] == steps and vectors(p[0].strip('"'))]
        by = f"{vectors(own)} texts" if vectors(own) else ", ".join(f"`{s}`" for s in same[:1]) or "–"
        out.append(f"| `{own}` | {'told' if name in told else 'published'} | {by} |")
    return out + [""]


def folders():
    """The architectures of config.json that load from a folder."""
    by = {}
    for name, arch, *_ in rows(read("src/hf/hf_family.def"), "FAMILY"):
        by.setdefault(arch.strip('"'), []).append(f"`{name}`")
    out = ["## Folders of safetensors", "",
           "`-m FOLDER` opens a model as Hugging Face publishes it: `config.json`, `tokenizer.json`, "
           "`tokenizer_config.json` and `model.safetensors` or its parts with `model.safetensors.index.json`, "
           "in BF16, F16 or F32 as they are. With `--quantize q4_k` (or another type of `damso quantize`) its "
           "matrices are quantised once, to a file in `cache_dir` that later starts map; `damso quantize FOLDER "
           "OUT.gguf TYPE` makes such a file for others. Rows of queries and keys of some families, and experts, "
           "lie otherwise in the folder: they are put right in memory.", "",
           "Each was compared with the file that llama.cpp's converter makes of the same folder "
           "(`tools/hf_vectors.py`, `folder_test`): every key, every tensor to the bit, the logits to the bit, "
           "and token ids with Hugging Face's `tokenizers`. Tokenizers: byte-level BPE whose patterns are in the "
           "table above, and BPE of characters with tokens of bytes (Llama 2, Mistral, Gemma). Refused by name: "
           "other architectures, pickled weights, weights quantised in Hugging Face's ways (AWQ, GPTQ, FP8), "
           "`tokenizer.model` alone.", "",
           "| `architectures` of config.json | family |", "|---|---|"]
    return out + [f"| {', '.join(names)} | `{arch}` |" for arch, names in by.items()] + [""]


def main():
    path = os.path.join(ROOT, "docs", "MODELS.md")
    text = page()
    if "--write" in sys.argv:
        open(path, "w", encoding="utf-8").write(text)
    elif not os.path.exists(path) or open(path, encoding="utf-8").read() != text:
        sys.exit("docs/MODELS.md is behind the tables: run `make docs`")


if __name__ == "__main__":
    main()
