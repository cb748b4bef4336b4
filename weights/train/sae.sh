#!/bin/sh
# Makes the sparse autoencoders of both hooks and their statistics with ./saeuron alone: no Python. Run again after a stop: what
# is done is skipped, the interrupted stage goes on. Everything is set by environment:
#   SAEURON  the program                        MODEL    the model's folder, weights/emojicanvas
#   WORK     intermediate files and results, weights/train/work/sae
#   DOMAINS  "object style"; of each DOMAIN: DOMAIN_HOOK, and if they differ DOMAIN_LATENTS, _K, _EPOCHS, _BATCH, _TRAIN
#            DOMAINS=text: the SAE of the text encoder's output instead, which `--by itd` reads, of every prompt once; TEXT: its options
#   NPROMPTS prompts of all 35,200, evenly chosen; every 20th of them is held out to measure on
#   EVERY    of their sampling steps every so many-th is trained on
#   EARLY    "N:P ...": the first N steps of P further prompts are, too (a style's latents must tell it apart from the first step on);
#            DOMAIN_TIMES, or TIMES: how often each of these is taken, "1 1" for once
#   PLAIN    the same of prompts without a style, and DOMAIN_PLAIN_TIMES. Where they are half of all, a style's latents say what it adds
#            to a picture without one, and such a picture is left when they are ablated
#   PARTS    pieces that activations are collected in; what a stop loses
#   LATENTS, K, EPOCHS, BATCH, TRAIN                 of `saeuron train`; TRAIN: its further options
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
object_HOOK=${object_HOOK:-up_blocks.0.attentions.2}
style_HOOK=${style_HOOK:-up_blocks.1.attentions.2}
NPROMPTS=${NPROMPTS:-1000}
EVERY=${EVERY:-2}
EARLY=${EARLY:-8:1500 1:6000}
PLAIN=${PLAIN:-50:250 8:1000}
PARTS=${PARTS:-4}
LATENTS=${LATENTS:-256}
K=${K:-8}
BATCH=${BATCH:-1024}
object_BATCH=${object_BATCH:-512}
object_LATENTS=${object_LATENTS:-1024}
object_K=${object_K:-16}
EPOCHS=${EPOCHS:-8}
style_EPOCHS=${style_EPOCHS:-2}
TIMES=${TIMES:-1 1}
style_TIMES=${style_TIMES:-2 1}
PLAIN_TIMES=${PLAIN_TIMES:-0 0}
style_PLAIN_TIMES=${style_PLAIN_TIMES:-2 2}
TRAIN=${TRAIN:---lr 1e-3 --dead-feature-threshold 400000}
style_TRAIN=${style_TRAIN:-$TRAIN --topk token}
TEXT=${TEXT:---latents 1024 --k 16 --epochs 3 --batch 4096 --topk token --dtype F16 $TRAIN}
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

# Every calibration line in every style (stripped, one final full stop dropped, then the style, its underscores spaces), and as often
# the captions of every object in every style. Of all of them NPROMPTS in the order of multiples of the golden section, which are
# even over objects, lines and styles wherever one stops; every 20th to heldout.txt, the others to train.txt. Those that follow
# go to early-N.txt, as EARLY asks, and of what is left those without a style to plain-N.txt.
choose_prompts() {
    for file in "$PROMPTS"/*.txt; do
        object=$(basename "$file" .txt)
        awk -v object="$object" -v styles="$STYLES" '
            BEGIN { n = split(styles, style, " ") }
            function styled(text, s) { gsub(/_/, " ", s); return text " in " s " style." }
            function plain(s) { return s == "Seed_Images" }
            { gsub(/^[ \t\r]+|[ \t\r]+$/, ""); if ($0 == "") next; sub(/\.$/, ""); for (i = 1; i <= n; i++) {
                print plain(style[i]) ? $0 "." : styled($0, style[i])
                print plain(style[i]) ? "An image of " object "." : styled("An image of " object, style[i])
            } }' "$file"
    done > "$WORK/all.txt"
    awk -v wanted="$NPROMPTS" -v early="$EARLY" -v plain="$PLAIN" -v work="$WORK/" '
        function gcd(a, b) { return b ? gcd(b, a % b) : a }
        { line[NR - 1] = $0 }
        END {
            step = int(NR * 0.6180339887)
            while (gcd(step, NR) != 1) step++
            for (i = 0; i < wanted; i++) print line[i * step % NR] > (work (i % 20 == 19 ? "heldout.txt" : "train.txt"))
            for (j = split(early, piece, " "); j > 0; j--) {
                split(piece[j], pair, ":")
                for (end = i + pair[2]; i < end; i++) print line[i * step % NR] > (work "early-" pair[1] ".txt")
            }
            for (j = split(plain, piece, " "); j > 0; j--) {
                split(piece[j], pair, ":")
                for (left = pair[2]; left && i < NR; i++) if (line[i * step % NR] !~ / style\.$/) {
                    print line[i * step % NR] > (work "plain-" pair[1] ".txt")
                    left--
                }
            }
        }' "$WORK/all.txt"
    [ -s "$WORK/heldout.txt" ] && [ -s "$WORK/train.txt" ]
}

hooks=
for domain in $DOMAINS; do
    hooks="$hooks --hook $(of "$domain" HOOK)"
done

collect() {                                 # collect FOLDER PROMPTS SEED SHARD OPTIONS...
    folder=$1 prompts=$2 seed=$3 shard=$4; shift 4
    "$SAEURON" collect -m "$MODEL" $threads $hooks --prompts "$prompts" --seed "$seed" --shard "$shard" --dtype "$TYPE" "$@" -o "$WORK/acts/$folder/"
}

further() {                                 # further KIND HOOK PAIRS TIMES: the files of EARLY or PLAIN, each as often as it is taken
    times=$4
    for pair in $3; do
        i=0
        while [ "$i" -lt "${times%% *}" ]; do
            echo "$WORK/acts/$1-${pair%:*}/$2.safetensors"
            i=$((i + 1))
        done
        times=${times#* }
    done
}

train() {                                   # train DOMAIN
    hook=$(of "$1" HOOK)
    "$SAEURON" train $threads --hook "$hook" --latents "$(of "$1" LATENTS)" --k "$(of "$1" K)" --epochs "$(of "$1" EPOCHS)" --batch "$(of "$1" BATCH)" $(of "$1" TRAIN) \
        --data "$WORK"/acts/part-*/"$hook".safetensors \
        $(further early "$hook" "$EARLY" "$(of "$1" TIMES)") $(further plain "$hook" "$PLAIN" "$(of "$1" PLAIN_TIMES)") \
        -o "$WORK/sae/$hook" --resume
}

measure() {                                 # measure HOOK SAE FILE
    "$SAEURON" measure "$2" $threads --json --data "$WORK/acts/heldout/$1.safetensors" > "$WORK/$3.tmp"
    mv "$WORK/$3.tmp" "$WORK/$3"
    cat "$WORK/$3"
}

text() {
    LC_ALL=C sort -u "$WORK/all.txt" > "$WORK/text.txt"
    "$SAEURON" collect -m "$MODEL" $threads --hook text_encoder --prompts "$WORK/text.txt" --dtype "$TYPE" -o "$WORK/acts/text.safetensors"
    "$SAEURON" train $threads $TEXT --data "$WORK/acts/text.safetensors" -o "$WORK/sae/text_encoder" --resume
    [ "${INSTALL:-0}" = 0 ] || { mkdir -p "$MODEL/sae/text_encoder" && cp "$WORK/sae/text_encoder/cfg.json" "$WORK/sae/text_encoder/sae.safetensors" "$MODEL/sae/text_encoder/"; }
}

statistics() {                              # statistics HOOK
    "$SAEURON" stats -m "$MODEL" $threads --hook "$1" --sae "$1=$WORK/sae/$1" --lines "$LINES_A_CONCEPT" --seed "$STATS_SEED" --dtype F16 -o "$WORK/sae/$1/stats.safetensors"
}

install() {                                 # install HOOK; forget.json is the model's: `saeuron sweep --write` makes it anew
    mkdir -p "$MODEL/sae/$1"
    cp "$WORK/sae/$1/cfg.json" "$WORK/sae/$1/sae.safetensors" "$WORK/sae/$1/stats.safetensors" "$MODEL/sae/$1/"
}

stage prompts choose_prompts
if [ "$DOMAINS" = text ]; then
    stage text text
    exit
fi
part=0
while [ "$part" -lt "$PARTS" ]; do          # names that a shell sorts as numbers: the order of the files is that of the prompts
    name=part-$(printf %04d "$part")
    stage "$name" collect "$name" "$WORK/train.txt" 7 "$part/$PARTS" --every "$EVERY"
    part=$((part + 1))
done
for pair in $EARLY; do
    stage "early-${pair%:*}" collect "early-${pair%:*}" "$WORK/early-${pair%:*}.txt" "$((1000 + ${pair%:*}))" 0/1 --first "${pair%:*}"
done
for pair in $PLAIN; do
    stage "plain-${pair%:*}" collect "plain-${pair%:*}" "$WORK/plain-${pair%:*}.txt" "$((2000 + ${pair%:*}))" 0/1 --first "${pair%:*}"
done
stage heldout collect heldout "$WORK/heldout.txt" 8 0/1
for domain in $DOMAINS; do
    hook=$(of "$domain" HOOK)
    stage "train-$hook" train "$domain"
    stage "measure-$hook" measure "$hook" "$WORK/sae/$hook" "measure-$hook.json"
    if [ -e "$MODEL/sae/$hook/cfg.json" ] && ! [ -e "$WORK/done.install-$hook" ]; then  # afterwards it is this one
        stage "before-$hook" measure "$hook" "$MODEL/sae/$hook" "before-$hook.json"
    fi
    stage "stats-$hook" statistics "$hook"
done
if [ "${INSTALL:-0}" = 1 ]; then
    for domain in $DOMAINS; do stage "install-$(of "$domain" HOOK)" install "$(of "$domain" HOOK)"; done
fi
