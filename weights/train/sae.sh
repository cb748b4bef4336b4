#!/bin/sh
# Makes the sparse autoencoders of both hooks and their statistics with ./saeuron alone: no Python. Run again after a stop: what
# is done is skipped, the interrupted stage goes on. Everything is set by environment:
#   SAEURON  the program                        MODEL    the model's folder, weights/emojicanvas
#   WORK     intermediate files and results, weights/train/work/sae
#   DOMAINS  "object style"; of each DOMAIN: DOMAIN_HOOK, and if it is to differ DOMAIN_LATENTS, DOMAIN_K, DOMAIN_EPOCHS
#   NPROMPTS prompts of all 17,820, evenly chosen (0: all); every 20th of them is held out to measure on
#   PARTS    pieces that activations are collected in; what a stop loses
#   LATENTS, K, EPOCHS, TRAIN                   of `saeuron train`; TRAIN: its further options
#   TYPE     of collected activations           THREADS  0: all cores
#   LINES, STATS_SEED                           of `saeuron stats`
#   INSTALL  1: the results go to MODEL/sae/HOOK in the end
# Results: WORK/sae/HOOK/{cfg.json,sae.safetensors,stats.safetensors,...}, WORK/measure-HOOK.json, and of the SAE that the model
# has now WORK/before-HOOK.json. Noise of training: seed 7, of what is held out: 8; of statistics 42: none is a test's or a sweep's.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
SAEURON=$(absolute "${SAEURON:-$here/../../saeuron}")
MODEL=$(absolute "${MODEL:-$here/../emojicanvas}")
WORK=$(absolute "${WORK:-$here/work/sae}")
PROMPTS=$(absolute "${PROMPTS:-$here/prompts}")         # a folder: OBJECT.txt, a line a prompt
STYLES=${STYLES:-Seed_Images Bricks Glowing_Sunset Ink_Art Mosaic Neon_Lines On_Fire Pop_Art Rust Sketch Winter}
DOMAINS=${DOMAINS:-object style}
object_HOOK=${object_HOOK:-up_blocks.1.attentions.1}
style_HOOK=${style_HOOK:-up_blocks.1.attentions.2}
NPROMPTS=${NPROMPTS:-2000}
PARTS=${PARTS:-8}
LATENTS=${LATENTS:-1024}
K=${K:-16}
EPOCHS=${EPOCHS:-1}
TRAIN=${TRAIN:-}
TYPE=${TYPE:-F16}
THREADS=${THREADS:-0}
LINES_A_CONCEPT=${LINES:-20}
STATS_SEED=${STATS_SEED:-42}
threads=
[ "$THREADS" = 0 ] || threads="--threads $THREADS"
mkdir -p "$WORK/acts" "$WORK/sae"

stage() {                                   # stage NAME COMMAND...: once
    name=$1; shift
    if [ -e "$WORK/done.$name" ]; then return; fi
    echo "== $name" >&2
    "$@"
    : > "$WORK/done.$name"
}

of() {                                      # of DOMAIN NAME: the domain's own value, else that of all
    eval "echo \"\${$1_$2:-\${$2:-}}\""
}

# The captions of every object in every style, and every calibration line in every style: stripped, one final full stop dropped,
# then the style, its underscores spaces. Of all of them NPROMPTS in the order of multiples of the golden section, which are
# even over objects, lines and styles wherever one stops; every 20th to heldout.txt, the others to train.txt.
choose_prompts() {
    for file in "$PROMPTS"/*.txt; do
        object=$(basename "$file" .txt)
        awk -v object="$object" -v styles="$STYLES" '
            BEGIN { n = split(styles, style, " ") }
            function styled(text, s) { gsub(/_/, " ", s); return text " in " s " style." }
            function plain(s) { return s == "Seed_Images" }
            { gsub(/^[ \t\r]+|[ \t\r]+$/, ""); if ($0 == "") next; sub(/\.$/, ""); for (i = 1; i <= n; i++) print plain(style[i]) ? $0 "." : styled($0, style[i]) }
            END { for (i = 1; i <= n; i++) print plain(style[i]) ? "An image of " object "." : styled("An image of " object, style[i]) }' "$file"
    done > "$WORK/all.txt"
    awk -v wanted="$NPROMPTS" -v held="$WORK/heldout.txt" -v train="$WORK/train.txt" '
        function gcd(a, b) { return b ? gcd(b, a % b) : a }
        { line[NR - 1] = $0 }
        END {
            step = int(NR * 0.6180339887)
            while (gcd(step, NR) != 1) step++
            if (wanted < 1 || wanted > NR) wanted = NR
            for (i = 0; i < wanted; i++) print line[i * step % NR] > (i % 20 == 19 ? held : train)
        }' "$WORK/all.txt"
    [ -s "$WORK/heldout.txt" ] && [ -s "$WORK/train.txt" ]
}

hooks=
for domain in $DOMAINS; do
    hooks="$hooks --hook $(of "$domain" HOOK)"
done

collect() {                                 # collect FOLDER PROMPTS SEED SHARD
    "$SAEURON" collect -m "$MODEL" $threads $hooks --prompts "$2" --seed "$3" --shard "$4" --dtype "$TYPE" -o "$WORK/acts/$1/"
}

train() {                                   # train DOMAIN
    hook=$(of "$1" HOOK)
    "$SAEURON" train $threads --hook "$hook" --latents "$(of "$1" LATENTS)" --k "$(of "$1" K)" --epochs "$(of "$1" EPOCHS)" $TRAIN \
        --data "$WORK"/acts/part-*/"$hook".safetensors -o "$WORK/sae/$hook" --resume
}

measure() {                                 # measure HOOK SAE FILE
    "$SAEURON" measure "$2" $threads --json --data "$WORK/acts/heldout/$1.safetensors" > "$WORK/$3.tmp"
    mv "$WORK/$3.tmp" "$WORK/$3"
    cat "$WORK/$3"
}

statistics() {                              # statistics HOOK
    "$SAEURON" stats -m "$MODEL" $threads --hook "$1" --sae "$1=$WORK/sae/$1" --lines "$LINES_A_CONCEPT" --seed "$STATS_SEED" --dtype F16 -o "$WORK/sae/$1/stats.safetensors"
}

install() {                                 # install HOOK; forget.json is the model's: `saeuron sweep --write` makes it anew
    mkdir -p "$MODEL/sae/$1"
    cp "$WORK/sae/$1/cfg.json" "$WORK/sae/$1/sae.safetensors" "$WORK/sae/$1/stats.safetensors" "$MODEL/sae/$1/"
}

stage prompts choose_prompts
part=0
while [ "$part" -lt "$PARTS" ]; do          # names that a shell sorts as numbers: the order of the files is that of the prompts
    name=part-$(printf %04d "$part")
    stage "$name" collect "$name" "$WORK/train.txt" 7 "$part/$PARTS"
    part=$((part + 1))
done
stage heldout collect heldout "$WORK/heldout.txt" 8 0/1
for domain in $DOMAINS; do
    hook=$(of "$domain" HOOK)
    stage "train-$hook" train "$domain"
    stage "measure-$hook" measure "$hook" "$WORK/sae/$hook" "measure-$hook.json"
    if [ -e "$MODEL/sae/$hook/cfg.json" ]; then stage "before-$hook" measure "$hook" "$MODEL/sae/$hook" "before-$hook.json"; fi
    stage "stats-$hook" statistics "$hook"
done
if [ "${INSTALL:-0}" = 1 ]; then
    for domain in $DOMAINS; do stage "install-$(of "$domain" HOOK)" install "$(of "$domain" HOOK)"; done
fi
