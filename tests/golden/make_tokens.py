#!/usr/bin/env python3
"""Writes tokens.safetensors, the truth of tests/test_tokenizer.c: what transformers' CLIPTokenizer makes of 2,000 strings.

    make_tokens.py [--train]     --train first makes the small vocabulary in tokenizer/ again (tokenizers' BpeTrainer on our text)

tokens.safetensors:
    text [bytes] U8       the strings in UTF-8, each ended with a zero byte
    SET.ids [n] I16       ids modulo 65,536 (of a vocabulary of 49,408: read them as unsigned), start and end token included,
                          no padding, cut at the set's length; the sets' strings one after the other
    SET.count [m] I16     how many ids each of the first m strings has
    SET.cut [m] I16       how many ids were cut off it
    metadata              SET: "FOLDER LENGTH PAD"; for a folder like "tokenizer:sd2", CONFIG.tokenizer_config.json and
                          CONFIG.special_tokens_map.json hold the files that stand in for the folder's own
Sets: clip, the real vocabulary (../shared/clip or CLIP_DIR; not in this repository, its ids are facts); emojicanvas, where that is;
made, our small one; and made_CONFIG for each of CONFIGS. The fast tokenizer is the only one there is since transformers 5."""
import argparse
import json
import os
import shutil
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
import token_strings  # noqa: E402

BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def _object(content, normalized=True, **more):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False, **more}


def _typed(content, **more):
    return {"__type": "AddedToken", **_object(content, **more)}


_SD15 = {"add_prefix_space": False, "bos_token": _typed(BOS), "do_lower_case": True, "eos_token": _typed(EOS), "errors": "replace",
         "model_max_length": 77, "name_or_path": "openai/clip-vit-large-patch14", "pad_token": EOS, "special_tokens_map_file": "./special_tokens_map.json",
         "tokenizer_class": "CLIPTokenizer", "unk_token": _typed(EOS)}
_MAP15 = {"bos_token": _object(BOS), "eos_token": _object(EOS), "pad_token": EOS, "unk_token": _object(EOS)}
# The untidiness of real folders: tokenizer_config.json and special_tokens_map.json, None where absent. {N}: the vocabulary's size.
CONFIGS = {
    "sd15": (_SD15, _MAP15),                                                   # tokens as objects, to be found after lowercase
    "sd15_config": (_SD15, None),
    "sd15_map": (None, _MAP15),
    "sd2": ({**_SD15, "pad_token": "!"}, {**_MAP15, "pad_token": "!"}),        # "!" pads, and is special in a prompt
    "map_first": (_SD15, {**_MAP15, "pad_token": "!"}),
    "decoder": ({**_SD15, "bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "model_max_length": 1e30,
                 "added_tokens_decoder": {"{N-2}": _object(BOS, special=True), "{N-1}": _object(EOS, False, special=True)}},
                {**_MAP15, "pad_token": "!"}),                                 # the map does not count beside added_tokens_decoder
    "added": ({**_SD15, "bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "model_max_length": 16, "pad_token": "<pad>",
               "added_tokens_decoder": {"{N+4}": _object("<CAT-TOY"), "{N}": _object("<Cat-Toy>", special=False), "{N-2}": _object(BOS, False, special=True),
                                        "{N+1}": _object("<pad>", special=True), "{N-1}": _object(EOS, special=True), "{N+2}": _object("<Cat", False, special=False),
                                        "{N+3}": _object("<Cat>", False)}}, None),
    "mixed": ({"bos_token": BOS, "eos_token": EOS, "unk_token": _typed(EOS), "pad_token": EOS, "model_max_length": 8}, None),
    "equal": ({"bos_token": BOS, "eos_token": _typed(EOS), "unk_token": _typed(EOS, normalized=False), "pad_token": _typed(EOS)}, None),
    "pad_bos": ({"pad_token": _typed(BOS)}, {"eos_token": _object(EOS, False)}),
}


def with_config(folder, name, to):
    """A copy of the tokenizer folder with CONFIGS[name] in it."""
    os.makedirs(to, exist_ok=True)
    for f in ("vocab.json", "merges.txt"):
        shutil.copyfile(os.path.join(folder, f), os.path.join(to, f))
    for f, text in config_texts(folder, name).items():
        with open(os.path.join(to, f), "w", encoding="utf-8") as out:
            out.write(text)
    return to


def config_texts(folder, name):
    """{file name: text} of CONFIGS[name] for a folder's vocabulary."""
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as f:
        n = len(json.load(f))
    out = {}
    for f, config in zip(("tokenizer_config.json", "special_tokens_map.json"), CONFIGS[name]):
        if config is not None:
            text = json.dumps(config)
            for k in range(-2, 5):
                text = text.replace("{N%s}" % (f"{k:+d}" if k else ""), str(n + k))
            out[f] = text
    return out


def folders():
    """The tokenizer folders that are here, the small one first."""
    every = [os.path.join(HERE, "tokenizer"), os.environ.get("CLIP_DIR", os.path.join(ROOT, "..", "shared", "clip")),
             os.path.join(ROOT, "weights", "emojicanvas", "tokenizer")]
    return [f for f in every if os.path.isfile(os.path.join(f, "vocab.json"))]


def load(folder):
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def length(tokenizer):
    """model_max_length, or 77 where that is endless."""
    return tokenizer.model_max_length if tokenizer.model_max_length < 1e20 else 77


def encode(tokenizer, texts, max_length):
    """ids of each text as diffusers asks for them, less the padding."""
    return tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]


def train(to):
    """A vocabulary of CLIP's form: bytes, bytes with </w>, merges, the two special tokens. Left out of it are bytes above 0xEF,
    and 0xA4 to 0xA7 at the end of a word, so that unknown tokens come first and last in words."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    t = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "removed", invert=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.train_from_iterator([s for s in token_strings.strings(3000, 7) if "<|" not in s],
                          trainers.BpeTrainer(vocab_size=1400, end_of_word_suffix="</w>", show_progress=False))
    merges = [m if isinstance(m, str) else " ".join(m) for m in json.loads(t.to_str())["model"]["merges"]]
    alphabet = [c for c in sorted(pre_tokenizers.ByteLevel.alphabet()) if c not in {chr(b) for b in range(0xF0, 0x100)}]
    pieces = alphabet + [c + "</w>" for c in alphabet if c not in "\xa4\xa5\xa6\xa7"]
    known, kept = set(pieces), []
    for m in merges:
        a, b = m.split(" ")
        if a in known and b in known and a + b not in known:
            kept.append(m)
            pieces.append(a + b)
            known.add(a + b)
    os.makedirs(to, exist_ok=True)
    with open(os.path.join(to, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({p: i for i, p in enumerate(pieces + [BOS, EOS])}, f, ensure_ascii=False)
    with open(os.path.join(to, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(["#version: 0.2", *kept]) + "\n")


def golden(tensors, metadata, name, folder, texts, said):
    """Adds a set: what the tokenizer of folder makes of texts. said: how the C test is told the folder."""
    import numpy as np

    tokenizer = load(folder)
    n = length(tokenizer)
    ids = encode(tokenizer, texts, n)
    whole = [len(x) for x in tokenizer(texts)["input_ids"]]
    tensors[name + ".ids"] = np.array([i for x in ids for i in x], np.uint16).view(np.int16)
    tensors[name + ".count"] = np.array([len(x) for x in ids], np.int16)
    tensors[name + ".cut"] = np.array([w - len(x) for w, x in zip(whole, ids)], np.int16)
    metadata[name] = f"{said} {n} {tokenizer.pad_token_id}"
    print(f"{name}: {len(texts)} strings, {sum(map(len, ids))} ids, {sum(w > len(x) for w, x in zip(whole, ids))} cut")


def main():
    import numpy as np
    from safetensors.numpy import save_file

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--train", action="store_true")
    made = os.path.join(HERE, "tokenizer")
    if p.parse_args().train:
        train(made)
    texts = token_strings.strings(2000, 2501)
    tensors = {"text": np.frombuffer(b"".join(s.encode() + b"\0" for s in texts), np.uint8)}
    metadata = {}
    names = {made: "made"}
    for folder in folders():
        name = names.get(folder, "emojicanvas" if "emojicanvas" in folder else "clip")
        golden(tensors, metadata, name, folder, texts[:1000] if folder == made else texts, name)
    with tempfile.TemporaryDirectory() as tmp:
        for name in CONFIGS:
            golden(tensors, metadata, "made_" + name, with_config(made, name, os.path.join(tmp, name)), texts[:150], "made:" + name)
            metadata.update({f"{name}.{f}": text for f, text in config_texts(made, name).items()})
    save_file(tensors, os.path.join(HERE, "tokens.safetensors"), metadata)


if __name__ == "__main__":
    main()
