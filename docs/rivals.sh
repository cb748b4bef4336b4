#!/bin/sh
# rivals.sh: the methods beside SAeUron, styles, each forgotten alone; writes docs/rivals.tsv. A quarter of an hour a method on two cores, and an hour or more to train
# those that are trained.
#
#   sh docs/rivals.sh [METHOD...]        default: negative safree itd uce esd sdd ca; rows of other methods stay as they are
#
# Every object in every style and unstyled, seed 188. DIR (build/rivals) keeps pictures and models; what is there is not made again. `made` is how long a method takes
# to forget a concept, in pictures that could be drawn meanwhile (50 steps); `stored` the bytes that it keeps for it.
set -eu
cd "$(dirname -- "$0")/.."
dir=${DIR:-build/rivals}
styles='Bricks Glowing_Sunset Ink_Art Mosaic Neon_Lines On_Fire Pop_Art Rust Sketch Winter'
[ $# -gt 0 ] || set -- negative safree itd uce esd sdd ca
mkdir -p "$dir"
now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{ print $1 - $2 }'; }
begin=$(now)
./saeuron generate -q -p "An image of Cats." --count 8 -o "$dir/timing/" > /dev/null
picture=$(since "$begin" | awk '{ print $1 / 8 }')
for method; do
    made=0 stored=0
    case $method in
    itd) how='--by itd'; stored=$(wc -c < weights/emojicanvas/sae/text_encoder/sae.safetensors) ;;
    negative | safree) how="--by $method" ;;
    *) how="--rivals $dir/$method"
        for style in $styles; do
            [ -d "$dir/$method/$style" ] && continue
            begin=$(now)
            ./saeuron rival "$method" -q --forget "$style" -o "$dir/$method/$style" > /dev/null
            since "$begin" > "$dir/$method-made"
        done
        made=$(awk -v p="$picture" '{ printf "%.0f", $1 / p }' "$dir/$method-made")
        stored=$(find "$dir/$method/Bricks" -type f -name 'diffusion*' -size +1k -exec cat {} + | wc -c) ;;
    esac
    ./saeuron eval --domain style --seeds 188 $how -o "$dir" > /dev/null
    awk -v m="$method" -v made="$made" -v stored="$stored" 'BEGIN { OFS = "\t" } { print NR == 1 ? "method" : m, NR == 1 ? "made" : made, NR == 1 ? "stored" : stored, $0 }' \
        "$dir/$method/eval.tsv" > "$dir/rows-$method"
done
for method in negative safree itd uce esd sdd ca; do
    if [ -e "$dir/rows-$method" ]; then
        cat "$dir/rows-$method"
    elif [ -e docs/rivals.tsv ]; then
        awk -v m="$method" 'NR == 1 || $1 == m' docs/rivals.tsv
    fi
done | awk 'NR == 1 || !/^method/' > "$dir/rivals.tsv"
cp "$dir/rivals.tsv" docs/rivals.tsv
