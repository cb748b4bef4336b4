"""The tokenizer: CLIP's byte-level BPE, its merges learned from this project's captions and calibration prompts.

Not here: how the text encoder uses it (unet.py). Writes WORK/tokenizer/{vocab.json, merges.txt,
tokenizer_config.json, special_tokens_map.json}. The vocabulary's order is CLIP's: 256 byte symbols, the same
256 ending a word (</w>), one entry a merge, <|startoftext|>, <|endoftext|>.
"""
import json

import common

LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def byte_symbols():
    """The 256 characters CLIP (after GPT-2) writes the bytes as: printable ones first, as themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def corpus(prompts):
    """Every calibration line once, every caption twenty times: the concepts' words become one token each."""
    for lines in prompts.values():
        yield from lines
    for o in common.OBJECTS:
        for s in common.STYLES:
            yield from [common.caption(o, s)] * 20


def learn(prompts, size):
    """The merges, best first, as pairs of symbols."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    t = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                         normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(corpus(prompts), trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, end_of_word_suffix="</w>", show_progress=False,
        initial_alphabet=byte_symbols()))
    return [tuple(m) for m in json.loads(t.to_str())["model"]["merges"]]


def vocabulary(merges):
    """{token: id}; a merge whose result exists already (another way to the same string) adds no entry."""
    symbols = byte_symbols()
    vocab = {}
    for s in symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + [START, END]:
        vocab.setdefault(s, len(vocab))
    return vocab


def write(folder, merges):
    vocab = vocabulary(merges)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")

    def special(s):
        return {"content": s, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    def dump(name, value):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")

    dump("special_tokens_map.json", {"bos_token": special(START), "eos_token": special(END), "pad_token": END,
                                     "unk_token": special(END)})
    dump("tokenizer_config.json", {
        "add_prefix_space": False, "bos_token": START, "do_lower_case": True, "eos_token": END, "errors": "replace",
        "model_max_length": LENGTH, "pad_token": END, "tokenizer_class": "CLIPTokenizer", "unk_token": END})
    return vocab


def main():
    p = common.arguments(__doc__)
    p.add_argument("--size", type=int, default=2000, help="entries of the vocabulary")
    p.add_argument("--prompts", default=common.HERE / "prompts", help="folder of OBJECT.txt")
    a = p.parse_args()
    out = common.pathlib.Path(a.work) / "tokenizer"
    if a.start:
        import shutil
        shutil.copytree(a.start / "tokenizer", out, dirs_exist_ok=True)
        print("taken over from", a.start)
        return
    prompts = common.calibration(a.prompts)
    merges = learn(prompts, a.size - 2)
    while len(vocabulary(merges)) > a.size:
        merges.pop()
    write(out, merges)
    from transformers import CLIPTokenizer
    t = CLIPTokenizer.from_pretrained(out)
    for name in common.OBJECTS + [s.replace("_", " ") for s in common.STYLES]:
        pieces = t(name.lower())["input_ids"][1:-1]
        if len(pieces) != len(name.split()):
            print("more than a token a word:", name, t.convert_ids_to_tokens(pieces))
    lengths = [len(t(common.with_style(s, "Glowing_Sunset"))["input_ids"]) for v in prompts.values() for s in v]
    print(len(t), "entries,", len(merges), "merges; longest styled prompt", max(lengths), "tokens, cut:",
          sum(n > LENGTH for n in lengths))


if __name__ == "__main__":
    main()
