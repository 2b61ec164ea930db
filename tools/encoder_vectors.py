#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of encoders and rerankers: tests/data/encoder/*.gguf and *.ref.

    pip install gguf transformers torch sentencepiece    and the sdist of llama-cpp-python, unpacked
    tools/encoder_vectors.py --convert .../vendor/llama.cpp [NAME...] [--out DIR]

As tools/family_vectors.py: tiny models of random weights that Q8_0 and F16 hold exactly, written by
the converter that real files are made with.  What `transformers` gives in binary64 is kept:

    NAME.ref   "DAMSOENC", u32 tokens, u32 width, u32 is it a reranker (of pairs with token types:
               where the second text begins), i32 ids, f32 hidden states,
               f32 those with keys and values rounded to binary16, then f32 the pooled vector through
               what the file has behind it or, of a reranker, the one score's number

Four more have small vocabularies of their own, for tests of the server: tests/data/served/*.gguf
and served.json, with the vectors and scores of texts that the makers' own tokenizers and
transformers give: served-bert (WordPiece), served-bert-pair (the same with a pooler, a
reranker of pairs with token types), served-xlmr (Unigram by `sentencepiece`, a reranker of
pairs), served-qwen3 (byte-level BPE by `tokenizers`, a reranker with a template).
"""
import argparse
import json
import os
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

import family_vectors as fv  # noqa: E402 (the converter's path is its doing)
import arch_vectors as av
import gguf

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "tests", "data", "encoder")
MODELS = json.load(open(os.path.join(HERE, "encoder_vectors.json")))
N_VOCAB, CTX = 64, 128
BASE = dict(vocab_size=N_VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=CTX, layer_norm_eps=1e-2,
            bos_token_id=None, eos_token_id=None, pad_token_id=None)
POOLS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens",
         "lasttoken": "pooling_mode_lasttoken"}


def write_modules(folder, m, dense):
    """As sentence-transformers describes what follows the encoder."""
    modules = [dict(idx=0, name="0", path="", type="sentence_transformers.models.Transformer")]
    if "pooling" in m:
        modules.append(dict(idx=1, name="1", path="1_Pooling", type="sentence_transformers.models.Pooling"))
        os.mkdir(os.path.join(folder, "1_Pooling"))
        json.dump({POOLS[m["pooling"]]: True}, open(os.path.join(folder, "1_Pooling", "config.json"), "w"))
    for i, w in enumerate(dense):
        from safetensors.torch import save_file
        path = f"{i + 2}_Dense"
        modules.append(dict(idx=i + 2, name=str(i + 2), path=path, type="sentence_transformers.models.Dense"))
        os.mkdir(os.path.join(folder, path))
        json.dump(dict(in_features=w.shape[1], out_features=w.shape[0], bias=False),
                  open(os.path.join(folder, path, "config.json"), "w"))
        save_file({"linear.weight": torch.from_numpy(w).float()}, os.path.join(folder, path, "model.safetensors"))
    json.dump(modules, open(os.path.join(folder, "modules.json"), "w"))


def convert(folder, out, kind, m, vocab=None):
    """By the converter; vocab None: the vocabulary is left out."""
    import importlib
    tool = importlib.import_module("convert_hf_to_gguf")
    hparams = tool.ModelBase.load_hparams(Path(folder), False)
    hparams.update(m.get("patch", {}))
    hparams = {k: v for k, v in hparams.items() if k not in m.get("without", [])}
    if "as" in m:
        hparams["architectures"] = [m["as"]]
    cls = tool.get_model_class(tool.get_model_architecture(hparams, tool.ModelType.TEXT))

    def set_vocab(self):
        self.gguf_writer.add_tokenizer_model("none")
        self.gguf_writer.add_vocab_size(N_VOCAB)

    def find_rerank(self):
        self.is_rerank = True
        self.is_tied_embeddings = self.hparams.get("tie_word_embeddings", False)
        self.token_true_id, self.token_false_id = m["yes"]

    more = dict(no_mtp=True, model_arch=gguf.MODEL_ARCH[m["arch"]] if "arch" in m else cls.model_arch)
    if vocab:
        more["get_vocab_base_pre"] = lambda self, tokenizer: vocab
    else:
        more["set_vocab"] = set_vocab
    if "yes" in m and not vocab:
        more.update(_is_qwen3_reranker=lambda self: True, _find_rerank_config=find_rerank)
    if "dense" in m:
        more.update(module_paths=[], dense_features_dims={})
    bare = type(cls.__name__, (cls,), more)
    with torch.inference_mode():
        bare(Path(folder), kind, Path(out), eager=True, hparams=hparams,
             **(dict(sentence_transformers_dense_modules=True) if "dense" in m else {})).write()


# ---- families that transformers has no class of: its nearest one, with the published parts in it ----

class Geglu(torch.nn.Module):
    """jina-bert-v2: gelu of the first half times the second."""

    def __init__(self, c):
        super().__init__()
        self.up = torch.nn.Linear(c.hidden_size, 2 * c.intermediate_size, bias=False)

    def forward(self, x):
        gate, value = self.up(x).chunk(2, -1)
        return torch.nn.functional.gelu(gate) * value


def make_jina2(model, config):
    """BERT without positions; scores fall with the distance to both sides, and blocks are gated."""
    module, n = sys.modules[type(model).__module__], config.num_attention_heads
    plain = module.eager_attention_forward
    for layer in model.encoder.layer:
        layer.intermediate = Geglu(config)

    def alibi(layer, query, key, value, mask, *args, **kwargs):
        at = torch.arange(query.shape[2], dtype=query.dtype)
        slopes = torch.tensor([2.0 ** (-8 * (h + 1) / n) for h in range(n)], dtype=query.dtype)
        bias = -(at[None, :] - at[:, None]).abs() * slopes[:, None, None]
        return plain(layer, query, key, value, bias[None] if mask is None else mask + bias, *args, **kwargs)

    module.eager_attention_forward = alibi
    return lambda: setattr(module, "eager_attention_forward", plain)


class Plain(torch.nn.Module):
    """nomic-bert-moe's block without experts."""

    def __init__(self, c):
        super().__init__()
        self.fc1 = torch.nn.Linear(c.hidden_size, c.intermediate_size)
        self.fc2 = torch.nn.Linear(c.intermediate_size, c.hidden_size)

    def forward(self, x):
        return self.fc2(torch.nn.functional.gelu(self.fc1(x)))


class Experts(torch.nn.Module):
    """With them: the best of a softmax of all, whose weights stay as they are."""
    N, CHOSEN = 4, 2

    def __init__(self, c):
        super().__init__()
        self.router = torch.nn.Linear(c.hidden_size, self.N, bias=False)
        self.w1 = torch.nn.Parameter(torch.zeros(self.N, c.intermediate_size, c.hidden_size))
        self.w2 = torch.nn.Parameter(torch.zeros(self.N, c.hidden_size, c.intermediate_size))

    def forward(self, x):
        share = self.router(x).softmax(-1)
        best = share.topk(self.CHOSEN, -1)
        out = torch.zeros_like(x)
        for e in range(self.N):
            by = (best.values * (best.indices == e)).sum(-1, keepdim=True)
            out = out + by * (torch.nn.functional.gelu(x @ self.w1[e].T) @ self.w2[e].T)
        return out


def make_nomic_moe(model, config):
    for i, layer in enumerate(model.layers):
        layer.mlp = Experts(config) if i % 2 else Plain(config)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(layer.self_attn, name, torch.nn.Linear(config.hidden_size, config.hidden_size))
    return lambda: None


MADE = {"jina2": make_jina2, "nomic_moe": make_nomic_moe}
RENAMED = {
    "jina2": [(".intermediate.up.", ".mlp.up_gated_layer."), (".attention.output", ".ATTENTION"),
              (".output.dense.", ".mlp.down_layer."), (".output.LayerNorm.", ".mlp.layernorm."),
              (".ATTENTION", ".attention.output")],
    "nomic_moe": [("layers.", "encoder.layers."), ("embeddings.LayerNorm", "emb_ln"), ("self_attn.o_proj", "attn.out_proj"),
                  ("post_attention_layernorm", "norm1"), ("post_mlp_layernorm", "norm2"), ("mlp.router.", "mlp.router.layer."),
                  ("mlp.w1", "mlp.experts.mlp.w1"), ("mlp.w2", "mlp.experts.mlp.w2")],
}


def keep_pooler(folder):
    """BERT's pooler computes what RoBERTa's layer before the last one does, under whose name the converter
    keeps it; under its own it is left out."""
    from safetensors.torch import load_file, save_file
    path = os.path.join(folder, "model.safetensors")
    save_file({n.replace("bert.pooler.dense", "classifier.dense"): w for n, w in load_file(path).items()}, path)


def save_renamed(folder, model, kind):
    from safetensors.torch import save_file
    out = {}
    for name, w in model.state_dict().items():
        if "position" in name or name.startswith("pooler"):
            continue
        for a, b in RENAMED[kind]:
            name = name.replace(a, b)
        out[name] = w.float().contiguous()
    for name in [n for n in out if "self_attn.q_proj" in n]:
        parts = [out.pop(name.replace("q_proj", x)) for x in ("q_proj", "k_proj", "v_proj")]
        out[name.replace("self_attn.q_proj", "attn.Wqkv")] = torch.cat(parts)
    for name in [n for n in out if ".experts." in n]:
        w = out[name].transpose(1, 2) if name.endswith("w2") else out[name]  # files have it the other way
        out[name] = w.flatten(0, 1).contiguous()
    save_file(out, os.path.join(folder, "model.safetensors"))


def make_model(name, m, vocab_size=N_VOCAB):
    rng = np.random.default_rng(m.get("seed", 2000 + sum(name.encode())))
    config = getattr(transformers, m["class"] + "Config")(**{**BASE, **m["config"], "vocab_size": vocab_size})
    config._attn_implementation = "eager"
    model = getattr(transformers, m.get("head", m["class"] + "Model"))(config)
    m["undo"] = MADE[m["made"]](model, config) if "made" in m else lambda: None
    model = model.double().eval()
    q8 = m.get("format", "q8_0") == "q8_0"
    fv.randomize(model, rng, q8)
    if m.get("made") == "jina2":
        with torch.no_grad():
            model.embeddings.position_embeddings.weight.zero_()
    dense = []
    if "dense" in m:
        wide, width = m["dense"], config.hidden_size
        dense = [fv.exact(rng, (wide, width), width ** -0.5), fv.exact(rng, (width, wide), wide ** -0.5)]
    return rng, model, dense, gguf.LlamaFileType.MOSTLY_Q8_0 if q8 else gguf.LlamaFileType.MOSTLY_F16


def save(folder, model, m, dense):
    if "made" in m:
        model.config.save_pretrained(folder)
        save_renamed(folder, model, m["made"])
    else:
        model.float().save_pretrained(folder)
        model.double()
        if m.get("head") == "BertForSequenceClassification":
            keep_pooler(folder)
    write_modules(folder, m, dense)
    if "window" in m: # the class halves what it is told
        path = os.path.join(folder, "config.json")
        config = json.load(open(path))
        config["sliding_window"] = m["window"]
        json.dump(config, open(path, "w"))


def types_of(ids, second):
    """second: where the second text begins, 0: there is none."""
    return dict(token_type_ids=(torch.arange(ids.shape[1]) >= second).long()[None]) if second else {}


class Hidden:
    """The encoder alone, as av.logits_of wants a model."""

    def __init__(self, model, second):
        self.inner = getattr(model, model.base_model_prefix, model)
        self.second = second

    def __call__(self, ids, use_cache=False):
        out = self.inner(ids, **types_of(ids, self.second))
        return type("Out", (), dict(logits=out.last_hidden_state))


def hidden_of(model, ids, halves, second=0):
    hidden = Hidden(model, second)
    hidden.__class__.__module__ = type(hidden.inner).__module__
    return av.logits_of(hidden, ids, halves)


def pooled(m, hidden, dense):
    v = dict(cls=hidden[0], mean=hidden.mean(0), lasttoken=hidden[-1])[m["pooling"]]
    for w in dense:
        v = w @ v
    return v


def score_of(model, m, ids, second=0):
    single, ids = torch.Tensor.float, torch.tensor([ids.tolist()])
    torch.Tensor.float = torch.Tensor.double
    try:
        with torch.no_grad():
            logits = model(ids, **types_of(ids, second)).logits[0].numpy()
    finally:
        torch.Tensor.float = single
    return logits[-1][m["yes"][0]] - logits[-1][m["yes"][1]] if "yes" in m else logits[0]


def make(name, m, out):
    rng, model, dense, kind = make_model(name, m)
    ids = rng.integers(3, N_VOCAB, m.get("tokens", 24))
    path = os.path.join(out, name + ".gguf")
    with tempfile.TemporaryDirectory() as folder:
        save(folder, model, m, dense)
        json.dump(dict(model=dict(type="WordPiece", vocab={str(i): i for i in range(N_VOCAB)}), added_tokens=[]),
                  open(os.path.join(folder, "tokenizer.json"), "w"))
        convert(folder, path, kind, m)
    second = m.get("second", 0)
    plain, halves = (hidden_of(model, ids, h, second) for h in (False, True))
    m["undo"]()
    ranks = "pooling" not in m
    end = np.array([score_of(model, m, ids, second)]) if ranks else pooled(m, plain, dense)
    with open(os.path.join(out, name + ".ref"), "wb") as f:
        f.write(b"DAMSOENC" + struct.pack("<III", len(ids), plain.shape[1], second or ranks))
        f.write(ids.astype("<i4").tobytes())
        for x in (plain, halves, end):
            f.write(x.astype("<f4").tobytes())
    print(f"{name}: states' size {np.sqrt((plain ** 2).mean()):.3g}, halves cost {av.nmse(halves, plain):.3g}"
          f"{f', score {end[0]:.3g}' if ranks else ''}, {os.path.getsize(path)} bytes", flush=True)


# ---- models with vocabularies ----

SERVED = {
    "served-bert": {"class": "Bert", "pooling": "mean", "config": {"type_vocab_size": 2, "pad_token_id": 0}},
    "served-bert-pair": {"class": "Bert", "head": "BertForSequenceClassification",
                         "config": {"type_vocab_size": 2, "pad_token_id": 0, "num_labels": 1}},
    "served-xlmr": {"class": "XLMRoberta", "head": "XLMRobertaForSequenceClassification",
                    "config": {"type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
                               "max_position_embeddings": 130, "num_labels": 1}},
    "served-qwen3": {"class": "Qwen3", "head": "Qwen3ForCausalLM",
                     "config": {"rms_norm_eps": 0.01, "head_dim": 16, "num_key_value_heads": 2, "tie_word_embeddings": True,
                                "max_position_embeddings": 512}},
}
TEXTS = ["A cat sat on the mat.", "the stock market fell", "고양이가 담요 위에 앉았다", "cats"]
QUERY, DOCUMENTS = "where is the cat?", ["A cat sat on the mat.", "The market fell.", "고양이는 담요 위에", "yes no"]
CORPUS = (TEXTS + DOCUMENTS + [QUERY]) * 40 + ["yes", "no", "|"] * 200
RERANK = ("<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
          "provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: Given "
          "a web search query, retrieve relevant passages that answer the query\n<Query>: {query}\n<Document>: "
          "{document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")


def wordpiece(folder, pair=False):
    """pair: ids of two texts, and where what is of the second type begins."""
    from transformers import BertTokenizerFast
    chars = sorted({c for t in CORPUS for c in t.lower() if c != " "})
    words = sorted({w for t in CORPUS for w in t.lower().strip(".?").split()})
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + chars + ["##" + c for c in chars] + \
        [w for w in words if len(w) > 1 and w.isascii()]
    tok = BertTokenizerFast(vocab={t: i for i, t in enumerate(vocab)})
    tok.save_pretrained(folder)

    def both(q, d):
        out = tok(q, d)
        return out["input_ids"], out["token_type_ids"].index(1)
    return len(vocab), both if pair else lambda text: tok(text)["input_ids"]


def unigram(folder):
    import sentencepiece as sp
    path = os.path.join(folder, "sentencepiece.bpe")
    sp.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_prefix=path, model_type="unigram", vocab_size=90,
                                  hard_vocab_limit=False, minloglevel=2,
                                  normalization_rule_name="identity")  # NFKC's table is a quarter of a megabyte
    p = sp.SentencePieceProcessor(path + ".model")
    special = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    a, b = ({"Sequence": {"id": x, "type_id": 0}} for x in "AB")
    json.dump(dict(added_tokens=[dict(id=i, content=t) for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>"])],
                   post_processor=dict(type="TemplateProcessing", single=[special("<s>"), a, special("</s>")],
                                       pair=[special("<s>"), a, special("</s>"), special("</s>"), b, special("</s>")])),
              open(os.path.join(folder, "tokenizer.json"), "w"))
    json.dump(dict(bos_token="<s>", eos_token="</s>", sep_token="</s>", cls_token="<s>", pad_token="<pad>",
                   unk_token="<unk>"), open(os.path.join(folder, "tokenizer_config.json"), "w"))
    ids = lambda t: [3 if i == 0 else i + 1 for i in p.encode(t)]  # fairseq's places of the first tokens
    return p.vocab_size() + 2, lambda q, d: ([0] + ids(q) + [2, 2] + ids(d) + [2], 0)


def bytes_bpe(folder):
    import tokenizers
    from tokenizers import Regex, models, pre_tokenizers, trainers
    t = tokenizers.Tokenizer(models.BPE())
    cut = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cut), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    t.train_from_iterator(CORPUS + [RERANK] * 20, trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tok = transformers.PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tok.save_pretrained(folder)
    open(os.path.join(folder, "README.md"), "w").write("# Qwen3-Reranker\n")
    return len(tok), \
        lambda q, d: (tok(RERANK.replace("{query}", q).replace("{document}", d))["input_ids"], 0), \
        [tok.convert_tokens_to_ids(w) for w in ("yes", "no")]


def make_served(out):
    os.makedirs(out, exist_ok=True)
    all_of = dict(texts=TEXTS, query=QUERY, documents=DOCUMENTS)
    makers = {"served-bert": (wordpiece, "bert-bge"),
              "served-bert-pair": (lambda folder: wordpiece(folder, True), "bert-bge"), "served-xlmr": (unigram, "default"), "served-qwen3": (bytes_bpe, "qwen2")}
    for name, (tokenizer, pre) in makers.items():
        m = dict(SERVED[name], format="f16")
        with tempfile.TemporaryDirectory() as folder:
            n, ids, *yes = tokenizer(folder)
            m.update(yes=yes[0]) if yes else None
            _, model, dense, kind = make_model(name, m, n)
            save(folder, model, m, dense)
            path = os.path.join(out, name + ".gguf")
            convert(folder, path, kind, m, pre)
        if "pooling" in m:
            made = [pooled(m, hidden_of(model, np.array(ids(t)), False), []) for t in TEXTS]
            all_of[name] = [[float(f"{x:.8g}") for x in v / np.linalg.norm(v)] for v in made]
            all_of[name + "-tokens"] = [ids(t) for t in TEXTS]
        else:
            pairs = [ids(QUERY, d) for d in DOCUMENTS]
            made = [score_of(model, m, np.array(pair), second) for pair, second in pairs]
            all_of[name] = [float(f"{1 / (1 + np.exp(-x)):.8g}") for x in made]
            all_of[name + "-tokens"] = [len(pair) for pair, _ in pairs]
        print(f"{name}: {n} tokens, {os.path.getsize(path)} bytes", flush=True)
    json.dump(all_of, open(os.path.join(out, "served.json"), "w"), ensure_ascii=False)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--convert", required=True, help="folder of convert_hf_to_gguf.py")
    a.add_argument("--out", default=DATA)
    a.add_argument("--served", action="store_true", help="those for tests of the server instead")
    a.add_argument("names", nargs="*")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    fv.quiet()
    if a.served:
        make_served(os.path.join(a.out, "..", "served"))
        return
    for name, m in MODELS.items():
        if a.names and name not in a.names:
            continue
        try:
            make(name, m, a.out)
        except Exception as e:  # one that fails leaves the others to be made
            print(f"{name}: FAILED {type(e).__name__}: {str(e)[:300]}")
            if a.names:
                raise


if __name__ == "__main__":
    main()
