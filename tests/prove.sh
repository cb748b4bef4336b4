#!/bin/sh
# prove.sh: readers of hostile bytes on every input of the spaces that build/prove/address lists (tests/prove.c).
#
#   tests/prove.sh [NAME...]      all, or these; the last line is "N passed, N failed"
#
# AddressSanitizer and UBSan look at every proof; MemorySanitizer, which is slower, at those of UNSET below: that nothing unset is read,
# nor a byte of the input without being chosen. Two minutes of two cores. Wants clang 14 or newer, which reports loads.
# Not here: inputs beyond the spaces (tests/fuzz_readers.c).
cd "$(dirname "$0")/.." || exit 1
CC=${CLANG:-clang-14}
build=${BUILD:-build}/prove
UNSET='utf8-codes json-words json-pairs json-depth json-keys numbers-long inflate-longer npy tensors-bytes png-texts png-pixels'
export ASAN_OPTIONS=handle_abort=1 MSAN_OPTIONS=handle_abort=1     # an input is shown whatever ends its run

# The system is left out (SAEURON_PLAIN_C): a host gives the bytes.
compile() {                                 # compile NAME SANITIZERS [OPTION]
    "$CC" -std=c99 -ffp-contract=off -g -O1 -fno-builtin -w -DSAEURON_PLAIN_C $3 -I. -include tests/prove.h -fsanitize="$2" \
        -fno-sanitize-recover=all -fsanitize-coverage=func,trace-loads -o "$build/$1" tests/prove.c files/*.c arithmetic/*.c -lm
}

# Two at a time; a line each, and the input that a failed one found.
prove() {                                   # prove BUILD NAME...
    of=$1; shift
    printf '%s\n' "$@" | xargs -P 2 -I{} sh -c 'if timeout 600 "$0/$1" {} > "$0/$1-{}" 2>&1; then echo "ok   $1: $(cat "$0/$1-{}")"; else
        echo "FAIL $1: {}"; tail -n 40 "$0/$1-{}"; fi' "$build" "$of"
}

mkdir -p "$build" || exit 1
compile address address,undefined,implicit-conversion,float-cast-overflow || exit 1
compile memory memory -DUNSET || exit 1
names=${*:-$("$build/address" | cut -f 1)}
unset_too=$(for name in $names; do case " $UNSET " in *" $name "*) echo "$name" ;; esac; done)
{ prove address $names; prove memory $unset_too; } > "$build/log"
cat "$build/log"
failed=$(grep -c '^FAIL' "$build/log")
echo "$(grep -c '^ok' "$build/log") passed, $failed failed"
[ "$failed" -eq 0 ]
