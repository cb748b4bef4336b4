#!/bin/sh
# prove.sh: readers of hostile bytes on every input of the spaces that build/prove/address lists (tests/prove.c).
#
#   tests/prove.sh [NAME...]      all, or these; the last line is "N passed, N failed"
#
# AddressSanitizer and UBSan look at every proof; MemorySanitizer, which is slower, at those of UNSET below: that nothing unset is read,
# nor a byte of the input without being chosen. Three minutes of one core. Wants clang 14 or newer, which reports loads.
# Not here: inputs beyond the spaces (tests/fuzz_readers.c).
cd "$(dirname "$0")/.." || exit 1
CC=${CLANG:-clang-14}
build=${BUILD:-build}/prove
UNSET='utf8-codes json-words json-pairs json-depth json-keys numbers-long inflate-longer npy tensors-bytes png-texts png-pixels'
export ASAN_OPTIONS=handle_abort=1 MSAN_OPTIONS=handle_abort=1     # an input is shown whatever ends its run
passed=0 failed=0

# The system is left out (SAEURON_PLAIN_C): a host gives the bytes.
compile() {                                 # compile NAME SANITIZERS [OPTION]
    "$CC" -std=c99 -ffp-contract=off -g -O1 -fno-builtin -w -DSAEURON_PLAIN_C $3 -I. -include tests/prove.h -fsanitize="$2" \
        -fno-sanitize-recover=all -fsanitize-coverage=func,trace-loads -o "$build/$1" tests/prove.c files/*.c arithmetic/*.c -lm
}

prove() {                                   # prove BUILD NAME
    if timeout 600 "$build/$1" "$2" > "$build/log" 2>&1; then
        passed=$((passed + 1)); echo "ok   $1: $(cat "$build/log")"
    else
        failed=$((failed + 1)); echo "FAIL $1: $2"; tail -n 40 "$build/log"
    fi
}

mkdir -p "$build" || exit 1
compile address address,undefined,implicit-conversion,float-cast-overflow || exit 1
compile memory memory -DUNSET || exit 1
names=$("$build/address" | cut -f 1)
for name in ${*:-$names}; do
    prove address "$name"
done
for name in $UNSET; do
    case " ${*:-$names} " in *[[:space:]]"$name"[[:space:]]*) prove memory "$name" ;; esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
