#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the outside reference of pictures: tests/data/vision.

    pip install gguf transformers torch pillow    and the sdist of llama-cpp-python
    tools/vision_vectors.py --convert .../vendor/llama.cpp [--out DIR]

A tiny Gemma 3 of random weights with a tiny SigLIP, as a class of PyPI `transformers`, is written by
the converter that real files are made with (convert_hf_to_gguf.py of llama.cpp, of the sdist), once
as a model and once with --mmproj.  Pictures are made and read by PyPI `pillow`.

    model.gguf, mmproj.gguf   the two files
    mmproj-640.gguf           one for the language model of 640 numbers a row, Gemma 3 270M
    picture.png               what the model sees, larger and not square
    gemma3.ref    "DAMSOVIS", u32 tokens, vocabulary, side, rows of a picture, width; i32 ids, -1 where
                  the picture is; f32 pixels of the image processor [3][side][side]; f32 rows of the
                  projector; f32 logits, in binary64 but for their last rounding
    NAME.{jpg,png,webp}, NAME.rgb   files of several kinds, and pillow's pixels: u32 width, height,
                  then bytes
"""
import argparse
import importlib
import json
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import transformers
from PIL import Image, ImageOps
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

import family_vectors as fv  # (the converter's path is its doing)
import gguf

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "tests", "data", "vision")
N_VOCAB, CTX, SIDE, PATCH, N_SOFT = 96, 256, 32, 4, 16
BEGIN, END, SOFT = 88, 89, 90
TEXT = dict(vocab_size=N_VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=6,
            num_attention_heads=2, num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16,
            sliding_window=6, rms_norm_eps=1e-2, max_position_embeddings=CTX,
            bos_token_id=None, eos_token_id=None, pad_token_id=None,
            layer_types=["sliding_attention"] * 5 + ["full_attention"],
            rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                                 sliding_attention=dict(rope_type="default", rope_theta=1e4)))
VISION = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
              image_size=SIDE, patch_size=PATCH, layer_norm_eps=1e-2, vision_use_head=False)


def randomize(model, rng):
    """Numbers that F16 holds, and Q8_0 those of the language model; of norms, steps of 1/1024, so that one more or less is exact."""
    for name, p in model.named_parameters():
        shape = tuple(p.shape)
        if len(shape) >= 2:
            size = 1.0 if "position" in name else np.prod(shape[1:]) ** -0.5
            if "mm_input_projection" in name:
                size = shape[0] ** -0.5
            if "embed_tokens" in name:
                size = 0.3
            if "language_model" in name:
                w = fv.exact(rng, shape, size * 1.3)
            else:
                w = (rng.standard_normal(shape) * size * 1.3).astype(np.float16).astype(np.float64)
        else:
            siglip = "vision_tower" in name and "norm" in name and name.endswith("weight")
            w = np.round(rng.standard_normal(shape) * 0.3 * 1024) / 1024 + siglip
        with torch.no_grad():
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)).double())


def convert(folder, out, vision):
    tool = importlib.import_module("convert_hf_to_gguf")
    kind = tool.ModelType.MMPROJ if vision else tool.ModelType.TEXT
    hparams = tool.ModelBase.load_hparams(Path(folder), False)
    hparams["text_config"]["rope_scaling"] = dict(rope_type="linear", factor=8.0)
    hparams["text_config"]["rope_local_base_freq"] = 1e4
    hparams["text_config"]["rope_theta"] = 1e6
    cls = tool.get_model_class(tool.get_model_architecture(hparams, kind), mmproj=vision)

    def set_vocab(self):
        self.gguf_writer.add_tokenizer_model("none")
        self.gguf_writer.add_vocab_size(N_VOCAB)

    bare = cls if vision else type(cls.__name__, (cls,), dict(set_vocab=set_vocab, model_arch=cls.model_arch))
    with torch.inference_mode():
        form = gguf.LlamaFileType.MOSTLY_F16 if vision else gguf.LlamaFileType.MOSTLY_Q8_0
        bare(Path(folder), form, Path(out), eager=True, hparams=hparams).write()


def smooth(rng, width, height):
    """A picture with something in it: waves and a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    out = np.zeros((height, width, 3))
    for c in range(3):
        a, b, f, g = rng.uniform(0.05, 0.5, 4)
        out[..., c] = 127 + 60 * np.sin(a * x + b * y) + 50 * np.cos(f * x - g * y)
    return np.clip(out + rng.normal(0, 8, out.shape), 0, 255).astype(np.uint8)


def write_rgb(path, image):
    a = np.asarray(image, np.uint8)
    with open(path, "wb") as f:
        f.write(struct.pack("<2I", a.shape[1], a.shape[0]) + a.tobytes())


def make_files(out, rng):
    """Kinds of files; what pillow reads of them, turned as EXIF says, transparency over white."""
    def save(name, image, **how):
        image.save(os.path.join(out, name), **how)
        back = ImageOps.exif_transpose(Image.open(os.path.join(out, name)))
        if back.mode in ("RGBA", "LA", "P") and (back.mode != "P" or "transparency" in back.info):
            back = back.convert("RGBA")
            back = Image.alpha_composite(Image.new("RGBA", back.size, "white"), back)
        write_rgb(os.path.join(out, name + ".rgb"), back.convert("RGB"))

    rgb = Image.fromarray(smooth(rng, 21, 13))
    save("plain.jpg", rgb, quality=90)
    save("progressive.jpg", rgb, quality=70, progressive=True, subsampling=0)
    save("grey.jpg", rgb.convert("L"), quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("turned.jpg", rgb, quality=90, exif=exif)
    exif[0x0112] = 7
    save("mirrored.jpg", rgb, quality=90, exif=exif)
    save("plain.png", rgb)
    save("palette.png", rgb.quantize(16))
    alpha = rgb.convert("RGBA")
    alpha.putalpha(Image.fromarray(smooth(rng, 21, 13)[..., 0]))
    save("alpha.png", alpha)
    save("lossless.webp", rgb, lossless=True)
    save("lossy.webp", rgb, quality=60)
    save("alpha.webp", alpha, lossless=True, exact=True)


def save_model(model, folder):
    """With the encoder's names as the published files have them, which older versions wrote."""
    model.float().save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")
    tensors = safetensors.torch.load_file(path)
    new = {n if "vision_tower." not in n or "vision_model." in n else
           n.replace("vision_tower.", "vision_tower.vision_model."): t for n, t in tensors.items()}
    safetensors.torch.save_file(new, path, metadata={"format": "pt"})


def save_processor(processor, folder):
    processor.save_pretrained(folder)
    path = Path(folder) / "preprocessor_config.json"
    c = json.loads(path.read_text())
    c.update(image_seq_length=N_SOFT)
    path.write_text(json.dumps(c))


def make_model(out, rng):
    config = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(**TEXT),
        vision_config=transformers.SiglipVisionConfig(**VISION), mm_tokens_per_image=N_SOFT,
        boi_token_index=BEGIN, eoi_token_index=END, image_token_index=SOFT)
    for c in (config, config.text_config, config.vision_config):
        c._attn_implementation = "eager"
    model = transformers.Gemma3ForConditionalGeneration(config).double().eval()
    randomize(model, rng)
    picture = Image.fromarray(smooth(rng, 75, 41))
    picture.save(os.path.join(out, "picture.png"))
    processor = Gemma3ImageProcessorPil(size=dict(height=SIDE, width=SIDE), image_seq_length=N_SOFT)
    pixels = processor(picture, return_tensors="pt")["pixel_values"]
    ids = list(rng.integers(0, BEGIN, 55)) + [BEGIN] + [SOFT] * N_SOFT + [END] + list(rng.integers(0, BEGIN, 9))
    t = torch.tensor([ids])
    with torch.no_grad():
        soft = model.model.get_image_features(pixels.double())
        soft = getattr(soft, "pooler_output", soft).reshape(N_SOFT, -1)
        logits = model(input_ids=t, pixel_values=pixels.double(), token_type_ids=(t == SOFT).long(),
                       attention_mask=torch.ones_like(t)).logits[0]
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, folder)
        save_processor(processor, folder)
        # All that the converter asks of a tokenizer is how many tokens there are.
        Path(folder, "tokenizer.json").write_text(json.dumps(dict(
            model=dict(vocab={str(i): i for i in range(N_VOCAB)}), added_tokens=[])))
        convert(folder, os.path.join(out, "model.gguf"), False)
        convert(folder, os.path.join(out, "mmproj.gguf"), True)
    ids = np.array([-1 if i == SOFT else i for i in ids], np.int32)
    with open(os.path.join(out, "gemma3.ref"), "wb") as f:
        f.write(b"DAMSOVIS" + struct.pack("<5I", len(ids), N_VOCAB, SIDE, N_SOFT, soft.shape[1]))
        f.write(ids.tobytes() + pixels[0].numpy().astype(np.float32).tobytes())
        f.write(soft.numpy().astype(np.float32).tobytes() + logits.numpy().astype(np.float32).tobytes())
    print(type(processor).__name__, "soft", float(soft.abs().mean()), "logits", float(logits.abs().mean()))
    return processor


def make_projector(out, rng, processor, width):
    """Another one, for a language model of another width."""
    config = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(**{**TEXT, "hidden_size": width, "num_hidden_layers": 1,
                                                     "layer_types": ["full_attention"]}),
        vision_config=transformers.SiglipVisionConfig(**VISION), mm_tokens_per_image=N_SOFT,
        boi_token_index=BEGIN, eoi_token_index=END, image_token_index=SOFT)
    model = transformers.Gemma3ForConditionalGeneration(config).double().eval()
    randomize(model, rng)
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, folder)
        save_processor(processor, folder)
        convert(folder, os.path.join(out, f"mmproj-{width}.gguf"), True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--convert", required=True, help="folder of convert_hf_to_gguf.py")
    a.add_argument("--out", default=DATA)
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    fv.quiet()
    rng = np.random.default_rng(9)
    make_files(a.out, rng)
    processor = make_model(a.out, rng)
    make_projector(a.out, rng, processor, 640)


if __name__ == "__main__":
    main()
