#!/bin/sh
# Trains EmojiCanvas from the art to weights/emojicanvas. Run again after a stop: finished stages are skipped, the
# interrupted one goes on from its checkpoint. README.md says what is needed; everything is set by environment:
#   EMOJI   folder of the emoji sets            PYTHON  an interpreter with requirements.txt
#   DEVICE  cpu, cuda, ...                      WORK    intermediate files, weights/train/work
#   FROM    a model folder to start from, weights/emojicanvas say (empty: from nothing)
#   NETWORKS  a model folder whose networks and judges stay as they are: only what comes after them is made anew
#   JUDGES  with NETWORKS, the judges to train all the same: "style object", or one of them
#   SAEURON   the program                       THREADS, WORKERS  CPU threads, UNet workers
#   VAE_SECONDS UNET_SECONDS  training times; CLASSIFIER_PICTURES  pictures a judge sees
#   GUIDANCE  the model's default guidance
#   SWEEP, EVAL  options of `saeuron sweep`, `saeuron eval`; OBJECT_SWEEP, STYLE_SWEEP, OBJECT_EVAL, STYLE_EVAL: further ones, or those of a domain
# and what sae.sh lists at its head, save MODEL, INSTALL.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
EMOJI=$(absolute "${EMOJI:-$here/../../../shared/emoji}")
WORK=$(absolute "${WORK:-$here/work}")
SAEURON=$(absolute "${SAEURON:-$here/../../saeuron}")
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cpu}
THREADS=${THREADS:-2}
WORKERS=${WORKERS:-2}
GUIDANCE=${GUIDANCE:-6}
SWEEP=${SWEEP:---seeds 1188,1288 --protocol sweep.json --min-lifts 3 --bisections 2}
OBJECT_SWEEP=${OBJECT_SWEEP---tops 8,16 --halves conditional --strengths=0,-3,-10,-30 --target 90}   # docs/results.md: then lower, for some
STYLE_SWEEP=${STYLE_SWEEP---tops 2,4,12 --halves conditional --strengths=0,-0.1,-0.3,-1,-3}
EVAL=${EVAL---quick}                        # EVAL= (empty): all of it
OBJECT_EVAL=${OBJECT_EVAL-$EVAL}
STYLE_EVAL=${STYLE_EVAL-$EVAL}
export EMOJI WORK SAEURON DEVICE THREADS
from=
[ -z "${FROM:-}" ] || from="--from $(absolute "$FROM")"
[ -z "${NETWORKS:-}" ] || NETWORKS=$(absolute "$NETWORKS")
[ -n "${NETWORKS:-}" ] || JUDGES="style object"
JUDGES=${JUDGES:-}
if [ -n "$JUDGES" ] && ! [ -f "$EMOJI/manifest.json" ]; then
    echo "weights: no $EMOJI/manifest.json; EMOJI= names the folder of the emoji sets (weights/train/README.md)" >&2
    exit 1
fi
if ! [ -x "$SAEURON" ]; then
    echo "weights: no program $SAEURON; run make, or name it with SAEURON=" >&2
    exit 1
fi
case $PYTHON in */*) PYTHON=$(absolute "$PYTHON") ;; esac
mkdir -p "$WORK"
cd "$here"

stage() {                                   # stage NAME COMMAND...: once
    name=$1; shift
    if [ -e "$WORK/done.$name" ]; then return; fi
    echo "== $name" >&2
    "$@"
    : > "$WORK/done.$name"
}

script() {                                  # script NAME SCRIPT ARGUMENTS...: a stage in Python
    of=$1; shift
    stage "$of" "$PYTHON" "$@"
}

autoencoders() {                            # resumable by itself
    MODEL=$model WORK=$WORK/sae INSTALL=1 sh sae.sh
}

sweep() {                                   # sweep DOMAIN [OPTION...]; goes on behind its last row
    domain=$1; shift
    "$SAEURON" sweep -m "$model" --threads "$THREADS" --domain "$domain" -o "$WORK/sweep-$domain" $SWEEP "$@" --write
}

evaluate() {                                # evaluate DOMAIN [OPTION...]; resumable by itself
    domain=$1; shift
    "$SAEURON" eval -m "$model" --threads "$THREADS" --domain "$domain" -o "$WORK/eval-$domain" "$@"
}

[ -z "$JUDGES" ] || script set dataset.py set --per 144 --seed 2
if [ -z "${NETWORKS:-}" ]; then
    script prompts check_prompts.py
    script vae vae.py --seconds "${VAE_SECONDS:-3600}" $from
    script latents dataset.py latents
    script tokenizer tokenizer.py $from
    script unet unet.py --seconds "${UNET_SECONDS:-14400}" --workers "$WORKERS" $from
fi
if [ -n "$JUDGES" ]; then
    script more dataset.py set --per 144 --seed 3 --name more
    script fresh dataset.py set --per 20 --seed 4 --name fresh
    script classifier classifier.py --judges $JUDGES --vae "${NETWORKS:-$WORK}/vae" --pictures "${CLASSIFIER_PICTURES:-1000000}" $from
fi
model=$WORK/emojicanvas
script networks export.py networks --guidance "$GUIDANCE" ${NETWORKS:+--keep "$NETWORKS"} ${JUDGES:+--judges}
[ -z "$JUDGES" ] || script grid sample.py --model "$model" --json "$WORK/grid.json"
script hooks hooks.py --model "$model" --guidance "$GUIDANCE"
stage sae autoencoders
stage sweep-object sweep object $OBJECT_SWEEP
stage sweep-style sweep style $STYLE_SWEEP
stage eval-object evaluate object $OBJECT_EVAL
stage eval-style evaluate style $STYLE_EVAL
script card card.py ${NETWORKS:+--keep "$NETWORKS/README.md"} ${JUDGES:+--judges}
script finish export.py finish
