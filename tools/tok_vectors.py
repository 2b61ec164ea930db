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
import tempfile
import time
import unicodedata

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as sp_pb
from tok_pipelines import DIGITS, LEARN_BY, PRES, byte_level
from tok_texts import CONTROL, ROOT, USER, corpus, make_texts
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, trainers
from tokenizers import pre_tokenizers as pt

OUT = ROOT / "tests/data/tok"


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
