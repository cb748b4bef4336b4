#!/bin/sh
# includes.sh: prints every include that climbs, and every circle of headers; fails if there is one.
#
#   level  0 saeuron_host.h   1 arithmetic/   2 files/   3 layers/   4 the root   5 training/, evaluation/, gradients/   6 rivals/   7 program/
#
# A file includes its own room and rooms of a smaller number, nothing else; rooms of one number do not see each other. Inside the rooms
# in ORDER a file includes only what stands before it. Not here: what the C library is asked for (.ci/run, c99-only).
cd "$(dirname "$0")/.." || exit 1
files=$(ls ./*.[ch] arithmetic/*.[ch] files/*.[ch] layers/*.[ch] training/*.[ch] evaluation/*.[ch] gradients/*.[ch] rivals/*.[ch] program/*.[ch] | sed 's|^\./||')
awk -F'"' '
BEGIN {
    split("arithmetic 1 files 2 layers 3 . 4 training 5 evaluation 5 gradients 5 rivals 6 program 7", level, " ")
    for (i = 1; level[i] != ""; i += 2) L[level[i]] = level[i + 1]
    order = "arithmetic/threads arithmetic/memory arithmetic/number arithmetic/operations arithmetic/rng arithmetic/order " \
            "arithmetic/reference arithmetic/kernels arithmetic/nn " \
            "files/bytes files/utf8 files/decimal files/print files/error files/json files/system files/posix files/windows files/plain files/sort files/text files/metadata " \
            "files/tensors files/npy files/deflate files/png " \
            "layers/machine layers/config layers/bind layers/forward " \
            "tokenizer ddim clip unet vae sae train stats select context forget"
    n = split(order, name, " ")
    for (i = 1; i <= n; i++) O[name[i]] = i
}
function room(f) { return f ~ "/" ? substr(f, 1, index(f, "/") - 1) : "." }
function stem(f) { sub(/\.[ch]$/, "", f); return f }
/^#[ \t]*include[ \t]*"/ && $2 != "saeuron_host.h" {
    from = room(FILENAME); to = room($2)
    if ($2 ~ /\.txt$/) next                                     # digests.txt: data
    if (!(to in L)) { print FILENAME ":" FNR ": includes " $2 ", which lies in no room"; bad = 1 }
    else if (from != to && L[to] >= L[from]) { print FILENAME ":" FNR ": climbs to " $2; bad = 1 }
    else if (from == to && stem($2) in O && stem(FILENAME) in O && O[stem($2)] > O[stem(FILENAME)]) { print FILENAME ":" FNR ": climbs to " $2; bad = 1 }
}
END { exit bad }' $files || bad=1
grep -H '^#include "' $files | sed -n 's|^\([^:]*\.h\):#include "\([^"]*\.h\)".*|\1 \2|p' | tsort > /dev/null || bad=1
[ -z "$bad" ] && echo "no include climbs: $(echo "$files" | wc -l) files"
