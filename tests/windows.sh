#!/bin/bash
# windows.sh: the program for Windows, built by mingw-w64 and run under Wine, beside the one for this machine, saeuron.
#
#   tests/windows.sh      builds in CI_WORK (default /tmp/saeuron-ci); exit 1 at the first thing that is wrong
#
# Packages of Debian 12: gcc-mingw-w64-x86-64, wine64. Not here: the suites of make test, which want POSIX; a real Windows.
set -eu -o pipefail
cd "$(dirname "$0")/.."
work=${CI_WORK:-/tmp/saeuron-ci}/windows here=$PWD
export LC_ALL=C.UTF-8 WINEPREFIX=$work/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
PATH=$PATH:/usr/lib/wine
unset DISPLAY
mkdir -p "$work"
rm -rf "$work/run" && mkdir "$work/run"

wrong() { echo "WRONG: $*"; exit 1; }
theirs() { wine64 "$work/saeuron.exe" "$@"; }
only() {                                    # only FILE TEXT: the file is this one line, and it ends in LF
    [ "$(wc -l < "$1")" -eq 1 ] && grep -F -- "$2" "$1" > /dev/null && ! grep $'\r' "$1" || wrong "\"$2\" was expected, not \"$(cat "$1")\""
}

make -s -j2 CC=x86_64-w64-mingw32-gcc BUILD="$work" PROGRAM="$work/saeuron.exe" "$work/saeuron.exe" 2> "$work/warnings" || { cat "$work/warnings"; exit 1; }
[ ! -s "$work/warnings" ] || { cat "$work/warnings"; wrong "a build with warnings"; }

theirs selftest
theirs selftest --list | cmp - tests/golden/digests.txt

# A picture, its prompt and its place in other letters, folders made on the way; then another in its place, by a
# model that the environment names.
cd "$work/run"
cp -R "$here/weights/emojicanvas" modèle
export SAEURON_MODEL=modèle
draw() { "$1" generate "${@:3}" -q --forget Bricks --map-steps --steps 2 --seed "$2"; }
prompt='An image of Bears in Bricks style, größer: 画'
for seed in 1 2; do draw "$here/saeuron" $seed -p "$prompt" -o $seed.png; done
draw theirs 1 -p "$prompt" --model "$here\\weights/emojicanvas\\" -o 'größer\画\' > said
picture=$(echo größer/画/*)
cmp "$picture" 1.png
only said "$(basename "$picture")"
draw theirs 2 -p "$prompt" -o "größer\\画\\$(basename "$picture")" > said
cmp "$picture" 2.png
[ "$(find größer -type f | wc -l)" -eq 1 ] || wrong "more than the picture was left: $(find größer)"

# What cannot be done is said in one line.
code=0; theirs info nichts/größe.safetensors 2> said || code=$?
[ $code -eq 1 ] || wrong "exit code $code"
only said "nichts/größe.safetensors: there is no such file"
code=0; theirs generate -q -p a --steps 1 -o größer 2> said || code=$?
[ $code -eq 1 ] || wrong "exit code $code"
only said "größer: is a folder"
code=0; { theirs selftest --list 2> said || echo $? > code; } | true
[ "$(cat code)" -eq 1 ] || wrong "exit code $(cat code)"
only said "the program that reads it has ended"

# On a terminal: the line of progress, and Ctrl-C, which leaves nothing.
touch said
code=0; { for _ in $(seq 600); do grep 'sampling [0-9]*/600, ' said && break; sleep 0.1; done > seen; printf '\3'; } |
    TERM=xterm timeout 120 script -qefc "exec wine64 '$work/saeuron.exe' generate -p a --steps 600 -o stopped.png" said > shown || code=$?
[ $code -eq 1 ] || wrong "exit code $code after Ctrl-C: $(tail -n 3 said)"
grep 'saeuron: stopped at step [0-9]* of 600' said > seen || wrong "a stop without its line"
[ -z "$(find . -name 'stopped*')" ] || wrong "a stopped run left a file"
echo "built, run and compared: $(cd "$here" && wc -l < tests/golden/digests.txt) digests, 2 pictures, 3 errors, Ctrl-C"
