/* tokenizer.c: CLIP's byte-level BPE, from a prompt in UTF-8 to the padded ids that the text encoder reads.
 *
 *   prompt --special tokens cut out--> text --NFC, white space to one blank, lowercase--> --pattern--> words
 *   word --bytes, the last marked </w>--> symbols --merges, lowest rank first--> pieces
 *   pieces --start, end, padding--> ids
 *
 * Not here: NFC and the character classes (files/unicode.c), embeddings (clip.c).
 * Source: transformers 5.23, CLIPTokenizer.__init__ and TokenizersBackend.__init__ (which token is special,
 * and how), over tokenizers 0.23.3: AddedVocabulary, normalizers, pre_tokenizers, models::bpe::{BPE, Word},
 * RobertaProcessing. The ids are equal to theirs. What they can do and this cannot (padding on the left) is
 * refused when the tokenizer is opened. What transformers 4 did otherwise: docs/formats.md, Tokenizers.
 *
 * Two hash tables with open addressing and linear probing, at most half full: a piece's text -> its id, and a
 * pair of ids -> their merge. A probe that goes PROBE_MAX places can only come from a file made to collide,
 * and is refused, so that opening takes time linear in the files. */
#include "tokenizer.h"
#include "arithmetic/memory.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"
#include "files/json.h"
#include "files/system.h"
#include "files/unicode.h"
#include "files/utf8.h"

#include <string.h>

enum {
    FILE_MAX = 1 << 26,     /* bytes of one tokenizer file */
    PIECES_MAX = 1 << 20,
    PROBE_MAX = 512,        /* longest run ever expected, half full, 2^20 entries: about 80 */
    MERGE_MAX = 2048,       /* bytes of the two pieces of a merge */
    TOKEN_MAX = 64,         /* bytes of a special token and its NUL */
    ADDED_MAX = 256,        /* added tokens: every one is looked for at every place of a prompt */
    DEFAULT_LENGTH = 77
};
#define NO_PIECE UINT32_MAX
#define NO_RANK UINT32_MAX

typedef struct merge { int32_t left, right, result; } merge; /* its place in the list is its rank */

/* A token that is looked for before the words are: in the prompt as it stands or, if normalized, after NFC
 * and lowercase. */
typedef struct special {
    char     text[TOKEN_MAX];
    size_t   bytes;
    bool     normalized;
    bool     single_word;    /* only where no part of a word stands before or after it */
    bool     lstrip, rstrip; /* with the white space before it, after it */
    uint32_t points[unicode_nfc_bound(TOKEN_MAX)]; /* the normalized text */
    size_t   count;
    int32_t  id;
} special;

struct tokenizer {
    saeuron_host  host;
    void     *memory;       /* one block holds this struct and all it points to */
    char     *text;         /* the pieces, each ended with NUL */
    size_t    text_size, text_used;
    uint32_t *start;        /* [pieces] where a piece begins in text */
    uint32_t *slots;        /* [slot_count] id of a piece by its hash, or NO_PIECE */
    size_t    pieces, pieces_room, slot_count;
    merge    *merges;
    uint32_t *merge_slots;  /* [merge_slot_count] rank of a merge by the hash of its pair, or NO_RANK */
    size_t    merge_count, merge_slot_count;
    int32_t   of_byte[2][256]; /* [1]: with </w> */
    special  *specials;
    size_t    special_count;
    int32_t   bos, eos, pad, unk;
    size_t    max_length;
};

/* ---- pieces by text ---- */

static uint64_t hash_text(const char *s, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a, then mixed: the low bits choose the place */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return rng_mix(h);
}

/* The place in slots of the piece s [n], or the empty one where it would go; NULL after PROBE_MAX places. */
static uint32_t *piece_slot(const tokenizer *t, const char *s, size_t n)
{
    size_t place = (size_t)hash_text(s, n);
    for (int i = 0; i < PROBE_MAX; i++, place++) {
        uint32_t *slot = &t->slots[place & (t->slot_count - 1)];
        const char *piece = *slot == NO_PIECE ? NULL : t->text + t->start[*slot];
        if (!piece || (!strncmp(piece, s, n) && piece[n] == 0))
            return slot;
    }
    return NULL;
}

/* The id of the piece s [n], or -1. */
static int32_t find_piece(const tokenizer *t, const char *s, size_t n)
{
    const uint32_t *slot = piece_slot(t, s, n);
    return slot && *slot != NO_PIECE ? (int32_t)*slot : -1;
}

/* Makes the text that begins at text_used, n bytes and its NUL, the piece of id. */
static int add_piece(tokenizer *t, uint32_t id, size_t n, const char *path, saeuron_error *err)
{
    const char *piece = t->text + t->text_used;
    uint32_t   *slot = piece_slot(t, piece, n);
    if (!slot)
        return fail(err, SAEURON_EFORMAT,
                    "%s: too many pieces collide in our table: this file was made to do that; fetch it again",
                    path);
    if (*slot != NO_PIECE)
        return fail(err, SAEURON_EFORMAT,
                    "%s: the piece \"%.40s\" is there twice, as %u and %u: fetch the file again",
                    path, piece, (unsigned)*slot, (unsigned)id);
    *slot = id;
    t->start[id] = (uint32_t)t->text_used;
    t->text_used += n + 1;
    t->pieces++;
    return SAEURON_OK;
}

/* ---- merges by pair ---- */

/* As piece_slot, for the merge of left and right. */
static uint32_t *merge_slot(const tokenizer *t, int32_t left, int32_t right)
{
    size_t place = (size_t)rng_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    for (int i = 0; i < PROBE_MAX; i++, place++) {
        uint32_t *slot = &t->merge_slots[place & (t->merge_slot_count - 1)];
        if (*slot == NO_RANK || (t->merges[*slot].left == left && t->merges[*slot].right == right))
            return slot;
    }
    return NULL;
}

static uint32_t merge_rank(const tokenizer *t, int32_t left, int32_t right)
{
    const uint32_t *slot = merge_slot(t, left, right);
    return slot ? *slot : NO_RANK;
}

/* ---- normalizing (normalizers::Sequence[NFC, Replace(\s+, " "), Lowercase]) ---- */

/* s [n], valid UTF-8, normalized into y; returns its length. y and scratch [unicode_nfc_bound(n)]. (That is
 * enough: lowercase adds a character to U+0130 alone, for whose decomposition there is room for two.) */
static size_t normalize(uint32_t *y, uint32_t *scratch, const char *s, size_t n)
{
    const size_t composed = unicode_nfc(scratch, y, s, n);
    size_t length = 0;
    for (size_t i = 0; i < composed; i++) {
        const bool space = unicode_is_space(scratch[i]);
        if (!space)
            length += unicode_lower(y + length, scratch[i]);
        else if (i == 0 || !unicode_is_space(scratch[i - 1]))
            y[length++] = ' ';
    }
    return length;
}

/* ---- words (pre_tokenizers::Split with CLIP's pattern, then ByteLevel) ---- */

/* A walk over the words of c [n]. fence: the end of a literal <|startoftext|> or <|endoftext|> that CLIP's
 * pattern found; ByteLevel's own pattern then cuts it again, into "<|", "startoftext" and "|>". */
typedef struct words { const uint32_t *c; size_t n, at, fence; } words;

/* c [n] begins with the ASCII text s. */
static bool begins(const uint32_t *c, size_t n, const char *s)
{
    size_t i = 0;
    while (i < n && s[i] && c[i] == (unsigned char)s[i])
        i++;
    return !s[i];
}

/* Length of the first of these that c [n] begins with, or 0. */
static size_t begins_with_one(const uint32_t *c, size_t n, const char *const *list)
{
    for (; *list; list++)
        if (begins(c, n, *list))
            return strlen(*list);
    return 0;
}

typedef enum kind { SPACE, LETTER, NUMBER, OTHER } kind;

/* \s, \p{L}, \p{N}, [^\s\p{L}\p{N}] */
static kind kind_of(uint32_t c)
{
    return unicode_is_letter(c) ? LETTER
         : unicode_is_space(c)  ? SPACE
         : unicode_is_number(c) ? NUMBER : OTHER;
}

/* Length of the run of one kind that c [n], n > 0, begins with. */
static size_t run_length(const uint32_t *c, size_t n)
{
    size_t length = 1;
    while (length < n && kind_of(c[length]) == kind_of(c[0]))
        length++;
    return length;
}

/* Length of what 's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+ matches at c [n], n > 0; 0 at white
 * space. */
static size_t word_length(const uint32_t *c, size_t n)
{
    static const char *const contractions[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", NULL };
    const size_t length = begins_with_one(c, n, contractions);
    const kind   first = kind_of(c[0]);
    return length ? length : first == SPACE ? 0 : first == NUMBER ? 1 : run_length(c, n);
}

/* The next word is c[*first..w->at); false at the end. */
static bool next_word(words *w, size_t *first)
{
    static const char *const literals[] = { "<|startoftext|>", "<|endoftext|>", NULL };
    for (; w->at < w->n; w->at++) {
        if (w->at >= w->fence)
            w->fence = w->at + begins_with_one(w->c + w->at, w->n - w->at, literals);
        const size_t end = w->at < w->fence ? w->fence : w->n;
        const size_t length = word_length(w->c + w->at, end - w->at);
        if (length) {
            *first = w->at;
            w->at += length;
            return true;
        }
    }
    return false;
}

/* ---- merging a word (models::bpe::BPE::merge_word, Word::merge_all) ---- */

/* The symbols of one word as a linked list, and over them a tree of minima: leaf i is the rank of the merge
 * of symbol i with the next one, and the root is the least rank. Of equal ranks the leftmost goes first. A
 * word of n bytes takes memory n and time n log n. */
typedef struct symbols {
    uint32_t *tree;         /* [2 * leaves], root at 1 */
    uint32_t *next, *before; /* [n]; next is n after the last, before is NO_PIECE at the first */
    int32_t  *id;           /* [n] */
    size_t    n, leaves;
} symbols;

static size_t leaves_for(size_t n)
{
    size_t leaves = 1;
    while (leaves < n)
        leaves *= 2;
    return leaves;
}

/* Room for words of at most n bytes. */
static void lay_out_symbols(symbols *s, arena *a, size_t n)
{
    s->tree = arena_bytes(a, 2 * leaves_for(n), sizeof *s->tree);
    s->next = arena_bytes(a, n, sizeof *s->next);
    s->before = arena_bytes(a, n, sizeof *s->before);
    s->id = arena_bytes(a, n, sizeof *s->id);
}

static uint32_t lesser(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Leaf i becomes rank. */
static void set_rank(symbols *s, size_t i, uint32_t rank)
{
    i += s->leaves;
    s->tree[i] = rank;
    while ((i /= 2) > 0)
        s->tree[i] = lesser(s->tree[2 * i], s->tree[2 * i + 1]);
}

/* The rank of symbol i with the one after it. */
static uint32_t rank_at(const tokenizer *t, const symbols *s, size_t i)
{
    return s->next[i] < s->n ? merge_rank(t, s->id[i], s->id[s->next[i]]) : NO_RANK;
}

/* The symbols of a word: one a byte, the last one with </w>. */
static void start_word(const tokenizer *t, symbols *s, const uint32_t *c, size_t n)
{
    s->n = 0;
    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        const size_t k = io_utf8_put(bytes, c[i]);
        for (size_t j = 0; j < k; j++, s->n++) {
            s->id[s->n] = t->of_byte[i + 1 == n && j + 1 == k][(unsigned char)bytes[j]];
            s->before[s->n] = s->n ? (uint32_t)(s->n - 1) : NO_PIECE;
            s->next[s->n] = (uint32_t)(s->n + 1);
        }
    }
    s->leaves = leaves_for(s->n);
    for (size_t i = 0; i < s->leaves; i++)
        s->tree[s->leaves + i] = i < s->n ? rank_at(t, s, i) : NO_RANK;
    for (size_t i = s->leaves - 1; i > 0; i--)
        s->tree[i] = lesser(s->tree[2 * i], s->tree[2 * i + 1]);
}

/* Merges until no two neighbours have a merge. What is left: id[0], id[next[0]], ... */
static void merge_word(const tokenizer *t, symbols *s)
{
    while (s->tree[1] != NO_RANK) {
        const uint32_t rank = s->tree[1];
        size_t i = 1;
        while (i < s->leaves)
            i = 2 * i + (s->tree[2 * i] != rank);
        i -= s->leaves;
        const size_t gone = s->next[i];
        s->id[i] = t->merges[rank].result;
        s->next[i] = s->next[gone];
        if (s->next[i] < s->n)
            s->before[s->next[i]] = (uint32_t)i;
        set_rank(s, gone, NO_RANK);
        set_rank(s, i, rank_at(t, s, i));
        if (s->before[i] != NO_PIECE)
            set_rank(s, s->before[i], rank_at(t, s, s->before[i]));
    }
}

/* ---- encoding ---- */

/* Where ids go: the first room of them are kept, all are counted. */
typedef struct sink { int32_t *ids; size_t room, count; } sink;

static void put(sink *out, int32_t id)
{
    if (out->count < out->room)
        out->ids[out->count] = id;
    out->count++;
}

/* A text in which special tokens are looked for: the prompt's bytes as they stand, or, if points is not NULL,
 * code points after normalizing. */
typedef struct view { const char *bytes; const uint32_t *points; size_t n; } view;

/* The character at i < v.n, and how many places it takes. */
static size_t char_at(view v, size_t i, uint32_t *c)
{
    if (!v.points)
        return io_utf8(v.bytes + i, v.n - i, c);
    *c = v.points[i];
    return 1;
}

/* The same for the character that ends at i > 0. */
static size_t char_before(view v, size_t i, uint32_t *c)
{
    size_t first = i - 1;
    while (!v.points && first > 0 && (v.bytes[first] & 0xC0) == 0x80)
        first--;
    char_at(v, first, c);
    return i - first;
}

/* The special token found at i, the longest of several, and its length there; NULL if none. */
static const special *special_at(const tokenizer *t, view v, size_t i, size_t *length)
{
    const special *best = NULL;
    *length = 0;
    for (const special *s = t->specials; s < t->specials + t->special_count; s++) {
        const size_t n = v.points ? s->count : s->bytes;
        if (s->normalized != (v.points != NULL) || n <= *length || n > v.n - i)
            continue;
        if (v.points ? memcmp(v.points + i, s->points, n * sizeof *s->points)
                     : memcmp(v.bytes + i, s->text, n))
            continue;
        best = s;
        *length = n;
    }
    return best;
}

/* Whether a part of a word stands before `first` or at `end`. */
static bool in_word(view v, size_t first, size_t end)
{
    uint32_t c;
    return (first > 0 && char_before(v, first, &c) && unicode_is_word(c)) ||
           (end < v.n && char_at(v, end, &c) && unicode_is_word(c));
}

/* A walk over the special tokens of a text (AddedVocabulary::find_matches). at: where the search goes on;
 * done: the end of the last token, with what it stripped. */
typedef struct search { view v; size_t at, done; } search;

/* The next special token, from *first to s->done, or NULL. before: where text that precedes it begins. */
static const special *next_special(const tokenizer *t, search *s, size_t *before, size_t *first)
{
    uint32_t c;
    *before = s->done;
    for (size_t length; s->at < s->v.n;) {
        const special *found = special_at(t, s->v, s->at, &length);
        const size_t start = s->at;
        s->at += found ? length : 1;
        if (!found || (found->single_word && in_word(s->v, start, s->at)))
            continue;
        *first = start;
        for (size_t n; found->lstrip && *first > *before; *first -= n)
            if (!(n = char_before(s->v, *first, &c)) || !unicode_is_space(c))
                break;
        s->done = s->at;
        for (size_t n; found->rstrip && s->done < s->v.n; s->done += n)
            if (!(n = char_at(s->v, s->done, &c)) || !unicode_is_space(c))
                break;
        return found;
    }
    *first = s->v.n;
    return NULL;
}

/* The most bytes that a word of c [n] can have: a word is a run of one kind, a contraction or a number. */
static size_t longest_word(const uint32_t *c, size_t n)
{
    size_t longest = sizeof "'ll";
    for (size_t i = 0, run; i < n; i += run) {
        char   out[4];
        size_t bytes = 0;
        run = run_length(c + i, n - i);
        for (size_t j = i; j < i + run; j++)
            bytes += io_utf8_put(out, c[j]);
        longest = bytes > longest ? bytes : longest;
    }
    return longest;
}

/* The ids of the normalized text c [n], which holds no special token. */
static void encode_words(const tokenizer *t, sink *out, symbols *s, const uint32_t *c, size_t n)
{
    size_t first;
    for (words w = { c, n, 0, 0 }; next_word(&w, &first);) {
        start_word(t, s, c + first, w.at - first);
        merge_word(t, s);
        for (size_t i = 0; i < s->n; i = s->next[i])
            put(out, s->id[i]);
    }
}

/* The ids of the normalized text c [n] with normalized special tokens in it. */
static void encode_points(const tokenizer *t, sink *out, symbols *s, const uint32_t *c, size_t n)
{
    const special *found;
    size_t before, first;
    search walk = { { NULL, c, n }, 0, 0 };
    do {
        found = next_special(t, &walk, &before, &first);
        if (first > before)
            encode_words(t, out, s, c + before, first - before);
        if (found)
            put(out, found->id);
    } while (found);
}

/* The ids of text [n], valid UTF-8 between two special tokens. c, scratch [unicode_nfc_bound(n)]. */
static int encode_text(const tokenizer *t, sink *out, uint32_t *c, uint32_t *scratch, const char *text,
                       size_t n, saeuron_error *err)
{
    const size_t count = normalize(c, scratch, text, n), longest = longest_word(c, count);
    symbols s;
    arena plan = { 0 };
    lay_out_symbols(&s, &plan, longest);
    void *memory = io_alloc(&t->host, plan.peak, 1);
    if (!memory || plan.failed) {
        io_free(&t->host, memory);
        return fail(err, SAEURON_ENOMEM,
                    "not enough memory for a prompt with a word of %zu bytes: shorten it", longest);
    }
    arena a = { .base = memory, .size = plan.peak };
    lay_out_symbols(&s, &a, longest);
    encode_points(t, out, &s, c, count);
    io_free(&t->host, memory);
    return SAEURON_OK;
}

int tokenizer_check(const char *utf8, const char *name, saeuron_error *err)
{
    const size_t n = strlen(utf8);
    if (n > TOKENIZER_PROMPT_MAX)
        return fail(err, SAEURON_EUSAGE, "%s is too long: %zu bytes; shorten it to %d", name, n,
                    TOKENIZER_PROMPT_MAX);
    uint32_t c;
    for (size_t i = 0, used; i < n; i += used)
        if ((used = io_utf8(utf8 + i, n - i, &c)) == 0)
            return fail(err, SAEURON_EUSAGE,
                        "%s is not UTF-8: byte %zu (0x%02X) starts no character: save it as UTF-8", name, i,
                        (unsigned)(unsigned char)utf8[i]);
    return SAEURON_OK;
}

/* The prompt's ids: special tokens, the leftmost and then the longest first, and the text between them
 * (AddedVocabulary::extract_and_normalize). */
static int encode_prompt(const tokenizer *t, sink *out, const char *utf8, size_t n, saeuron_error *err)
{
    uint32_t *c = io_alloc(&t->host, unicode_nfc_bound(n), 2 * sizeof *c);
    if (!c)
        return fail(err, SAEURON_ENOMEM, "not enough memory for a prompt of %zu bytes: shorten it", n);
    uint32_t *scratch = c + unicode_nfc_bound(n);
    const special *found;
    size_t before, first;
    search walk = { { utf8, NULL, n }, 0, 0 };
    int code = SAEURON_OK;
    do {
        found = next_special(t, &walk, &before, &first);
        if (first > before)
            code = encode_text(t, out, c, scratch, utf8 + before, first - before, err);
        if (found)
            put(out, found->id);
    } while (found && !code);
    io_free(&t->host, c);
    return code;
}

/* EQ 1: ids = start, BPE(lower(NFC(prompt))), end, padding. What does not fit before the end is cut. */
int tokenizer_encode(const tokenizer *t, int32_t *ids, size_t *count, size_t *cut, const char *utf8,
                     saeuron_error *err)
{
    sink   out = { ids + 1, t->max_length - 2, 0 };
    int code = tokenizer_check(utf8, "the prompt", err);
    code = code ? code : encode_prompt(t, &out, utf8, strlen(utf8), err);
    if (code)
        return code;
    const size_t kept = out.count < out.room ? out.count : out.room;
    ids[0] = t->bos;
    ids[1 + kept] = t->eos;
    for (size_t i = kept + 2; i < t->max_length; i++)
        ids[i] = t->pad;
    if (count)
        *count = kept + 2;
    if (cut)
        *cut = out.count - kept;
    return SAEURON_OK;
}

/* ---- decoding (decoders::ByteLevel, then CLIPTokenizer's </w> to a blank, and strip) ---- */

/* The printable character that stands for a byte (pre_tokenizers::byte_level::bytes_char). */
static uint32_t byte_char(unsigned byte)
{
    uint32_t next = 256;
    for (unsigned b = 0;; b++) {
        const bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
        if (b == byte)
            return itself ? b : next;
        next += !itself;
    }
}

/* The bytes that a piece stands for, into out; how many. A piece with a character that stands for none is its
 * own bytes. </w> becomes a blank. */
static size_t piece_bytes(unsigned char *out, const char *piece)
{
    const size_t length = strlen(piece);
    size_t n = 0;
    uint32_t c;
    for (size_t i = 0, used; i < length; i += used, n++) {
        unsigned b = 0;
        used = io_utf8(piece + i, length - i, &c);
        while (b < 256 && byte_char(b) != c)
            b++;
        if (b == 256) {
            memcpy(out, piece, length);
            n = length;
            break;
        }
        out[n] = (unsigned char)b;
    }
    if (n >= 4 && !memcmp(out + n - 4, "</w>", 4))
        out[(n -= 3) - 1] = ' ';
    return n;
}

/* How many of the bytes at s [n], n > 0, where no character stands, are one that was cut short; else 1. */
static size_t cut_short(const unsigned char *s, size_t n)
{
    static const struct { unsigned char first, last, low, high, length; } lead[] = {
        { 0xE0, 0xE0, 0xA0, 0xBF, 3 }, { 0xE1, 0xEC, 0x80, 0xBF, 3 }, { 0xED, 0xED, 0x80, 0x9F, 3 },
        { 0xEE, 0xEF, 0x80, 0xBF, 3 }, { 0xF0, 0xF0, 0x90, 0xBF, 4 }, { 0xF1, 0xF3, 0x80, 0xBF, 4 },
        { 0xF4, 0xF4, 0x80, 0x8F, 4 },
    };
    for (size_t k = 0; k < sizeof lead / sizeof *lead; k++)
        if (n > 1 && s[0] >= lead[k].first && s[0] <= lead[k].last && s[1] >= lead[k].low &&
            s[1] <= lead[k].high)
            return n > 2 && lead[k].length == 4 && (s[2] & 0xC0) == 0x80 ? 3 : 2;
    return 1;
}

/* What Python's str.strip takes away. */
static bool is_blank(uint32_t c) { return unicode_is_space(c) || (c >= 0x1C && c <= 0x1F); }

/* Each part of s [n] that is no UTF-8, and each zero byte, becomes U+FFFD (String::from_utf8_lossy); blanks
 * at both ends go. out [3 n + 1]. */
static void put_text(char *out, const unsigned char *s, size_t n)
{
    size_t end = 0, kept = 0;
    uint32_t c;
    for (size_t i = 0, used; i < n; i += used) {
        used = io_utf8((const char *)s + i, n - i, &c);
        if (!used || !c) {
            used = used ? used : cut_short(s + i, n - i);
            c = 0xFFFD;
        }
        if (!end && is_blank(c))
            continue;
        end += io_utf8_put(out + end, c);
        kept = is_blank(c) ? kept : end;
    }
    out[kept] = 0;
}

char *tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, saeuron_error *err)
{
    size_t room = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        const char *piece = tokenizer_piece(t, ids[i]);
        if (!piece) {
            fail(err, SAEURON_EUSAGE, "there is no token %ld", (long)ids[i]);
            return NULL;
        }
        room += strlen(piece);
    }
    char *out = io_alloc(&t->host, room + 1, 3);
    unsigned char *bytes = io_alloc(&t->host, room + 1, 1);
    if (!out || !bytes) {
        io_free(&t->host, out);
        io_free(&t->host, bytes);
        fail(err, SAEURON_ENOMEM, "no memory for the text of %zu tokens", count);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        n += piece_bytes(bytes + n, tokenizer_piece(t, ids[i]));
    put_text(out, bytes, n);
    io_free(&t->host, bytes);
    return out;
}

/* ---- what is asked of a tokenizer ---- */

size_t tokenizer_max_length(const tokenizer *t) { return t->max_length; }

int tokenizer_set_max_length(tokenizer *t, size_t n, saeuron_error *err)
{
    if (n < 2 || n > TOKENIZER_LENGTH_MAX)
        return fail(err, SAEURON_EUSAGE,
                    "a prompt cannot have %zu ids: from 2 (start and end) to %d are possible",
                    n, TOKENIZER_LENGTH_MAX);
    t->max_length = n;
    return SAEURON_OK;
}

const char *tokenizer_piece(const tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->pieces ? t->text + t->start[id] : NULL;
}

size_t tokenizer_size(const tokenizer *t) { return t->pieces; }

bool tokenizer_is_end(const tokenizer *t, int32_t id) { return id == t->bos || id == t->eos; }

int32_t tokenizer_bos(const tokenizer *t) { return t->bos; }
int32_t tokenizer_eos(const tokenizer *t) { return t->eos; }

/* ---- reading vocab.json and merges.txt, or tokenizer.json ---- */

/* (models::bpe::BPE::read_file, BpeBuilder::build) */

/* The files of a tokenizer folder while it is opened. One that is absent has an empty path and no JSON. */
typedef struct source {
    io_file vocab, merges;           /* vocab: tokenizer.json if there is one; then merges is absent */
    io_file config, map, added;
    json    pieces, merge_list;      /* in vocab; merge_list only in tokenizer.json */
    json    config_json, map_json;
    json    decoder;                 /* the config's added_tokens_decoder; else these two count: */
    json    added_json, whole_tokens; /* added_tokens.json, and added_tokens of tokenizer.json */
    size_t  piece_count, token_count, merge_count;
} source;

static int read_vocab(tokenizer *t, const source *s, saeuron_error *err)
{
    const char *path = s->vocab.path;
    json key, value;
    size_t n = 0;
    for (json_iter it = json_begin(s->pieces); json_next(&it, &key, &value); n++) {
        char   *piece = t->text + t->text_used;
        size_t  length;
        int64_t id;
        if (!json_string(key, piece, t->text_size - t->text_used, &length))
            return fail(err, SAEURON_EFORMAT, "%s: piece number %zu holds U+0000: fetch the file again",
                        path, n + 1);
        if (!json_integer(value, &id) || id < 0 || (uint64_t)id >= s->piece_count)
            return fail(err, SAEURON_EFORMAT,
                        "%s: the id of piece \"%.40s\" must be a whole number from 0 to %zu, "
                        "one for each of the %zu pieces: fetch the file again",
                        path, piece, s->piece_count - 1, s->piece_count);
        if (t->start[id] != NO_PIECE)
            return fail(err, SAEURON_EFORMAT,
                        "%s: the pieces \"%.40s\" and \"%.40s\" have the same id %d: fetch the file again",
                        path, t->text + t->start[id], piece, (int)id);
        const int code = add_piece(t, (uint32_t)id, length, path, err);
        if (code)
            return code;
    }
    return SAEURON_OK;
}

/* Makes the text "LEFT RIGHT" the merge t->merge_count. A pair that is there twice keeps its last rank.
 * number: its line in merges.txt or its place in tokenizer.json, for messages. */
static int read_merge(tokenizer *t, const char *text, size_t n, size_t number, const char *path,
                      saeuron_error *err)
{
    char joined[MERGE_MAX];
    const char  *blank = memchr(text, ' ', n);
    const size_t left = blank ? (size_t)(blank - text) : n, right = n - left - (blank != NULL);
    if (!blank || memchr(blank + 1, ' ', right))
        return fail(err, SAEURON_EFORMAT,
                    "%s: merge %zu must be two pieces with one blank between them: fetch the file again",
                    path, number);
    if (left + right > sizeof joined)
        return fail(err, SAEURON_EFORMAT,
                    "%s: merge %zu is %zu bytes long, at most %zu are possible: fetch the file again",
                    path, number, n, sizeof joined);
    memcpy(joined, text, left);
    memcpy(joined + left, blank + 1, right);

    merge *m = &t->merges[t->merge_count];
    m->left = find_piece(t, text, left);
    m->right = find_piece(t, blank + 1, right);
    m->result = find_piece(t, joined, left + right);
    if (m->left < 0 || m->right < 0 || m->result < 0) {
        const char  *missing = m->left < 0 ? text : m->right < 0 ? blank + 1 : joined;
        const size_t length = m->left < 0 ? left : m->right < 0 ? right : left + right;
        return fail(err, SAEURON_EFORMAT,
                    "%s: merge %zu needs the piece \"%.*s\", which the vocabulary does not have: "
                    "both must be of one model",
                    path, number, (int)(length < 40 ? length : 40), missing);
    }
    uint32_t *slot = merge_slot(t, m->left, m->right);
    if (!slot)
        return fail(err, SAEURON_EFORMAT,
                    "%s: too many merges collide in our table: this file was made to do that; fetch it again",
                    path);
    *slot = (uint32_t)t->merge_count++;
    return SAEURON_OK;
}

/* The end of the line at s, before its newline; *next is where the next one begins. */
static const char *line_end(const char *s, const char *end, const char **next)
{
    const char *newline = memchr(s, '\n', (size_t)(end - s));
    const char *stop = newline ? newline : end;
    *next = newline ? newline + 1 : end;
    return newline && stop > s && stop[-1] == '\r' ? stop - 1 : stop;
}

/* merges.txt: one a line, and lines that begin with "#version". */
static int read_merge_lines(tokenizer *t, const source *s, saeuron_error *err)
{
    static const char version[] = "#version";
    const char *at = (const char *)s->merges.data, *end = at + s->merges.size, *next;
    int code = SAEURON_OK;
    for (size_t number = 1; at < end && !code; at = next, number++) {
        const size_t n = (size_t)(line_end(at, end, &next) - at);
        if (n < sizeof version - 1 || memcmp(at, version, sizeof version - 1) != 0)
            code = read_merge(t, at, n, number, s->merges.path, err);
    }
    return code;
}

/* tokenizer.json: "LEFT RIGHT" or ["LEFT", "RIGHT"] each. */
static int read_merge_list(tokenizer *t, const source *s, saeuron_error *err)
{
    json   value, left, right;
    size_t number = 1;
    int    code = SAEURON_OK;
    for (json_iter it = json_begin(s->merge_list); !code && json_next(&it, NULL, &value); number++) {
        char   text[MERGE_MAX + 2];
        size_t n = 0, k = 0;
        bool   read = json_string(value, text, sizeof text, &n);
        json_iter pair = json_begin(value);
        if (!read && json_kind(value) == '[' && json_length(value) == 2) {
            json_next(&pair, NULL, &left);
            json_next(&pair, NULL, &right);
            read = json_string(left, text, sizeof text - 1, &n);
            text[n++] = ' ';
            read = read && json_string(right, text + n, sizeof text - n, &k);
        }
        code = read_merge(t, text, read ? n + k : 0, number, s->vocab.path, err);
    }
    return code;
}

/* of_byte: the piece of each byte alone, and of each byte that ends a word; unk where there is none. */
static void find_bytes(tokenizer *t)
{
    for (unsigned b = 0; b < 256; b++) {
        char piece[8];
        const size_t n = io_utf8_put(piece, byte_char(b));
        memcpy(piece + n, "</w>", 4);
        const int32_t alone = find_piece(t, piece, n), last = find_piece(t, piece, n + 4);
        t->of_byte[0][b] = alone < 0 ? t->unk : alone;
        t->of_byte[1][b] = last < 0 ? t->unk : last;
    }
}

/* ---- special tokens ---- */

/* (PreTrainedTokenizerBase._from_pretrained, TokenizersBackend.__init__, AddedVocabulary) */

/* A token as a config gives it: "text", or {"content": "text", "normalized": ..., ...}. */
typedef struct token {
    char text[TOKEN_MAX];
    bool object, normalized, special, lstrip, rstrip, single_word;
} token;

/* Where in a config a token stands, for messages. */
typedef struct place { const char *path, *key; } place;

static int flag(json object, const char *name, bool *x, place p, saeuron_error *err)
{
    json v;
    if (json_get(object, name, &v) && !json_bool(v, x))
        return fail(err, SAEURON_EFORMAT, "%s: %s of %s must be true or false", p.path, name, p.key);
    return SAEURON_OK;
}

/* Reads v. is_special: what an object counts as that does not say. By default a special token is not
 * normalized, any other is. */
static int read_token(token *out, json v, bool is_special, place p, saeuron_error *err)
{
    json content = v;
    *out = (token){ .object = json_kind(v) == '{', .special = is_special };
    int code = SAEURON_OK;
    if (out->object) {
        if (!json_get(v, "content", &content))
            return fail(err, SAEURON_EFORMAT, "%s: %s has no \"content\": fetch the file again", p.path,
                        p.key);
        code = is_special ? SAEURON_OK : flag(v, "special", &out->special, p, err);
        out->normalized = !out->special;
        code = code ? code : flag(v, "normalized", &out->normalized, p, err);
        code = code ? code : flag(v, "lstrip", &out->lstrip, p, err);
        code = code ? code : flag(v, "rstrip", &out->rstrip, p, err);
        code = code ? code : flag(v, "single_word", &out->single_word, p, err);
    } else {
        out->special = true;
    }
    if (!code && (!json_string(content, out->text, sizeof out->text, NULL) || !out->text[0]))
        return fail(err, SAEURON_EFORMAT, "%s: %s must be a text of 1 to %d bytes",
                    p.path, p.key, TOKEN_MAX - 1);
    return code;
}

/* Makes tk special; its text must have an id. The last one of a text decides how it is found. There is room
 * for each token of the files once. */
static void add_special(tokenizer *t, const token *tk)
{
    special *s = t->specials, *end = s + t->special_count;
    while (s < end && strcmp(s->text, tk->text) != 0)
        s++;
    t->special_count += s == end;
    uint32_t scratch[unicode_nfc_bound(TOKEN_MAX)];
    memcpy(s->text, tk->text, sizeof s->text);
    s->bytes = strlen(s->text);
    s->id = find_piece(t, s->text, s->bytes);
    s->normalized = tk->normalized;
    s->single_word = tk->single_word;
    s->lstrip = tk->lstrip;
    s->rstrip = tk->rstrip;
    s->count = normalize(s->points, scratch, s->text, s->bytes);
}

enum { BOS, EOS, UNK, PAD, NAMED };
static const char *const named_keys[NAMED] = { "bos_token", "eos_token", "unk_token", "pad_token" };

/* The file that gives key: special_tokens_map.json, else the config; the config alone if it has
 * added_tokens_decoder. */
static const io_file *map_value(json *v, const source *s, const char *key)
{
    if (!s->decoder.at && json_get(s->map_json, key, v))
        return &s->map;
    return json_get(s->config_json, key, v) ? &s->config : NULL;
}

/* Special tokens without a name of their own: list i of those that may hold them, at *p; empty if it does not
 * count. The older key counts where no list before it has any. */
enum { MORE = 4 };
static json more_tokens(const source *s, int i, place *p)
{
    const bool of_map = i >= 2, older = i % 2;
    json list = { NULL, NULL };
    *p = (place){ of_map ? s->map.path : s->config.path,
                  older ? "additional_special_tokens" : "extra_special_tokens" };
    if (of_map && s->decoder.at)
        return list;
    for (int j = 0; older && j < i; j++) {
        place other;
        if (json_length(more_tokens(s, j, &other)) > 0)
            return list;
    }
    json_get(of_map ? s->map_json : s->config_json, p->key, &list);
    return list;
}

/* Whether v, from a map or a config, makes text special: a text does, an object in a map only. */
static bool says(json v, bool in_map, const char *text)
{
    json content;
    return json_equals(in_map && json_get(v, "content", &content) ? content : v, text);
}

/* Whether transformers holds a text of added_tokens.json for special: it is a named token or in one of the
 * lists, but not in the map's older one. */
static bool called_special(const source *s, const char *text)
{
    json  v;
    place p;
    for (int i = 0; i < NAMED; i++) {
        const io_file *from = map_value(&v, s, named_keys[i]);
        if (from && says(v, from == &s->map, text))
            return true;
    }
    for (int i = 0; i < MORE - 1; i++)
        for (json_iter it = json_begin(more_tokens(s, i, &p)); json_next(&it, NULL, &v);)
            if (says(v, p.path == s->map.path, text))
                return true;
    return false;
}

/* Added tokens as one of the files lists them. */
typedef struct added { json list; const char *path; enum { DECODER, WHOLE, ADDED } as; } added;

/* One added token and its id: a member "49408": {...} of the config's added_tokens_decoder, an element
 * {"id": 49408, ...} of tokenizer.json's added_tokens, or a member "TEXT": 49408 of added_tokens.json. */
static int read_added(token *tk, int64_t *id, const source *s, const added *a, json key, json value,
                      saeuron_error *err)
{
    char     number[32];
    uint64_t n;
    json     v;
    bool     read;
    if (a->as == DECODER) {
        read = json_string(key, number, sizeof number, NULL) && io_parse_uint(number, &n) && n < PIECES_MAX;
        *id = read ? (int64_t)n : -1;
    } else {
        read = a->as == ADDED ? json_integer(value, id) : json_get(value, "id", &v) && json_integer(v, id);
    }
    if (!read)
        return fail(err, SAEURON_EFORMAT,
                    "%s: an added token has no id that is a whole number: fetch the file again", a->path);
    const place p = { a->path, "an added token" };
    const int code = read_token(tk, a->as == ADDED ? key : value, false, p, err);
    if (!code && a->as == ADDED)
        tk->normalized = !called_special(s, tk->text);
    return code;
}

/* Appends a piece that the vocabulary does not have: ids go on after its own. */
static int add_new_piece(tokenizer *t, const char *text, const char *path, saeuron_error *err)
{
    const size_t n = strlen(text);
    memcpy(t->text + t->text_used, text, n + 1); /* there is room: text_size counts the bytes of all files */
    return add_piece(t, (uint32_t)t->pieces, n, path, err);
}

/* One pass over the added tokens. Those whose text is a piece become special. Of the others, the one whose id
 * is the next free one becomes a new piece. *left: how many are no pieces yet. */
static int pass_added(tokenizer *t, const source *s, const added *a, size_t *left, saeuron_error *err)
{
    json key = { NULL, NULL }, value;
    *left = 0;
    for (json_iter it = json_begin(a->list); json_next(&it, &key, &value);) {
        token   tk;
        int64_t id;
        int code = read_added(&tk, &id, s, a, key, value, err);
        if (code)
            return code;
        int32_t known = find_piece(t, tk.text, strlen(tk.text));
        if (known < 0 && (uint64_t)id == t->pieces) {
            known = (int32_t)id;
            code = add_new_piece(t, tk.text, a->path, err);
        }
        if (!code && known >= 0 && known != id)
            code = fail(err, SAEURON_EFORMAT,
                        "%s: the added token \"%.40s\" cannot have the id %ld, it has %d: "
                        "the files must be of one model",
                        a->path, tk.text, (long)id, (int)known);
        *left += known < 0;
        if (code)
            return code;
        if (known >= 0)
            add_special(t, &tk);
    }
    return SAEURON_OK;
}

/* The added tokens of one list, in as many passes as new ids need; each pass gives at least one. */
static int read_list(tokenizer *t, const source *s, const added *a, saeuron_error *err)
{
    size_t left, before = s->token_count + 1;
    for (;; before = left) {
        const int code = pass_added(t, s, a, &left, err);
        if (code || left == 0)
            return code;
        if (left >= before)
            return fail(err, SAEURON_EFORMAT,
                        "%s: the new ids of added tokens must go on from %zu without a hole",
                        a->path, t->pieces);
    }
}

/* The added tokens: those of the config alone if it lists any, else of the two older files, the last one of
 * which decides. (Since transformers 4.34 added_tokens.json is written beside the config's for older
 * readers.) */
static int read_tokens(tokenizer *t, const source *s, saeuron_error *err)
{
    const added decoder = { s->decoder, s->config.path, DECODER };
    const added older[2] = { { s->added_json, s->added.path, ADDED },
                             { s->whole_tokens, s->vocab.path, WHOLE } };
    if (s->decoder.at)
        return read_list(t, s, &decoder, err);
    const int code = read_list(t, s, &older[0], err);
    return code ? code : read_list(t, s, &older[1], err);
}

static bool same_token(const token *a, const token *b)
{
    return a->object == b->object && a->normalized == b->normalized && a->special == b->special &&
           a->lstrip == b->lstrip && a->rstrip == b->rstrip && a->single_word == b->single_word &&
           !strcmp(a->text, b->text);
}

/* Whether text is among the first n special tokens. */
static bool is_special(const tokenizer *t, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(t->specials[i].text, text))
            return true;
    return false;
}

/* The four named tokens. Each makes its text special, unless it is among the added tokens, which are special
 * already, or equal to a named token before it (a str equals a str, an AddedToken one with the same
 * fields). */
static int read_named(tokenizer *t, const source *s, saeuron_error *err)
{
    const size_t before = t->special_count;
    int32_t *const ids[NAMED] = { &t->bos, &t->eos, &t->unk, &t->pad };
    token named[NAMED];
    for (int i = 0; i < NAMED; i++) {
        json v;
        const io_file *from = map_value(&v, s, named_keys[i]);
        named[i] = (token){ .text = "<|endoftext|>", .special = true };
        if (i == BOS)
            named[i] = (token){ .text = "<|startoftext|>", .special = true };
        int code = SAEURON_OK;
        if (from)
            code = read_token(&named[i], v, from == &s->map, (place){ from->path, named_keys[i] }, err);
        if (code)
            return code;
        const char *path = from ? from->path : s->vocab.path;
        *ids[i] = find_piece(t, named[i].text, strlen(named[i].text));
        if (*ids[i] < 0)
            return fail(err, SAEURON_EFORMAT,
                        "%s: the %s \"%.40s\" is no piece of the vocabulary: the files must be of one model",
                        path, named_keys[i], named[i].text);
        bool known = is_special(t, before, named[i].text);
        for (int j = 0; j < i; j++)
            known = known || same_token(&named[j], &named[i]);
        if (!known)
            add_special(t, &named[i]);
    }
    return SAEURON_OK;
}

/* Special tokens without a name. One that is special already stays as it is; one that is no piece gets the
 * next id. */
static int read_more(tokenizer *t, const source *s, saeuron_error *err)
{
    json  v;
    place p;
    token tk;
    int   code = SAEURON_OK;
    for (int i = 0; i < MORE; i++)
        for (json_iter it = json_begin(more_tokens(s, i, &p)); !code && json_next(&it, NULL, &v);) {
            code = read_token(&tk, v, p.path == s->map.path, p, err);
            if (code || is_special(t, t->special_count, tk.text))
                continue;
            if (find_piece(t, tk.text, strlen(tk.text)) < 0)
                code = add_new_piece(t, tk.text, p.path, err);
            if (!code)
                add_special(t, &tk);
        }
    return code;
}

/* ---- the other keys of tokenizer_config.json ---- */

static bool is_named(const char *key)
{
    for (int i = 0; i < NAMED; i++)
        if (!strcmp(key, named_keys[i]))
            return true;
    return false;
}

/* s ends with end. */
static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

/* Refuses what would change ids and is not done here: other special tokens, padding or cutting on the left,
 * no start or end token. */
static int check_keys(json object, const char *path, saeuron_error *err)
{
    json key, value;
    char name[64];
    for (json_iter it = json_begin(object); json_next(&it, &key, &value);) {
        if (!json_string(key, name, sizeof name, NULL))
            continue;
        const char first = json_kind(value);
        const bool text = first == '"' || first == '{';
        const bool other_token = ends_with(name, "_token") && !is_named(name) && text;
        /* split_special_tokens: true, extra_special_tokens: {NAME: TEXT}; padding_side, truncation_side */
        const bool other_tokens = ends_with(name, "_special_tokens") &&
                                  (first == 't' || first == '"' || (first == '{' && json_length(value) > 0));
        const bool other_side = ends_with(name, "_side") && !json_equals(value, "right");
        const bool other_ends = !strcmp(name, "add_bos_token") || !strcmp(name, "add_eos_token");
        if (other_token || other_tokens || other_side || other_ends)
            return fail(err, SAEURON_EFORMAT,
                        "%s: %s has a value that this program does not support: "
                        "take it out if the model works without",
                        path, name);
    }
    return SAEURON_OK;
}

/* model_max_length, or max_len. transformers writes 1e30 for "no limit": then CLIP's 77. */
static int read_max_length(tokenizer *t, const source *s, saeuron_error *err)
{
    json   v;
    double x;
    t->max_length = DEFAULT_LENGTH;
    if (!json_get(s->config_json, "model_max_length", &v) && !json_get(s->config_json, "max_len", &v))
        return SAEURON_OK;
    if (json_kind(v) == 'n' || (json_number(v, &x) && x > 1e20))
        return SAEURON_OK;
    int64_t n;
    if (!json_integer(v, &n) || n < 2 || n > TOKENIZER_LENGTH_MAX)
        return fail(err, SAEURON_EFORMAT, "%s: model_max_length must be a whole number from 2 to %d",
                    s->config.path, TOKENIZER_LENGTH_MAX);
    t->max_length = (size_t)n;
    return SAEURON_OK;
}

/* ---- opening ---- */

/* Opens DIR/NAME. An optional file may be absent; then f->path is empty. */
static int open_file(io_file *f, const saeuron_host *host, const char *dir, const char *name, bool optional,
                     saeuron_error *err)
{
    char path[sizeof f->path];
    if (!io_join(path, sizeof path, dir, name))
        return fail(err, SAEURON_EUSAGE, "%.60s...: the path of this folder is too long", dir);
    if (!io_exists(host, path)) {
        if (optional)
            return SAEURON_OK;
        return fail(err, SAEURON_ENOENT,
                    "%s: there is no such file; a tokenizer is vocab.json and merges.txt, or tokenizer.json: "
                    "fetch them from the model's page", path);
    }
    const int code = io_open(f, host, path, err);
    if (!code && f->size > FILE_MAX)
        return fail(err, SAEURON_EFORMAT, "%s: %zu bytes are too many for a tokenizer's file: fetch it again",
                    path, f->size);
    return code;
}

static int open_json(io_file *f, json *v, const saeuron_host *host, const char *dir, const char *name,
                     bool optional, saeuron_error *err)
{
    const int code = open_file(f, host, dir, name, optional, err);
    if (code || !f->path[0])
        return code;
    return json_open_object(v, f->size ? (const char *)f->data : "", f->size, f->path, err);
}

/* The vocabulary: tokenizer.json before the two older files, as transformers chooses. */
static int open_vocab(source *s, const saeuron_host *host, const char *dir, saeuron_error *err)
{
    json whole = { NULL, NULL }, model;
    int code = open_json(&s->vocab, &whole, host, dir, "tokenizer.json", true, err);
    if (!code && whole.at) {
        if (!json_get(whole, "model", &model) || !json_get(model, "vocab", &s->pieces) ||
            !json_get(model, "merges", &s->merge_list))
            return fail(err, SAEURON_EFORMAT,
                        "%s: has no model with vocab and merges: it is not CLIP's tokenizer", s->vocab.path);
        s->merge_count = json_length(s->merge_list);
        json_get(whole, "added_tokens", &s->whole_tokens);
        return SAEURON_OK;
    }
    code = code ? code : open_json(&s->vocab, &s->pieces, host, dir, "vocab.json", false, err);
    code = code ? code : open_file(&s->merges, host, dir, "merges.txt", false, err);
    if (code)
        return code;
    const char *at = (const char *)s->merges.data, *end = at + s->merges.size;
    for (s->merge_count = 0; at < end; s->merge_count++)
        line_end(at, end, &at);
    return SAEURON_OK;
}

/* The files beside the vocabulary. */
static int open_configs(source *s, const saeuron_host *host, const char *dir, saeuron_error *err)
{
    int code = open_json(&s->config, &s->config_json, host, dir, "tokenizer_config.json", true, err);
    code = code ? code : open_json(&s->map, &s->map_json, host, dir, "special_tokens_map.json", true, err);
    code = code ? code : open_json(&s->added, &s->added_json, host, dir, "added_tokens.json", true, err);
    code = code ? code : check_keys(s->config_json, s->config.path, err);
    code = code ? code : check_keys(s->map_json, s->map.path, err);
    if (!code)
        json_get(s->config_json, "added_tokens_decoder", &s->decoder);
    return code;
}

static int open_source(source *s, const saeuron_host *host, const char *dir, saeuron_error *err)
{
    place p;
    int code = open_vocab(s, host, dir, err);
    code = code ? code : open_configs(s, host, dir, err);
    if (code)
        return code;
    s->piece_count = json_length(s->pieces);
    s->token_count = json_length(s->decoder) + json_length(s->added_json) + json_length(s->whole_tokens);
    for (int i = 0; i < MORE; i++)
        s->token_count += json_length(more_tokens(s, i, &p));
    if (json_kind(s->pieces) != '{' || s->piece_count == 0 || s->piece_count > PIECES_MAX ||
        s->merge_count > PIECES_MAX)
        return fail(err, SAEURON_EFORMAT,
                    "%s: must have an object of 1 to %d pieces, and at most as many merges: "
                    "fetch the file again",
                    s->vocab.path, PIECES_MAX);
    if (s->token_count > ADDED_MAX)
        return fail(err, SAEURON_EFORMAT,
                    "%s: it and the files beside it name %zu added tokens, at most %d are possible",
                    s->vocab.path, s->token_count, ADDED_MAX);
    return SAEURON_OK;
}

static void close_source(source *s)
{
    io_close(&s->vocab);
    io_close(&s->merges);
    io_close(&s->config);
    io_close(&s->map);
    io_close(&s->added);
}

/* The least power of two that is at least 2 n: a table at most half full. */
static size_t slots_for(size_t n)
{
    size_t slots = 2;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

/* A tokenizer in a, and room there for all that it points to. On an arena without memory it only measures,
 * and uses spare. */
static tokenizer *lay_out(arena *a, const source *s, tokenizer *spare)
{
    tokenizer *t = arena_bytes(a, 1, sizeof *t);
    if (!t)
        t = spare;
    memset(t, 0, sizeof *t);
    t->pieces_room = s->piece_count + s->token_count;
    t->slot_count = slots_for(t->pieces_room);
    t->merge_slot_count = slots_for(s->merge_count);
    /* A piece and its NUL are shorter than their JSON. */
    t->text_size = s->vocab.size + s->config.size + s->map.size + s->added.size + 1;
    t->text = arena_bytes(a, t->text_size, 1);
    t->start = arena_bytes(a, t->pieces_room, sizeof *t->start);
    t->slots = arena_bytes(a, t->slot_count, sizeof *t->slots);
    t->merges = arena_bytes(a, s->merge_count, sizeof *t->merges);
    t->merge_slots = arena_bytes(a, t->merge_slot_count, sizeof *t->merge_slots);
    t->specials = arena_bytes(a, s->token_count + NAMED, sizeof *t->specials);
    return t;
}

/* One block for a whole tokenizer, its tables empty. NULL when there is no memory. */
static tokenizer *new_tokenizer(const source *s, const saeuron_host *host)
{
    arena plan = { 0 };
    tokenizer spare;
    lay_out(&plan, s, &spare);
    void *memory = plan.failed ? NULL : io_alloc(host, plan.peak, 1);
    if (!memory)
        return NULL;
    arena a = { .base = memory, .size = plan.peak };
    tokenizer *t = lay_out(&a, s, &spare);
    t->memory = memory;
    if (host)
        t->host = *host;
    memset(t->start, 0xFF, t->pieces_room * sizeof *t->start); /* NO_PIECE, NO_RANK */
    memset(t->slots, 0xFF, t->slot_count * sizeof *t->slots);
    memset(t->merge_slots, 0xFF, t->merge_slot_count * sizeof *t->merge_slots);
    return t;
}

/* The order matters: merges refer to the vocabulary only, named tokens to the added ones too. */
static int read_source(tokenizer *t, const source *s, saeuron_error *err)
{
    int code = read_vocab(t, s, err);
    code = code ? code : s->merge_list.at ? read_merge_list(t, s, err) : read_merge_lines(t, s, err);
    code = code ? code : read_tokens(t, s, err);
    code = code ? code : read_named(t, s, err);
    code = code ? code : read_more(t, s, err);
    code = code ? code : read_max_length(t, s, err);
    if (!code)
        find_bytes(t);
    return code;
}

int tokenizer_open(tokenizer **t, const saeuron_host *host, const char *dir, saeuron_error *err)
{
    source s;
    memset(&s, 0, sizeof s);
    *t = NULL;
    int code = open_source(&s, host, dir, err);
    if (!code) {
        *t = new_tokenizer(&s, host);
        if (*t)
            code = read_source(*t, &s, err);
        else
            code = fail(err, SAEURON_ENOMEM, "%s: not enough memory for its tables", s.vocab.path);
    }
    close_source(&s);
    if (code) {
        tokenizer_close(*t);
        *t = NULL;
    }
    return code;
}

void tokenizer_close(tokenizer *t)
{
    if (t) {
        const saeuron_host host = t->host; /* t lies in the memory that goes */
        io_free(&host, t->memory);
    }
}
