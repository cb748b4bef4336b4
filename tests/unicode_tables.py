#!/usr/bin/env python3
"""Writes unicode_tables.h, the tables of unicode.c, by asking the tokenizers library about every code point.

    python tests/unicode_tables.py > files/unicode_tables.h   (development only; needs tokenizers, a minute)
    python tests/unicode_tables.py --check files/unicode_tables.h   (exit 1 and a line where the library answers otherwise)

The library, not one version of the Unicode database, is the truth: tokenizers 0.23.3 carries three of them.
    NFC          crate unicode-normalization-alignments 0.1.12    Unicode 12.1: U+11938 (13.0) has no decomposition
    \\p{L} \\p{N} \\s Oniguruma, crate onig 6.5.3                    Unicode 16.0: equal to unicodedata2 16.0.0, all code points
    Lowercase    Rust's char::to_lowercase                        Unicode 17.0: U+A7CE, U+16EA0.. have lower case
    \\w of words  Rust's crate regex, in AddedVocabulary           asked by an added token with single_word
"""
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xAC00 + 11172)
NFC, NFD, LOWER = normalizers.NFC(), normalizers.NFD(), normalizers.Lowercase()


def ranges(points):
    """Sorted points as [first, last] pairs."""
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def matching(pattern):
    """The code points that Oniguruma matches: Replace deletes them."""
    delete = normalizers.Replace(Regex(pattern), "")
    return {c for c in POINTS if delete.normalize_str(chr(c)) == ""}


def words():
    """The code points beside which an added token with single_word is not found."""
    t = Tokenizer(models.WordLevel({"": 0}, unk_token=""))
    t.add_tokens([AddedToken("x", single_word=True, normalized=False)])
    return {c for c in POINTS if 1 not in t.encode("x" + chr(c)).ids}


def decompositions():
    """{c: (a, b)}: one step of the canonical decomposition, b = 0 for a singleton. Hangul is arithmetic and left out."""
    steps = {}
    full = {c: NFD.normalize_str(chr(c)) for c in POINTS if c not in HANGUL}
    for c, d in full.items():
        if d == chr(c):
            continue
        step = unicodedata.decomposition(chr(c))
        assert step and "<" not in step, hex(c)
        parts = [int(x, 16) for x in step.split()]
        assert "".join(full[p] for p in parts) == d, hex(c)
        assert 2 * len(d) <= 3 * len(chr(c).encode()), hex(c)  # unicode_nfc_bound
        assert len(parts) == 1 or full[parts[1]] == chr(parts[1]), hex(c)  # only the first part goes on
        steps[c] = (parts[0], parts[1] if len(parts) == 2 else 0)
    return steps


def combining_classes(steps):
    """{c: class} of all characters that canonical ordering moves, found by watching what they change places with."""
    known = {}  # one mark of each class
    for c in POINTS:
        k = unicodedata.combining(chr(c))
        if k and k not in known and c not in steps and NFD.normalize_str("\u0345" + chr(c)) != "\u0345" + chr(c):
            known[k] = chr(c)
    known[240] = "\u0345"
    order = sorted(known)

    def swaps(a, b):
        return NFD.normalize_str(a + b) == b + a and a != b

    classes = {}
    for c in POINTS:
        m = chr(c)
        if c in steps or c in HANGUL:
            continue
        if not (swaps(m, known[1]) or swaps(known[240], m)):
            continue
        classes[c] = next(k for k in order if not swaps(m, known[k]))
        assert not swaps(known[classes[c]], m), hex(c)
    return classes


def compositions(steps):
    """The characters that NFC composes from their decomposition, by (a, b)."""
    pairs = [(ab, c) for c, ab in steps.items() if ab[1] and NFC.normalize_str(chr(ab[0]) + chr(ab[1])) == chr(c)]
    assert len({p for p, _ in pairs}) == len(pairs)
    return [c for _, c in sorted(pairs)]


def lowercase():
    """Runs [first, last, stride, delta]; a mapping to several characters must be the one that unicode.c knows."""
    runs = []
    for c in POINTS:
        low = LOWER.normalize_str(chr(c))
        if low == chr(c):
            continue
        if len(low) != 1:
            assert (c, low) == (0x130, "i\u0307"), hex(c)
            continue
        delta = ord(low) - c
        for stride in (1, 2):
            if runs and runs[-1][3] == delta and c - runs[-1][1] == stride and runs[-1][2] in (0, stride):
                runs[-1][1:3] = [c, stride]
                break
        else:
            runs.append([c, c, 0, delta])
    return [[a, b, s or 1, d] for a, b, s, d in runs]


def table(declaration, comment, items, width=110):
    """One C array, its items packed into lines."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > width:
            lines.append(line)
            line = "   "
        line += " " + item + ","
    lines.append(line)
    return f"/* {comment} */\nstatic const {declaration}[{len(items)}] = {{\n" + "\n".join(lines) + "\n};\n"


def pairs(points):
    return ["{%X,%X}".replace("%X", "0x%X") % tuple(r) for r in ranges(points)]


def text():
    assert LOWER.normalize_str("A\u03a3") == "a\u03c3"  # a final sigma is lowered like any other
    steps = decompositions()
    classes = combining_classes(steps)
    index = {c: i for i, c in enumerate(sorted(steps))}
    by_class = []
    for k in sorted(set(classes.values())):
        by_class += [(a, b, k) for a, b in ranges(c for c in classes if classes[c] == k)]
    out = ["""/* unicode_tables.h: what unicode.c knows of Unicode. Written by tests/unicode_tables.py; do not edit.
 *
 * Asked of tokenizers %s, whose parts carry different versions of Unicode: canonical decomposition,
 * composition and order 12.1; letters, numbers, white space 16.0; lower case 17.0. */
#ifndef SAEURON_UNICODE_TABLES_H
#define SAEURON_UNICODE_TABLES_H

#include <stdint.h>

typedef struct unicode_range { uint32_t first, last; } unicode_range;
typedef struct unicode_class { uint32_t first, last; unsigned char order; } unicode_class;
typedef struct unicode_step  { uint32_t c, a, b; } unicode_step;
typedef struct unicode_lower_run { uint32_t first, last, stride; int32_t delta; } unicode_lower_run;
""" % tokenizers.__version__]
    out.append(table("unicode_step unicode_steps", "c decomposes canonically, in one step, into a b, or (b 0) a; sorted by c. Hangul: by arithmetic.",
                     ["{0x%X,0x%X,0x%X}" % (c, *steps[c]) for c in sorted(steps)]))
    out.append(table("uint16_t unicode_composed", "Places in unicode_steps of what NFC composes again; sorted by a, then b.",
                     [str(index[c]) for c in compositions(steps)]))
    out.append(table("unicode_class unicode_classes", "Canonical combining classes that are not 0; sorted by first.",
                     ["{0x%X,0x%X,%d}" % r for r in sorted(by_class)]))
    letters, word = matching(r"\p{L}"), words()
    assert letters <= word
    out.append(table("unicode_range unicode_letters", "\\p{L}", pairs(letters)))
    out.append(table("unicode_range unicode_marks", "\\w without \\p{L}: marks, digits, joiners and the like", pairs(word - letters)))
    out.append(table("unicode_range unicode_numbers", "\\p{N}", pairs(matching(r"\p{N}"))))
    out.append(table("unicode_range unicode_spaces", "\\s", pairs(matching(r"\s"))))
    out.append(table("unicode_lower_run unicode_lower_runs", "first, first + stride, ..., last: lower case is delta away. U+0130 becomes two: unicode.c.",
                     ["{0x%X,0x%X,%d,%d}" % tuple(r) for r in lowercase()]))
    out.append("#endif\n")
    return "\n".join(out)


def main():
    if sys.argv[1:2] == ["--check"]:
        with open(sys.argv[2], encoding="ascii") as f:
            if f.read() != text():
                sys.exit(f"{sys.argv[2]} is not what tokenizers {tokenizers.__version__} answers: write it again with tests/unicode_tables.py")
    else:
        sys.stdout.write(text())


if __name__ == "__main__":
    main()
