#!/bin/sh
# ablations.sh: what else was tried to keep the picture, on three styles; writes docs/sweep-ablations.tsv. An hour on two cores,
# and once half an hour more for activations. Needs tests/requirements.txt (safetensors).
#
#   sh docs/ablations.sh [DIR]        everything is kept in DIR (default: build/ablations); what is there is not made again
#
# Each row of the table begins with what differs from the shipped autoencoder and choice: steps that are not edited, one set of latents for all steps
# in place of one a step, the other hook, dictionaries of other sizes and k.
set -eu
cd "$(dirname -- "$0")/.."
dir=${1:-build/ablations}
model=weights/emojicanvas here=up_blocks.1.attentions.2 other=up_blocks.0.attentions.2
mkdir -p "$dir"
: > "$dir/rows"

swept() {                                   # swept WHAT OPTIONS...: the rows of a sweep, WHAT before each
    what=$1 out=$dir/$(echo "$1" | tr ' ,' '--'); shift
    ./saeuron sweep --protocol weights/train/sweep.json --domain style --concepts Bricks,On_Fire,Pop_Art --seeds 1188,1288 --min-lifts 3 --tops 12 \
        --halves conditional --strengths=0,-0.1,-0.3,-1,-3 --bisections 2 -o "$out" "$@" > /dev/null
    sed "s/^/$what	/; 1s/^[^	]*/what/" "$out/results.tsv" >> "$dir/rows"
}

dictionary() {                              # dictionary WHAT OPTION=VALUE...: trained as the shipped one but for the settings of weights/train/sae.sh
    what=$1 work=$dir/sae-$(echo "$1" | tr ' ,' '--'); shift
    if ! [ -e "$work" ]; then
        cp -al "$dir/shipped" "$work.tmp"   # links: activations are large
        rm -rf "$work.tmp/sae" "$work.tmp"/done.train-* "$work.tmp"/done.measure-* "$work.tmp"/done.before-* "$work.tmp"/done.stats-*
        mv "$work.tmp" "$work"
    fi
    env WORK="$work" DOMAINS=style "$@" sh weights/train/sae.sh > /dev/null
    swept "$what" --sae "$here=$work/sae/$here"
}

swept "no edit at the first 3 steps" --windows 3-50
swept "no edit at the first 10 steps" --windows 10-50

# One set of latents: the means of all steps, at one timestep, the nearest to every step.
if ! [ -e "$dir/one.safetensors" ]; then
    python3 - "$model/sae/$here/stats.safetensors" "$dir/one.safetensors" <<'END'
import sys
from safetensors import safe_open
from safetensors.numpy import save_file
with safe_open(sys.argv[1], "numpy") as f:
    means = {c: f.get_tensor(c).astype("f8").mean(0, keepdims=True).astype("f2") for c in f.keys()}
    save_file(means, sys.argv[2], dict(f.metadata(), timesteps="501"))
END
fi
swept "one set for all steps" --stats "$dir/one.safetensors" --map-steps

# The other hook: the objects' autoencoder, with statistics of styles. concepts.json says which hook a domain has.
if ! [ -e "$dir/hook/sae/$other/done" ]; then
    mkdir -p "$dir/hook"
    cp -R "$model/." "$dir/hook"
    sed -i "s/$other/HOOK/; s/$here/$other/; s/HOOK/$here/" "$dir/hook/concepts.json"
    ./saeuron stats -m "$dir/hook" --hook "$other" --lines 20 --seed 42 --dtype F16 -o "$dir/hook/sae/$other/stats.safetensors"
    : > "$dir/hook/sae/$other/done"
fi
swept "hook $other" -m "$dir/hook"

env WORK="$dir/shipped" DOMAINS=style sh weights/train/sae.sh > /dev/null # for its activations
dictionary "512 latents" style_LATENTS=512
dictionary "128 latents, k 4" style_LATENTS=128 style_K=4
dictionary "k 16" style_K=16
awk 'NR == 1 || !/^what/' "$dir/rows" > docs/sweep-ablations.tsv
