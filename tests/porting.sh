#!/bin/sh
# porting.sh: runs the commands of docs/porting.md as they are written there, in a copy of the sources without anything built.
#
#   porting.sh [NAME...]      the blocks "sh" whose first line is "# NAME: ...", in order; all of them without a NAME
#
# Not here: what `make lib`, `install` and `portable` promise (packaging.sh). Exit 1 at the first command that fails.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tar cf - *.[ch] */*.[ch] tests/golden/digests.txt | (cd "$folder" && tar xf -)

block() {                                   # block NAME: the lines of that block
    awk -v name="$1" '/^```/ { inside = 0 } inside { print } /^```sh$/ { getline; inside = index($0, "# " name ": ") == 1 }' docs/porting.md
}

[ $# -gt 0 ] || set -- $(awk '/^```sh$/ { getline; if ($1 == "#") { sub(/:$/, "", $2); print $2 } }' docs/porting.md)
[ $# -gt 0 ] || { echo "porting.sh: docs/porting.md has no block to run"; exit 1; }
for name; do
    block "$name" > "$folder/$name.sh"
    [ -s "$folder/$name.sh" ] || { echo "porting.sh: docs/porting.md has no block '# $name: ...'"; exit 1; }
    (cd "$folder" && sh -eux "$name.sh") || { echo "porting.sh: $name: a command of docs/porting.md fails"; exit 1; }
done
echo "porting.sh: $# blocks of docs/porting.md run: $*"
