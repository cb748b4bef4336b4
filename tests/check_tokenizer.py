#!/usr/bin/env python3
"""Compares tokenizer.c with transformers' CLIPTokenizer on random strings, live.

    python tests/check_tokenizer.py [--count 20000] [--seed N] [--every] [--driver FILE] [DIR...]

--every: also every code point, among letters, marks and blanks.

DIR: tokenizer folders (default: ../shared/clip or CLIP_DIR, tests/golden/tokenizer, weights/emojicanvas/tokenizer, where there);
the first one is also tried with the configs of make_tokens.py, and as transformers saves those, and with the added tokens of ADDED.
Also: the slow CLIPTokenizer of transformers 4, put together from the parts that this version still has, against its fast one: they must
differ where docs/formats.md says so, and nowhere else. Builds tests/tokenizer_driver.c with $CC unless --driver names one.
Last line: N passed, N failed (strings). Needs transformers."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(HERE, "golden")]
import library  # noqa: E402
import make_tokens  # noqa: E402
import token_strings  # noqa: E402


def token(content, *true, special=False):
    flags = {"lstrip", "rstrip", "single_word", "normalized"}
    assert flags.issuperset(true)
    return {"content": content, "special": special, **{f: f in true for f in sorted(flags)}}


BOS, EOS = "<|startoftext|>", "<|endoftext|>"
# Added tokens in every file that may hold them: {file: JSON}. {N}: the vocabulary's size.
ADDED = {
    "flags": {"tokenizer_config.json": {"model_max_length": 40, "added_tokens_decoder": {
        "{N}": token("<a>", "lstrip"), "{N+1}": token("<b>", "rstrip", "normalized"), "{N+2}": token("<c>", "lstrip", "rstrip"), "{N+3}": token("kzt", "single_word"),
        "{N+4}": token("dqg", "single_word", "normalized"), "{N+5}": token("kzts", special=True), "{N+6}": token(" x ", "lstrip", "rstrip"),
        "{N+7}": token("\u00e9t\u00e9", "single_word", "lstrip", "rstrip", "normalized")}}},
    "legacy": {"added_tokens.json": {"<b>": "{N+1}", "<a>": "{N}", "kzt": "{N+2}", "dqg": "{N+3}"}, "special_tokens_map.json": {"additional_special_tokens": ["kzt"]}},
    "legacy_special": {"added_tokens.json": {"<a>": "{N}", "kzt": "{N+1}", "dqg": "{N+2}"}, "tokenizer_config.json": {"additional_special_tokens": ["kzt"]},
                       "special_tokens_map.json": {"pad_token": {k: v for k, v in token("dqg").items() if k != "special"}}},
    "legacy_named": {"added_tokens.json": {"<a>": "{N}"}, "tokenizer_config.json": {"pad_token": {"__type": "AddedToken", **token("<a>", "normalized")}}},
    "both": {"added_tokens.json": {"<a>": "{N}"}, "tokenizer_config.json": {"added_tokens_decoder": {"{N-2}": token(BOS, special=True), "{N-1}": token(EOS, special=True),
             "{N}": token("<a>", "normalized")}, "additional_special_tokens": ["<a>"]}, "special_tokens_map.json": {"additional_special_tokens": ["cat"]}},
    "more": {"tokenizer_config.json": {"extra_special_tokens": ["<a>", {"__type": "AddedToken", **token("<B>", "normalized", "rstrip")}, "cat", "dog"]}},
    "more_older": {"tokenizer_config.json": {"additional_special_tokens": ["<a>", "cat"]}, "special_tokens_map.json": {"additional_special_tokens": ["dog", "<b>"]}},
    "more_of_map": {"special_tokens_map.json": {"extra_special_tokens": ["<a>", {k: v for k, v in token("dog", "normalized", "single_word").items() if k != "special"}]}},
    "many": {"tokenizer_config.json": {"added_tokens_decoder": {"{N%s}" % (f"+{i}" if i else ""): token(f"<sks>_{i}" if i else "<sks>", "normalized") for i in range(75)}}},
}
PARTS = ["<a>", "<A>", "<b>", "<B>", "<c>", "cat", "Cat", "cats", "dog", "DOG", "kzt", "Kzt", "kzts", "dqg", "DQG", " x ", "x", "\u00e9t\u00e9", "E\u0301TE\u0301", "<sks>", "<sks>_7", "<sks>_70", " ", "  ", "\t\n", "\u3000", "_", "-", "!",
         "7", "\u00bd", "\u0301", "\u200d", "a", "\u00e9", "\u4e00", "\U0001f600", "\u24d0", EOS]


def woven(count, seed):
    r = random.Random(seed)
    return ["".join(r.choices(PARTS, k=r.randrange(1, 9))) for _ in range(count)]


def with_added(folder, name, to):
    """A copy of the tokenizer folder with ADDED[name] in it."""
    make_tokens.with_config(folder, "pad_bos", to)
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as f:
        n = len(json.load(f))
    for f in ("tokenizer_config.json", "special_tokens_map.json"):
        os.remove(os.path.join(to, f))
    for f, content in ADDED[name].items():
        text = json.dumps(content)
        for k in range(-2, 80):
            number = "{N%s}" % (f"{k:+d}" if k else "")
            text = text.replace(f'"{number}"' if f == "added_tokens.json" else number, str(n + k))
        with open(os.path.join(to, f), "w", encoding="utf-8") as out:
            out.write(text)
    return to


def build(folder):
    driver = os.path.join(folder, "driver")
    sources = [os.path.join(ROOT, "tests/tokenizer_driver.c"), *library.sources()]
    flags = ["-std=c99", "-O2", "-ffp-contract=off", "-I" + ROOT]
    subprocess.run([os.environ.get("CC", "cc"), *flags, *sources, "-o", driver, "-lm"], check=True)
    return driver


def ours(driver, folder, length, texts):
    data = b"".join(s.encode() + b"\0" for s in texts)
    lines = subprocess.run([driver, folder, str(length)], input=data, stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")[:-1]
    assert len(lines) == len(texts), f"{len(lines)} answers to {len(texts)} prompts"
    return [[int(x) for x in line.split()[:-1]] if line[:5] != "error" else line for line in lines]


def slow(folder):
    """The slow CLIPTokenizer of transformers up to 4.57 without ftfy, as it tokenizes a text without special tokens: a function to ids."""
    import regex
    from transformers.models.bert_japanese.tokenization_bert_japanese import BasicTokenizer

    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as f:
        vocab = json.load(f)
    with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as f:
        rank = {tuple(line.split()): i for i, line in enumerate(f.read().strip().split("\n")[1:])}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in printable)}
    words = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
    basic = BasicTokenizer(strip_accents=False, do_split_on_punc=False)

    def pieces(word):
        out = [byte[b] for b in word.encode()]
        out[-1] += "</w>"
        while len(out) > 1:
            least = min(rank.get(p, len(rank)) for p in zip(out, out[1:]))
            if least == len(rank):
                break
            joined, i = [], 0
            while i < len(out):
                n = 2 if rank.get(tuple(out[i:i + 2])) == least else 1
                joined.append("".join(out[i:i + n]))
                i += n
            out = joined
        return out

    def ids(text):
        return [vocab.get(p, vocab[EOS]) for w in words.findall(" ".join(basic.tokenize(text))) for p in pieces(w)]

    return ids, basic._is_chinese_char


# The kinds of docs/formats.md's table, an example of each.
APART = ["a\x0bb", "a\u00adb", "\U0001f468\u200d\U0001f469", "\ue000a", "\ufffda", "\u4f60\u597d", "\u039f\u0394\u039f\u03a3", "a\u0345"]


def told_apart(text, is_han):
    """Whether docs/formats.md says that transformers 4 may tokenize text otherwise."""
    from tokenizers.normalizers import NFC

    def is_kind(c):
        return (unicodedata.category(c)[0] == "C" and c not in "\t\n\r") or c in "\ufffd\u03a3\u0345" or is_han(ord(c))

    return any(map(is_kind, text)) or NFC().normalize_str(text) != unicodedata.normalize("NFC", text)


def check_slow(folder, texts):
    """Prints each text of which the table is wrong; returns how many there are."""
    fast, (ids, is_han) = make_tokens.load(folder), slow(folder)
    texts = [t for t in texts if "<|" not in t]
    bad = [t for t in APART if ids(t) == fast(t)["input_ids"][1:-1]]
    bad += [t for t in texts if not told_apart(t, is_han) and ids(t) != fast(t)["input_ids"][1:-1]]
    for text in bad[:10]:
        print(f"transformers 4 and 5, {ascii(text)}: {ids(text)} and {fast(text)['input_ids'][1:-1]}")
    alike = sum(not told_apart(t, is_han) for t in texts)
    print(f"{folder}: transformers 4 and 5 agree on {alike} of {len(texts)} strings, {len(bad)} otherwise than docs/formats.md says")
    return len(bad)


def every():
    """Every code point but U+0000 and the surrogates, eight to a string, in three surroundings."""
    points = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    groups = [points[i : i + 8] for i in range(0, len(points), 8)]
    return [joint.join(g) + end for g in groups for joint, end in (("", ""), (" ", " "), ("a\u0301\u0316", "'s"))]


def compare(driver, folder, name, texts, length=None):
    """Prints each difference; returns how many there are."""
    tokenizer = make_tokens.load(folder)
    length = length or make_tokens.length(tokenizer)
    theirs = make_tokens.encode(tokenizer, texts, length)
    bad = 0
    for text, a, b in zip(texts, ours(driver, folder, length, texts), theirs):
        if a != b:
            bad += 1
            if bad <= 10:
                print(f"{name}: {text.encode('unicode_escape').decode()}\n  ours         {a}\n  transformers {b}")
    print(f"{name}: {len(texts)} strings, {bad} differ")
    return bad


def check_decode(driver, folder, count, seed):
    """Random ids as text, as CLIPTokenizer.decode gives it; U+0000 is U+FFFD here. Returns how many differ."""
    r, tokenizer = random.Random(seed), make_tokens.load(folder)
    lists = [[r.randrange(256 if r.random() < 0.5 else len(tokenizer)) for _ in range(r.randrange(1, 9))] for _ in range(count)]
    data = "".join(" ".join(map(str, ids)) + "\n" for ids in lists).encode()
    texts = subprocess.run([driver, folder, "decode"], input=data, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")[:-1]
    bad = [(ids, t) for ids, t in zip(lists, texts, strict=True) if t != tokenizer.decode(ids).replace("\0", "\ufffd")]
    for ids, text in bad[:10]:
        print(f"{folder}: ids {ids}\n  ours         {ascii(text)}\n  transformers {ascii(tokenizer.decode(ids))}")
    print(f"{folder}: {count} lists of ids, {len(bad)} are other texts")
    return len(bad)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=20000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--every", action="store_true")
    p.add_argument("--driver")
    p.add_argument("dirs", nargs="*")
    args = p.parse_args()
    folders = args.dirs or make_tokens.folders()
    texts = token_strings.strings(args.count, args.seed)
    done = bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        driver = args.driver or build(tmp)
        for folder in folders:
            bad += compare(driver, folder, folder, texts) + check_decode(driver, folder, args.count // 4, args.seed)
            done += len(texts) + args.count // 4
        if args.every:
            points = every()
            bad += compare(driver, folders[-1], "every code point", points, 512)
            done += len(points)
        some = texts[: len(texts) // 4]
        for name in make_tokens.CONFIGS:
            folder = make_tokens.with_config(folders[0], name, os.path.join(tmp, name))
            saved = os.path.join(tmp, name + "_saved")  # tokenizer.json, as transformers 5 saves it
            make_tokens.load(folder).save_pretrained(saved)
            bad += compare(driver, folder, f"{folders[0]} as {name}", some) + compare(driver, saved, f"{folders[0]} as {name}, saved again", some)
            done += 2 * len(some)
        bad += check_slow(folders[-1], some)
        done += len(some)
        texts = woven(args.count // 4, args.seed)
        for name in ADDED:
            folder, saved = with_added(folders[0], name, os.path.join(tmp, name)), os.path.join(tmp, name + "_saved")
            make_tokens.load(folder).save_pretrained(saved)
            bad += compare(driver, folder, f"{folders[0]} with added tokens: {name}", texts) + compare(driver, saved, f"{name}, saved again", texts)
            done += 2 * len(texts)
    print(f"{done - bad} passed, {bad} failed")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
