"""sweep.json, the protocol on which `saeuron sweep` chooses, from the one on which `saeuron eval` measures:

    ../../saeuron eval --print-protocol | python validation.py > sweep.json

The same places in other words: not the captions of the test, but the object's calibration lines 61 to 71, one a style. Statistics take
lines 1 to 20 of an object and the first of a style, so no prompt of a choice is the test's or the statistics'. The networks and
the autoencoders have seen these lines in training, as they have seen the captions.
"""
import json
import sys

import common

FIRST = 60


def main():
    lines, text = common.calibration(), sys.stdin.read()
    for i in json.loads(text)["images"]:
        line = lines[i["object"]][FIRST + common.STYLES.index(i["style"])]
        text = text.replace(json.dumps(i["prompt"]), json.dumps(common.with_style(line, i["style"])))
    print(text.replace('"name": "emojicanvas"', '"name": "validation"'), end="")


if __name__ == "__main__":
    main()
