#!/bin/sh
# together.sh: several concepts forgotten at once, each by the pair that it has alone; writes docs/eval-together.tsv. A quarter of an hour on two cores.
#
#   sh docs/together.sh [DIR]        pictures are kept in DIR (default: build/together); one that is there is not drawn again
#
# Lists: the first style, the first two, ... six (the paper's sequential forgetting has six nested lists), all styles but the last, the first ten objects,
# the first style and the first object. Every object in every style and unstyled, seed 188.
set -eu
cd "$(dirname -- "$0")/.."
dir=${1:-build/together}
styles=Bricks,Glowing_Sunset,Ink_Art,Mosaic,Neon_Lines,On_Fire,Pop_Art,Rust,Sketch
objects=Architectures,Bears,Birds,Butterfly,Cats,Dogs,Fishes,Flame,Flowers,Frogs
mkdir -p "$dir"
for list in $(for n in 1 2 3 4 5 6; do echo $styles | cut -d , -f 1-$n; done) $styles $objects Bricks,Architectures; do
    ./saeuron eval --concepts "$list" --together --seeds 188 -o "$dir" > /dev/null
    cat "$dir/eval.tsv"
done > "$dir/rows"
awk 'NR == 1 || !/^domain/' "$dir/rows" > docs/eval-together.tsv
