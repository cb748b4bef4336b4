#!/bin/sh
# static.sh: what gcc -fanalyzer and cppcheck find in the program and its library; fails on any finding but those of the list.
#
#   tests/static.sh      the last line is "N passed, N failed": files without a finding, and findings
#
# A line of the list silences one finding: file, check, words of the line of code, and why it is none. One that silences nothing any
# more fails too. With gcc 12 and cppcheck 2.10; others find other things. Not here: warnings of the compiler (the build has none).
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

cat > "$work/silenced" << 'END'
clip.c|null-dereference|nn_widen(y, t->token_embedding, (size_t)ids[i]|ids is NULL only while an arena measures, when y is NULL too
sae.c|null-dereference|x[i * s->d + j] - s->b_dec[j]|x is NULL only while an arena measures, when y is NULL too
vae.c|null-dereference|y[i] = z[i] / v->scaling_factor|z is NULL only while an arena measures, when y is NULL too
select.c|null-argument|memcpy(x, y, d * sizeof *x)|x is NULL only while an arena measures, when row is NULL too
select.c|nullPointerArithmetic|x + first * d, tokens|x is NULL only while an arena measures, when row is NULL too
select.c|nullPointerArithmetic|x + (first + i) * d|x is NULL only while an arena measures, when row is NULL too
files/png.c|use-of-uninitialized-value|rgba[1] == p->key[1]|the loop before writes the first three
arithmetic/kernels.c|legacyUninitvar|? wide[j] : zeros|where it lies is taken, not what it holds
train.c|uninitvar|*tie = token ? ties : &one|where it lies is taken, not what it holds
train.c|uninitvar|train_report unused, *out|where it lies is taken, not what it holds
files/deflate.c|negativeIndex|length_base[s - 257]|END_OF_BLOCK, 256, has returned above
files/system.c|arrayIndexThenCheck|while (words[i] && i < f->size|the words end with a zero byte, f->data is read after the check
forget.c|arrayIndexThenCheck|a[i] && i < 63|a ends with a zero byte
program/bench.c|uninitvar|qsort(t, n, sizeof *t|the command refuses --runs 0
END

# fail returns its code, which gcc cannot see from another file: without this it follows paths that go on after an error.
cat > "$work/fail.h" << 'END'
#include "files/error.h"
#define fail(err, code, ...) (fail(err, code, __VA_ARGS__), (code))
END

files=$(ls ./*.c arithmetic/*.c files/*.c layers/*.c training/*.c evaluation/*.c gradients/*.c rivals/*.c program/*.c | sed 's|^\./||')
HAVE=$(gcc -dumpmachine | sed -n 's/^x86_64.*/-DNN_HAVE_SSE2 -DNN_HAVE_AVX2 -DNN_HAVE_AVX512/p')
export HAVE work

# Each finding as FILE:LINE:CHECK.
analyse() {
    echo "$files" | xargs -n 1 -P 2 sh -c '
        case $1 in files/error.c) first= ;; *) first="-include $work/fail.h" ;; esac
        gcc -std=c99 -O2 -ffp-contract=off -fopenmp -I. -D_DEFAULT_SOURCE= $HAVE $first -fanalyzer -fdiagnostics-path-format=none \
            -fdiagnostics-color=never -c -o /dev/null "$1" > "$work/$(echo "$1" | tr / -).log" 2>&1 || echo "$1:1:does not compile"
        sed -n "s/^\([^:]*:[0-9]*\):[0-9]*: warning: .*\[-Wanalyzer-\(.*\)\]$/\1:\2/p" "$work/$(echo "$1" | tr / -).log"' -
    # number.h stops where floats are not evaluated as floats
    echo "$files" | xargs cppcheck -j 2 --quiet --std=c99 --enable=warning,performance,portability -I. $HAVE -DFLT_EVAL_METHOD=0 \
        --suppress=missingIncludeSystem --template='{file}:{line}:{id}' 2>&1
}
analyse | sort -u > "$work/found"

# FILE|CHECK|LINE|the line of code, which decides.
while IFS=: read -r file line check; do
    echo "$file|$check|$line|$(sed -n "${line}p" "$file" 2> /dev/null)"
done < "$work/found" > "$work/lines"
failed=$(awk -F'|' '
FNR == NR { file[NR] = $1; check[NR] = $2; words[NR] = $3; n = NR; next }
{
    for (i = 1; i <= n; i++)
        if (file[i] == $1 && check[i] == $2 && index($0, words[i])) { used[i] = 1; next }
    print $1 ":" $3 ": " $2 ": " substr($0, length($1 $2 $3) + 4)
}
END {
    for (i = 1; i <= n; i++)
        if (!used[i]) print file[i] ": " check[i] ": " words[i] ": is not found any more: take it off the list"
}' "$work/silenced" "$work/lines")
[ -n "$failed" ] && echo "$failed"
echo "$(echo "$files" | wc -l) files, $(wc -l < "$work/silenced") findings silenced"
echo "$(echo "$files" | grep -vcxF "$(echo "$failed" | cut -d: -f1)") passed, $(echo "$failed" | grep -c .) failed"
[ -z "$failed" ]
