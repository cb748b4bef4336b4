#!/bin/sh
# Proofs by CBMC that the readers of files/ stay inside their memory: tests/cbmc.c says how.
#
#   sh tests/cbmc.sh [NAME...]      all, or those named; a line each, last "N passed, N failed"
#
# Each proof runs twice, side by side: it must hold, and (REACH) an input must exist that the reader accepts. CBMC 5.12.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 only=" $* "
checks="--bounds-check --pointer-check --pointer-overflow-check --signed-overflow-check --div-by-zero-check
    --undefined-shift-check"

# prove NAME MOST WHAT CUTS OPTIONS: CUTS are the functions that any_* stand in for, in calls alone (they are
# indented; definitions are not). The loops' bounds are in OPTIONS.
prove() {
    name=$1 most=$2 what=$3 cuts=$4 options=$5 begin=$(date +%s)
    case $only in "  " | *" $name "*) ;; *) return ;; esac
    rm -rf "$work/files" && cp -R files "$work" || exit 1
    for f in $cuts; do
        sed -E "/^ /s/\\b$f\\(/any_$f(/g" -i "$work"/files/*.c
    done
    set -- tests/cbmc.c --function "$name" -I "$work" -I . -DMOST="$most" -DSAEURON_PLAIN_C --object-bits 12 \
        --drop-unused-functions --unwinding-assertions \
        -D"$(echo "${name%%_*}" | tr a-z A-Z)" $options
    timeout 300 cbmc "$@" -DREACH > "$work/reached" 2>&1 &
    timeout 300 cbmc "$@" $checks > "$work/log" 2>&1
    held=$?
    wait
    if [ $held -ne 0 ] || grep -a 'no body for function' "$work/log" | grep -v 'function any_'; then
        failed=$((failed + 1))
        echo "FAIL $name: $what"
        grep -aE ': FAILURE$|rror' "$work/log" || tail -n 5 "$work/log"
        return
    fi
    if ! grep -aq ' accepted: FAILURE$' "$work/reached"; then
        failed=$((failed + 1))
        echo "FAIL $name: no input is accepted, so this proves nothing"
    else
        passed=$((passed + 1))
        echo "ok   $name: $what ($(($(date +%s) - begin)) s)"
    fi
}

prove utf8 5 "every text; a character takes at most 4 bytes" "" "--unwind 5"

prove json_string_char 13 "every text; a character takes at most 12 bytes" "" "--unwind 10"
prove json_value 8 "every text of up to 8 bytes, at any depth, with any keys before it" \
    "scan_value pop_keys string_char" "-DKEYS=2 --unwind 9 --unwindset scan_container.0:5"
prove json_pop_keys 4 "every stack of up to 4 keys" "" \
    "-DKEYS=4 --unwind 5 --unwindset sort_keys.0:1,sort_keys.3:3"
prove json_opened 12 "every text of up to 12 bytes" "scan_value" "--unwind 13"
prove json_strings 7 "every text of up to 7 bytes that begins with a quote, every room of up to 7" \
    "string_char" "--unwind 8"
prove json_equal 10 "every text of up to 10 bytes that begins with a quote, every other of up to 3" \
    "string_char" "--unwind 11"
prove json_past 7 "every text of up to 7 bytes that like_json takes, and what follows" "" \
    "--unwind 8 --unwindset strchr.0:10"
prove json_walk 7 "every container of up to 7 bytes that like_json takes, and what follows" "" \
    "--unwind 8 --unwindset strchr.0:10,json_walk.0:4"
prove json_quoted 3 "every text of up to 2 bytes, every room of up to 20" "" "--unwind 9"

nojson="json_open json_begin json_next json_string json_equals json_integer json_kind json_length sort_list"
prove tensors_header 16 "every file of up to 16 bytes, whatever json_open says" \
    "$nojson" "--unwind 9 --conversion-check"
prove tensors_entry 8 "every dtype, shape and offsets of up to 12 values, with up to 8 bytes of data" \
    "$nojson" "--unwind 13 --conversion-check"
prove tensors_cover 16 "every two tensors in up to 16 bytes of data" "$nojson" "--unwind 4 --conversion-check"

prove npy_word 9 "every text of up to 9 bytes" "" "--unwind 10 --conversion-check"
prove npy_shapes 5 "every text of up to 5 bytes" "" "--unwind 7 --conversion-check"
prove npy_dimensions 18 "every text of up to 18 bytes without two digits in a row" npy_take \
    "--unwind 19 --unwindset npy_shape.0:2,npy_shape.1:11 --conversion-check"
prove npy_headers 50 "every text of up to 50 bytes" "npy_take npy_shape" "--unwind 18 --conversion-check"
prove npy_file 18 "every file of up to 18 bytes, any type and shape, memory that may run out" \
    "npy_header" "--unwind 9 --unwindset begins_with.0:44,strlen.0:45"

prove png_chunk 32 "every file of up to 32 bytes, from any place" "" "--unwind 5 --conversion-check"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
