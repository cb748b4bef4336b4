#!/usr/bin/env python3
"""Compares tokenizer.c with transformers' CLIPTokenizer on random strings, live.

    python tests/check_tokenizer.py [--count 20000] [--seed N] [--every] [--driver FILE] [DIR...]

--every: also every code point, among letters, marks and blanks.

DIR: tokenizer folders (default: ../shared/clip or CLIP_DIR, tests/golden/tokenizer, weights/emojicanvas/tokenizer, where there);
the first one is also tried with the configs of make_tokens.py, and as transformers saves those. Builds tests/tokenizer_driver.c with $CC unless --driver names one.
Last line: N passed, N failed (strings). Needs transformers."""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(HERE, "golden")]
import library  # noqa: E402
import make_tokens  # noqa: E402
import token_strings  # noqa: E402


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
            bad += compare(driver, folder, folder, texts)
            done += len(texts)
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
    print(f"{done - bad} passed, {bad} failed")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
