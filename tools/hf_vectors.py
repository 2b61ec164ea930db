#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of models in folders: tests/data/hf/NAME/, NAME.gguf and NAME.json.

    pip install gguf transformers torch tokenizers    and the sdist of llama-cpp-python, unpacked
    tools/hf_vectors.py --convert .../vendor/llama.cpp [--all] [--out DIR] [NAME...]

A tiny model with random weights is saved by `transformers` (save_pretrained) with a tokenizer that
`tokenizers` trained, and made a GGUF file by the converter that real files are made with
(convert_hf_to_gguf.py of llama.cpp), in the same type.  The test holds the folder to the file: keys,
tensors, logits; and its token ids to those of `tokenizers` (NAME.json: texts and ids).
--all: every family of tools/family_vectors.json that loads from a folder, without tokenizers' texts,
into --out; DAMSO_HF=DIR makes the test look there.
"""
import argparse
import importlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import family_vectors as fv  # (the converter's path is its doing)
import gguf
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "tests", "data", "hf")
ROWS = 352  # of the embeddings: more than tokens
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEXTS = ["", "hello", " hello  world", "the sea was calm that morning, and the small boat lay still",
         "We've 3 boats, 42 nets and 1234567 fish!!", "a\nb\n\n  c\t\td  ", "don't DON'T we'LL",
         "바다가 잔잔했다. 안녕하세요?", "caf\u00e9 cafe\u0301 \u00c5 A\u030a", "🙂🙃 \u200d ok", "<s>hi</s> there",
         "<|user|>hi<|end|> there", "x\u2581y", "(((a)))[b]{c} == != <= >=", "\u00a0\u3000wide"]
CORPUS = [t for t in TEXTS for _ in range(3)] + ["the boat and the sea and the net", "hello world " * 4]

BASE = dict(vocab_size=ROWS, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
            tie_word_embeddings=False, rms_norm_eps=1e-2, bos_token_id=0, eos_token_id=1,
            pad_token_id=None)
MOE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
L3 = dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
          original_max_position_embeddings=64)
LONG = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.3, 1.5],
            long_factor=[1.5, 2.0, 3.0, 4.0], original_max_position_embeddings=128)
# name: class, config beyond BASE, type, tokenizer, shard size or None, the pre-tokenizer's name
MODELS = {
    "llama": ("Llama", dict(rope_parameters=L3), "float16", "llama3", None, "llama-bpe"),
    "qwen3moe": ("Qwen3Moe", dict(MOE, norm_topk_prob=True, head_dim=16), "bfloat16", "qwen2", "40KB", "qwen2"),
    # as many rows as the converter, which counts added tokens twice, leaves it
    "gemma3": ("Gemma3", dict(vocab_size=ROWS - 5, num_hidden_layers=6, head_dim=16, query_pre_attn_scalar=16, sliding_window=6,
                              tie_word_embeddings=True), "bfloat16", "gemma", None, None),
    "phi3": ("Phi3", dict(rope_parameters=LONG, original_max_position_embeddings=128,
                          max_position_embeddings=256, sliding_window=None), "float32", "llama2", None, None),
    "mixtral": ("Mixtral", dict(num_local_experts=4, num_experts_per_tok=2, num_hidden_layers=1),
                "bfloat16", "mistral", None, None),
    "granitemoe": ("GraniteMoe", dict(num_local_experts=4, num_experts_per_tok=2, embedding_multiplier=6.0,
                                      attention_multiplier=0.2, residual_multiplier=0.3, logits_scaling=4.0,
                                      num_hidden_layers=1), "float16", "smollm", None, "smollm"),
}


def tokenizer(kind):
    """Byte-level BPE, or BPE of characters, set up as the makers of the kind do."""
    special = ["<s>", "</s>", "<unk>", "<|user|>", "<|end|>"]
    if kind in ("gemma", "llama2", "mistral"):
        t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        replace = normalizers.Replace(" ", "\u2581")
        if kind == "gemma":
            t.normalizer = replace
            t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        elif kind == "llama2":
            t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace])
        else:
            t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="first", split=False)
        words = [w for s in CORPUS for w in re.findall(r" ?[^ ]+", s)]
        trainer = trainers.BpeTrainer(vocab_size=ROWS - 10, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)],
                                      limit_alphabet=50, show_progress=False)
        t.train_from_iterator(words, trainer)
        state = json.loads(t.to_str())  # the tokens of bytes are no added tokens
        state["added_tokens"] = [a for a in state["added_tokens"] if a["content"] in special]
        t = Tokenizer.from_str(json.dumps(state))
        t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        t = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
        if kind == "qwen2":
            t.normalizer = normalizers.NFC()
        if kind == "smollm":
            t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
        else:
            t.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(LLAMA3 if kind == "llama3" else QWEN2), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        t.decoder = decoders.ByteLevel()
        t.train_from_iterator(CORPUS, trainers.BpeTrainer(
            vocab_size=ROWS - 10, special_tokens=special, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if kind in ("qwen2", "smollm"):
        t.post_processor = processors.ByteLevel(trim_offsets=False)
    else:
        t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)])
    return t


def save_tokenizer(t, folder):
    state = json.loads(t.to_str())
    json.dump(state, open(os.path.join(folder, "tokenizer.json"), "w"), ensure_ascii=False)
    json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                   chat_template="{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}"),
              open(os.path.join(folder, "tokenizer_config.json"), "w"))


def convert(folder, out, kind, pre, patch=None, plain=False):
    """By the converter itself.  pre: how it names the pre-tokenizer; without one, and of families
    without texts, the vocabulary is left out."""
    tool = importlib.import_module("convert_hf_to_gguf")
    hparams = tool.ModelBase.load_hparams(Path(folder), False)
    hparams.update(patch or {})
    hparams = {k: v for k, v in hparams.items() if k not in (patch or {}) or v is not None}
    cls = tool.get_model_class(tool.get_model_architecture(hparams, tool.ModelType.TEXT))

    def set_vocab(self):
        self.gguf_writer.add_tokenizer_model("none")

    more = dict(model_arch=cls.model_arch, no_mtp=True)
    if pre and not plain:
        more["get_vocab_base_pre"] = lambda self, t: pre
        more["set_vocab"] = lambda self: self._set_vocab_gpt2()
    else:
        more["set_vocab"] = set_vocab
    bare = type(cls.__name__, (cls,), more)
    with torch.inference_mode():
        bare(Path(folder), kind, Path(out), eager=True, hparams=hparams).write()


KINDS = dict(float16=gguf.LlamaFileType.MOSTLY_F16, bfloat16=gguf.LlamaFileType.MOSTLY_BF16,
             float32=gguf.LlamaFileType.ALL_F32)


def make(name, cls, extra, dtype, kind, shard, pre, out, plain=False, patch=None):
    torch.manual_seed(sum(name.encode()))
    config = cls + ("TextConfig" if cls == "Gemma3" else "Config")
    config = getattr(transformers, config)(**{**BASE, **extra})
    model = getattr(transformers, cls + "ForCausalLM")(config)
    for n, p in model.named_parameters():
        size = 1.0 if "embed" in n else p.shape[-1] ** -0.5 if p.dim() > 1 else 0.3
        with torch.no_grad():
            p.copy_(torch.randn(p.shape) * size + (p.dim() == 1 and n.endswith("weight") and cls[:5] != "Gemma"))
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    t = tokenizer(kind)
    save_tokenizer(t, folder)
    texts = [dict(text=s, ids=t.encode(s).ids) for s in TEXTS]
    json.dump(texts, open(os.path.join(out, name + ".json"), "w"), ensure_ascii=False, indent=0)
    convert(folder, os.path.join(out, name + ".gguf"), KINDS[dtype], pre, patch, plain)
    for f in os.listdir(folder):
        if f == "generation_config.json":
            os.unlink(os.path.join(folder, f))
    print(f"{name}: {sorted(os.listdir(folder))} {sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))} bytes")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--convert", required=True)
    a.add_argument("--all", action="store_true")
    a.add_argument("--out", default=DATA)
    a.add_argument("names", nargs="*")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    fv.quiet()
    if not a.all:
        for name, m in MODELS.items():
            if not a.names or name in a.names:
                make(name, *m, a.out)
        return
    known = set(re.findall(r"^FAMILY\((\w+)ForCausalLM", open(os.path.join(HERE, "..", "src/hf/hf_family.def")).read(), re.M))
    for name, m in json.load(open(os.path.join(HERE, "family_vectors.json"))).items():
        if m["class"] not in known or "arch" in m or (a.names and name not in a.names):
            continue
        try:
            make(name, m["class"], {**(MOE if "moe" in m.get("with", []) else {}), **m["config"]}, "bfloat16",
                 "llama3", None, None, a.out, True, m.get("patch"))
        except Exception as e:
            print(f"{name}: FAILED {type(e).__name__}: {str(e)[:300]}")


if __name__ == "__main__":
    main()
