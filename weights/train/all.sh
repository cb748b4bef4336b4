#!/bin/sh
# Trains EmojiCanvas from the art to weights/emojicanvas. Run again after a stop: finished stages are skipped, the
# interrupted one goes on from its checkpoint. README.md says what is needed; everything is set by environment:
#   EMOJI   folder of the emoji sets            PYTHON  an interpreter with requirements.txt
#   DEVICE  cpu, cuda, ...                      WORK    intermediate files, weights/train/work
#   FROM    a model folder to start from, weights/emojicanvas say (empty: from nothing)
#   THREADS, WORKERS                            CPU threads, UNet workers
#   VAE_SECONDS UNET_SECONDS SWEEP_SECONDS  training times; CLASSIFIER_PICTURES  pictures a judge sees
#   GUIDANCE  the model's default guidance
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
EMOJI=$(absolute "${EMOJI:-$here/../../../shared/emoji}")
WORK=$(absolute "${WORK:-$here/work}")
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cpu}
THREADS=${THREADS:-2}
WORKERS=${WORKERS:-2}
GUIDANCE=${GUIDANCE:-6}
export EMOJI WORK DEVICE THREADS
from=
[ -z "${FROM:-}" ] || from="--from $(absolute "$FROM")"
if ! [ -f "$EMOJI/manifest.json" ]; then
    echo "weights: no $EMOJI/manifest.json; EMOJI= names the folder of the emoji sets (weights/train/README.md)" >&2
    exit 1
fi
case $PYTHON in */*) PYTHON=$(absolute "$PYTHON") ;; esac
mkdir -p "$WORK"
cd "$here"

stage() {                                   # stage NAME SCRIPT ARGUMENTS: once
    name=$1; shift
    if [ -e "$WORK/done.$name" ]; then return; fi
    echo "== $name" >&2
    "$PYTHON" "$@"
    : > "$WORK/done.$name"
}

stage prompts check_prompts.py
stage set dataset.py set --per 144 --seed 2
stage vae vae.py --seconds "${VAE_SECONDS:-3600}" $from
stage latents dataset.py latents
stage tokenizer tokenizer.py $from
stage unet unet.py --seconds "${UNET_SECONDS:-14400}" --workers "$WORKERS" $from
stage more dataset.py set --per 144 --seed 3 --name more
stage fresh dataset.py set --per 20 --seed 4 --name fresh
stage classifier classifier.py --pictures "${CLASSIFIER_PICTURES:-440000}" $from
stage networks export.py networks --guidance "$GUIDANCE"
stage collect sae.py collect --guidance "$GUIDANCE"
stage sae sae.py train
stage stats sae.py stats
stage sweep sae.py sweep --guidance "$GUIDANCE" --seconds "${SWEEP_SECONDS:-1200}"
stage verify sae.py verify --guidance "$GUIDANCE" --seed 588 --last 5
stage card card.py --model "$WORK/emojicanvas" --guidance "$GUIDANCE"
stage finish export.py finish --guidance "$GUIDANCE"
"$PYTHON" stamp.py ../emojicanvas --saeuron ../../saeuron

# The statistics that are shipped: the program's own, on noise that neither sweep nor test sees.
for hook in up_blocks.1.attentions.1 up_blocks.1.attentions.2; do
    ../../saeuron stats -m ../emojicanvas --hook $hook --lines 20 --seed 42 --dtype F16 -o ../emojicanvas/sae/$hook/stats.safetensors
done
