"""token_strings.py: the strings that the tokenizer is compared on, for tests/golden/make_tokens.py and check_tokenizer.py.

Everything follows from a seed by Python's random.Random (the same on every machine and version since 3.2)."""
import random

PLAIN = [
    "An image of Cats in Sketch style.", "a photo of an astronaut riding a horse on mars",
    "masterpiece, best quality, 8k, (detailed:1.3)", "\t\n ", "  two  blanks  ", "Tabs\tand\nlines\r\nand \x0b\x0c feeds",
    "don't DON'T I'll I'LL we've WE'VE he's HE'S you're YOU'RE I'm I'M she'd SHE'D", "'s't're've'm'll'd",
    "''s ''' '' 'S' 'sS 's's 'lll 'rest 'very", "it\u2019s a curly apostrophe", "o'clock rock 'n' roll '90s", "0123456789",
    "3.14159 1,000,000 2nd v1.5 x2 50%",
    "\u0661\u0662\u0663 \u0967\u0968 \u2160\u2161 \xbd \xb2\xb3 \u3007\u4e00 \U0001d7d8\U0001f101", "<|endoftext|>",
    "<|startoftext|>", "a<|endoftext|>b", "a <|endoftext|> b <|startoftext|>c", "<|ENDOFTEXT|>", "x<|StartOfText|>!y",
    "<|startoftext|><|endoftext|>", "!<|endoftext|>!", "<|endoftext|", "<|endoftext|>|", "<|end of text|>", "<|\u0130|>",
    "<\u200b|endoftext|>", "!<|startoftext|>!", "<|ENDOFTEXT|>!!", "caf\xe9 cafe\u0301",
    "\xc5ngstr\xf6m A\u030angstro\u0308m \u212b", "\u1e9b\u0323 \u1e9b\u0323", "q\u0323\u0307 q\u0307\u0323",
    "\u0344 \u0374 \u037e \u0387", "\uac00\ud7a3 \u1100\u1161\u11a8 \u1112\u1175\u11c2 \uac00\u11a8\u11a8",
    "\u0130stanbul ISTANBUL \u0131", "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3", "STRASSE stra\xdfe \u1e9e",
    "\u01c4 \u01c5 \u01c6 \u01f1", "\u13a0\u13f8\uab70 \U00010400\U00010428 \U0001e900", "\u1f88 \u1fbc \u1fcc \u0345\u0391",
    "\ufb01 \ufb20 \ufb2c \ufb4e", "\u2126 \u212a", "\U0001d15e \U0001d160 \U000110ab \U00011938",
    "\U00011935\U00011930 \U00011131\U00011127", "\U0001f600\U0001f44d\U0001f3fd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
    "\u2764\ufe0f \u2764 1\ufe0f\u20e3 #\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\u4f60\u597d\uff0c\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f\u3000\u4e16\u754c \u30ab\u3099",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0958 \u0915\u093c",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05dc\u05d5\u05dd \u05e9\u05c1\u05b8",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u041c\u0418\u0420! \u0419\u0451",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0e19\u0e49\u0e33",
    "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0 \u1c92\u10a0", "\u0540\u0561\u0575\u0565\u0580",
    "\u1200\u1208 \u12a0\u121b", "Vi\u1ec7t Nam Vi\xea\u0323t Vie\u0302\u0323t",
    "\xa0\u2003\u2028x\u2029\u202f\u205fy\u3000z\u1680", "\u200b\u200c\u200d\u2060\ufeff\u180e",
    "\x01\x02\x1c\x1d\x1e\x1f\x7f\x80\x85\x9f", "\xad soft\xadhyphen", "\ue000 \uf8ff \ufffd \ufffe \U0010ffff \ufdd0",
    "{\u201cjson\u201d: [1, 2]} <b>html</b> &amp; C:\\path /usr/bin a_b-c+d=e ~!@#$%^&*()",
    "www.example.com/?q=a&b#c user@example.org", "((((a)))) ,,,, ----- ..... ?!?!",
    "\xbfQu\xe9? \xa1S\xed! \xab\xbb \u20ac5 \xa37 \xb0C \u2014 \u2026", "hello world hello! !! ! a!b!c", "AaBbCc ABC abc aBC",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "antidisestablishmentarianism supercalifragilisticexpialidocious", "<cat-toy><Cat-Toy> <Cat><CAT-TOY!>",
]
BLOCKS = [(0x20, 0x7F, 8), (0xA0, 0x250, 4), (0x250, 0x300, 1), (0x300, 0x370, 3), (0x370, 0x530, 3), (0x530, 0x700, 3),
          (0x900, 0xE00, 3), (0xE00, 0x1100, 2), (0x1100, 0x1200, 2), (0x1200, 0x1E00, 3), (0x1E00, 0x2000, 3), (0x2000, 0x2070, 3),
          (0x2070, 0x2C00, 3), (0x2C00, 0x3000, 2), (0x3000, 0x3100, 2), (0x3100, 0xA000, 2), (0xA000, 0xAC00, 2), (0xAC00, 0xD7A4, 2),
          (0xE000, 0xF900, 1), (0xF900, 0xFB00, 1), (0xFB00, 0x10000, 2), (0x10000, 0x11000, 2), (0x11000, 0x12000, 3),
          (0x16A00, 0x17000, 1), (0x1B000, 0x1D000, 1), (0x1D000, 0x1E000, 2), (0x1E000, 0x1F000, 2), (0x1F000, 0x20000, 3), (0x20000, 0x110000, 1)]
WORDS = """an image of cats dogs in sketch style the a painting by van gogh trending on artstation 8k photorealistic portrait
beautiful girl sunset over mountains highly detailed don't it's we're they've i'm she'll he'd 1girl blue-eyed mid-journey
neon lines mosaic bricks ukiyo-e cold warm cyberpunk city night rain reflections f/1.8 50mm bokeh 3d render""".split()
GLUE = [" ", " ", " ", "  ", ", ", ". ", "", "-", "\n", "\t", "\u00a0", "'", "'S ", "'LL ", "!", "! ", "<|endoftext|>", "<|startoftext|>", "<|EndOfText|>", "\u0301", "\u200d", "\ufe0f", "7", "42"]


def _character(r):
    low, high, _ = r.choices(BLOCKS, [b[2] for b in BLOCKS])[0]
    c = r.randrange(low, high)
    return chr(c) if not 0xD800 <= c < 0xE000 else "\ufffd"


def _word(r):
    w = r.choice(WORDS)
    how = r.randrange(6)
    return w.upper() if how == 0 else w.title() if how == 1 else "".join(r.choice((a, a.upper())) for a in w) if how == 2 else w


def _random(r):
    kind = r.randrange(5)
    if kind == 0:  # a prompt
        return "".join(_word(r) + r.choice(GLUE) for _ in range(r.randrange(1, 20)))
    if kind == 1:  # characters of one block
        low, high, _ = r.choice(BLOCKS)
        return "".join(chr(c) for c in (r.randrange(low, min(high, low + 256)) for _ in range(r.randrange(1, 12))) if not 0xD800 <= c < 0xE000)
    if kind == 2:  # characters of all blocks
        return "".join(_character(r) for _ in range(r.randrange(1, 14)))
    if kind == 3:  # marks in every order
        return "".join(r.choice("aeoAEO\u00e2\u0130\u1100\u0915\u05d0") + "".join(chr(r.choice((r.randrange(0x300, 0x370), r.randrange(0x591, 0x5C8), r.randrange(0x1AB0, 0x1AD0), 0x1161, 0x11A8, 0x93C, 0x94D, 0x3099)))
                       for _ in range(r.randrange(4))) for _ in range(r.randrange(1, 5)))
    return "".join(r.choice((_word, _character))(r) + r.choice(GLUE) for _ in range(r.randrange(1, 12)))


def strings(n, seed):
    """n strings: the plain ones, some made long, and random ones; none holds U+0000, which no C string can."""
    r = random.Random(seed)
    out = [""] + PLAIN
    out += ["a" * 300, "word " * 100, "\u0301" * 80, "\U0001f600" * 60, "1" * 100, "!" * 200, " " * 500, "<|endoftext|>" * 90, "it's " * 60]
    while len(out) < n:
        out.append(_random(r))
    return [s.replace("\0", "\u0001") for s in out[:n]]
