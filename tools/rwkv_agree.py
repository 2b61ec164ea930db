#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Do RWKV 6 and 7 of tools/family_math.py compute what the makers' package does?

    pip install gguf transformers torch rwkv && tools/rwkv_agree.py

Tiny models of random weights, as tools/family_vectors.py draws them, go to PyPI `rwkv` as a checkpoint
of its own names, in binary32, which is the most that it computes with.  Its norms have an epsilon of 1e-5,
and it does not halve the stream.
"""
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import torch

MOST = 1e-9  # of the normalised mean square of what differs
N_TOKENS = 24

NAMES = {
    "rwkv6": [(r"^rwkv\.embeddings", "emb"), (r"^rwkv\.", ""), (r"pre_ln", "ln0"), (r"attention\.", "att."),
              (r"feed_forward\.", "ffn.")],
    "rwkv7": [(r"^model\.embeddings", "emb"), (r"^lm_head", "head"), (r"^model\.norm", "ln_out"),
              (r"^model\.layers", "blocks"), (r"pre_norm", "ln0"), (r"attn_norm", "ln1"), (r"ffn_norm", "ln2"),
              (r"attn\.", "att."), (r"g_norm", "ln_x"), (r"r_proj", "receptance"), (r"k_proj", "key"),
              (r"v_proj", "value"), (r"o_proj", "output"), (r"(\w)_lora\.lora\.0\.weight", r"\g<1>1"),
              (r"(\w)_lora\.lora\.2\.weight", r"\g<1>2"), (r"(\w)_lora\.lora\.2\.bias", r"\g<1>0")],
}


def checkpoint(family, model):
    out = {}
    for name, w in model.w.items():
        to = name
        for pattern, by in NAMES[family]:
            to = re.sub(pattern, by, to)
        out[to] = (w.T if "_lora.lora" in name and w.dim() == 2 else w).float().contiguous()
    return out


def agree(family):
    os.environ.update(RWKV_JIT_ON="0", RWKV_CUDA_ON="0", RWKV_V7_ON="1" if family == "rwkv7" else "0")
    import family_vectors as fv
    config = {**fv.BASE, **fv.MODELS[family]["config"]}
    config.update(layer_norm_epsilon=1e-5, norm_eps=1e-5, rescale_every=1000)
    rng = np.random.default_rng(1)
    model = fv.math_model(family, config, rng, True, False)
    ids = rng.integers(0, config["vocab_size"], N_TOKENS)
    want = model.logits(ids, False)
    from rwkv.model import RWKV
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        torch.save(checkpoint(family, model), path + ".pth")
        theirs, state, got = RWKV(path, "cpu fp32"), None, []
        for i in ids.tolist():
            logits, state = theirs.forward([i], state)
            got.append(logits.double().numpy())
    off = float(((np.stack(got) - want) ** 2).sum() / (want ** 2).sum())
    print(f"{family}: {off:.2g} from PyPI rwkv")
    return off < MOST


if __name__ == "__main__":
    if len(sys.argv) == 2:
        sys.exit(not agree(sys.argv[1]))
    # one process each: the package decides on its version as it is imported
    sys.exit(max(subprocess.run([sys.executable, __file__, f]).returncode for f in NAMES))
