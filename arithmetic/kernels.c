/* kernels.c: the fast paths, compiled once for each instruction set: -DNN_ISA=scalar, sse2, avx2, avx512,
 * neon or simd128 (WebAssembly's).
 *
 *   y = x W^T:   x --place--> rows as they lie, or lines with a border  \
 *                                                                       > tile of 12 x 32 chains of fma --> y
 *                W --pack--> panels [k][32]                            /
 *
 * The loops are the same for every instruction set, in plain C; what differs is the tile's size and the
 * compiler's flags. Lanes run over outputs, never over k, so each output is contract 3's chain, whatever the
 * tile. Not here: what the bits must be (reference.c, docs/contract.md). Letters: operations.h; a tile has MR
 * rows, a panel NR columns. */
#include "arithmetic/reference.h"
#include "arithmetic/threads.h"

/* ---- the instruction set ---- */

#ifndef NN_ISA
#define NN_ISA scalar
#endif
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define STRING2(a) #a
#define STRING(a) STRING2(a)
#define IS_scalar 1
#define IS_sse2   2
#define IS_avx2   3
#define IS_avx512 4
#define IS_neon   5
#define IS_simd128 6
#define ISA JOIN(IS_, NN_ISA)

/* MR, NR: a tile that gcc keeps in registers (docs/contract.md, section 10). NARROW, LEAST: the widths of
 * panels for the last columns, which may be few: networks are 20, 40, 48 wide, too. LANES: floats of a
 * register, the side of the squares that packing transposes. */
#if ISA == IS_avx512
enum { MR = 12, NR = 32, NARROW = 16, LEAST = 8, LANES = 16 };
#elif ISA == IS_avx2
enum { MR = 4, NR = 24, NARROW = 24, LEAST = 24, LANES = 8 };
#elif ISA == IS_neon
enum { MR = 8, NR = 8, NARROW = 8, LEAST = 8, LANES = 4 };
#elif ISA == IS_simd128
enum { MR = 4, NR = 4, NARROW = 4, LEAST = 4, LANES = 4 };
#else
enum { MR = 4, NR = 8, NARROW = 8, LEAST = 8, LANES = 4 };
#endif

enum {
    BLOCK = 128, CHUNK = 2048, /* contract 3: a chain, and sixteen of them */
    GROUP = 48 * 2048,         /* floats of x that meet one panel after another: second-level cache */
    SEGMENT = 128,             /* floats of a row that are transposed at a time */
    PANELS = 2 << 20,          /* floats of W packed at a time, for all threads */
    ALONE = 2 << 20,           /* floats of all rows of x, at most, where each thread packs for itself */
    APART = 16,                /* floats between copied rows, lest all begin in one set of the cache */
    WORTH = 1 << 21            /* multiply-adds worth waking threads for; a sixteenth as many elements */
};

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* ---- the tile ---- */

/* How tiles find the terms of rows: of four rows each begins `step` floats after the one before; `line` terms
 * of a row lie side by side, then `jump` floats are passed over, and so on. Patches under a convolution's
 * pixels lie so in an image with its border. */
typedef struct layout { size_t step, line, jump; } layout;

/* A tile: mr rows of a by nr columns of b. s[i,j] = sum of a[i,k] * b[k,j], k < n <= 128, one chain of fma
 * from +0: a block of contract 3. Each tile is two functions, by what becomes of s:
 *
 *   NAME_first: y = s + bias   the first block of a chunk; bias is -0, which changes no sum, if more follows
 *   NAME_fold:  lo = lo + s    each further block of the chunk
 *
 * a: a pointer to each four of the rows; the block's first term lies `at` floats from it, and `run` terms are
 * left in that term's line. b [n,nr]; y [mr,nr], rows ldy apart; lo [mr,nr]; bias [nr].
 *
 * The tiles are macros, because compilers keep s in registers only if its sizes are constants, its rows are
 * written out one by one, and nothing between the zeros and the stores is conditional but the loops. What is
 * written out, from the inside:
 *   ROW      one row's fma at one k;   ROWS4, ROWS8, ROWS12: all rows (COLUMNS: of a tile one register wide)
 *   EACH*    the same statement for every row: ZERO, STORE, FOLD
 *   SUMS     zeros, then the loops over lines and k;   TILE: the two functions */
#define TILE(name, mr, nr, UPDATE, EACH)                                                                     \
    static void name##_first(size_t n, size_t at, size_t run, const float *const *a, const layout *l,        \
                             const float *restrict b, float *restrict y, size_t ldy,                         \
                             const float *restrict bias)                                                     \
    {                                                                                                        \
        SUMS(mr, nr, UPDATE, EACH)                                                                           \
        EACH(STORE, nr)                                                                                      \
    }                                                                                                        \
    static void name##_fold(size_t n, size_t at, size_t run, const float *const *a, const layout *l,         \
                            const float *restrict b, float *restrict lo)                                     \
    {                                                                                                        \
        SUMS(mr, nr, UPDATE, EACH)                                                                           \
        FOLDS(mr, nr, EACH)                                                                                  \
    }
#define SUMS(mr, nr, UPDATE, EACH)                                       \
    const float *a0 = a[0] + at, *a4 = a[mr > 4 ? 1 : 0] + at;           \
    const float *a8 = a[mr > 8 ? 2 : 0] + at;                            \
    const size_t step = l->step, step3 = 3 * step, jump = l->jump;       \
    float s[mr * nr];                                                    \
    EACH(ZERO, nr)                                                       \
    for (;; run = l->line, a0 += jump, a4 += jump, a8 += jump) {         \
        size_t side = least(run, n);                                     \
        n -= side;                                                       \
        do {                                                             \
            UPDATE(mr, nr)                                               \
            a0++, a4++, a8++, b += nr;                                   \
        } while (--side);                                                \
        if (!n)                                                          \
            break;                                                       \
    }                                                                    \
    (void)a4, (void)a8, (void)step3;
#define ZERO(i, nr)  for (int j = 0; j < nr; j++) s[(i) * nr + j] = 0.0f;
#define STORE(i, nr)                                                     \
    for (int j = 0; j < nr; j++)                                         \
        y[(size_t)(i) * ldy + (size_t)j] = s[(i) * nr + j] + bias[j];
#define FOLD(i, nr)  for (int j = 0; j < nr; j++) lo[(i) * nr + j] = lo[(i) * nr + j] + s[(i) * nr + j];
#ifdef __clang__ /* keeps s in registers when these are loops, and gcc when they are written out */
#define EACH4(DO, nr)  for (int i = 0; i < 4; i++) { DO(i, nr) }
#define EACH8(DO, nr)  for (int i = 0; i < 8; i++) { DO(i, nr) }
#define EACH12(DO, nr) for (int i = 0; i < 12; i++) { DO(i, nr) }
#define FOLDS(mr, nr, EACH) FOLD(0, mr * nr)
#else
#define EACH4(DO, nr)  DO(0, nr) DO(1, nr) DO(2, nr) DO(3, nr)
#define EACH8(DO, nr)  EACH4(DO, nr) DO(4, nr) DO(5, nr) DO(6, nr) DO(7, nr)
#define EACH12(DO, nr) EACH8(DO, nr) DO(8, nr) DO(9, nr) DO(10, nr) DO(11, nr)
#define FOLDS(mr, nr, EACH) EACH(FOLD, nr)
#endif
#define ROW(i, value, nr) for (int j = 0; j < nr; j++) s[(i) * nr + j] = fma32(value, b[j], s[(i) * nr + j]);
#define FOUR(i, p, nr)                                                   \
    ROW(i, p[0], nr) ROW(i + 1, p[step], nr) ROW(i + 2, p[2 * step], nr) ROW(i + 3, p[step3], nr)
#define ROWS4(mr, nr)  FOUR(0, a0, nr)
#define ROWS8(mr, nr)  ROWS4(mr, nr) FOUR(4, a4, nr)
#define ROWS12(mr, nr) ROWS8(mr, nr) FOUR(8, a8, nr)
#define COLUMNS(mr, nr)                                                  \
    const float *const four[3] = { a0, a4, a8 };                         \
    for (int j = 0; j < nr; j++)                                         \
        for (int i = 0; i < mr; i++)                                     \
            s[i * nr + j] = fma32(four[i / 4][(size_t)(i % 4) * step], b[j], s[i * nr + j]);

typedef struct tile_functions {
    void (*first)(size_t n, size_t at, size_t run, const float *const *a, const layout *l,
                  const float *restrict b, float *restrict y, size_t ldy, const float *restrict bias);
    void (*fold)(size_t n, size_t at, size_t run, const float *const *a, const layout *l,
                 const float *restrict b, float *restrict lo);
} tile_functions;
#define FUNCTIONS(name) { name##_first, name##_fold }

/* tiles[0]: NR columns and 4, 8, ... MR rows; tiles[1], tiles[2]: NARROW, LEAST columns, if these are
 * fewer. */
#if ISA == IS_avx512
TILE(tile_4, 4, 32, ROWS4, EACH4)
TILE(tile_8, 8, 32, ROWS8, EACH8)
TILE(tile_12, 12, 32, ROWS12, EACH12)
TILE(narrow_4, 4, 16, COLUMNS, EACH4)
TILE(narrow_8, 8, 16, COLUMNS, EACH8)
TILE(narrow_12, 12, 16, COLUMNS, EACH12)
TILE(least_4, 4, 8, COLUMNS, EACH4)
TILE(least_8, 8, 8, COLUMNS, EACH8)
TILE(least_12, 12, 8, COLUMNS, EACH12)
static const tile_functions tiles[3][MR / 4] = {
    { FUNCTIONS(tile_4), FUNCTIONS(tile_8), FUNCTIONS(tile_12) },
    { FUNCTIONS(narrow_4), FUNCTIONS(narrow_8), FUNCTIONS(narrow_12) },
    { FUNCTIONS(least_4), FUNCTIONS(least_8), FUNCTIONS(least_12) }
};
#elif ISA == IS_neon
TILE(tile_4, 4, 8, ROWS4, EACH4)
TILE(tile_8, 8, 8, ROWS8, EACH8)
static const tile_functions tiles[1][MR / 4] = { { FUNCTIONS(tile_4), FUNCTIONS(tile_8) } };
#elif ISA == IS_simd128
TILE(tile_4, 4, 4, ROWS4, EACH4)
static const tile_functions tiles[1][MR / 4] = { { FUNCTIONS(tile_4) } };
#elif ISA == IS_avx2
TILE(tile_4, 4, 24, ROWS4, EACH4)
static const tile_functions tiles[1][MR / 4] = { { FUNCTIONS(tile_4) } };
#else
TILE(tile_4, 4, 8, ROWS4, EACH4)
static const tile_functions tiles[1][MR / 4] = { { FUNCTIONS(tile_4) } };
#endif

/* Rows of a tile that holds `rows` of them, width of a panel that holds `columns`. */
static size_t tile_height(size_t rows) { return rows < MR ? round_up(rows, 4) : MR; }
static size_t panel_width(size_t columns)
{
    return columns <= LEAST ? LEAST : columns <= NARROW ? NARROW : NR;
}
/* How many of `left` columns go into the next panel: two narrow panels may hold the last with less waste. */
static size_t panel_columns(size_t left)
{
    return left > NARROW && left <= NARROW + LEAST ? NARROW : least(left, NR);
}

/* y [rows,columns] = ((y +) lo) (+ bias), y + only if hi; lo's rows w apart. */
static inline void finish_tile(float *y, size_t ldy, const float *lo, size_t w, size_t rows, size_t columns,
                               bool hi, const float *bias)
{
    for (size_t i = 0; i < rows; i++, y += ldy, lo += w)
        for (size_t j = 0; j < columns; j++) {
            const float s = hi ? y[j] + lo[j] : lo[j];
            y[j] = bias ? s + bias[j] : s;
        }
}

/* Asks the cache for rows of y, which will be written: a store that waits for its line delays all later
 * ones. */
static void fetch_to_write(float *y, size_t ldy, size_t rows, size_t columns)
{
#if defined(__GNUC__) && !defined(__PCC__) /* whose prefetch takes no second argument */
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j += 16)
            __builtin_prefetch(y + i * ldy + j, 1);
#else
    (void)y, (void)ldy, (void)rows, (void)columns;
#endif
}

/* Where term k of a row lies, and how many terms, it among them, are left in its line. */
typedef struct place { size_t at, run; } place;
static place find_term(const layout *l, size_t k)
{
    const size_t before = k < l->line ? 0 : k / l->line;
    return (place){ k + before * l->jump, (before + 1) * l->line - k };
}

/* One chunk, terms k..k+n-1 of rows, 1 <= n <= 2048, of a tile of y [rows,columns]: y = (y +) the left fold
 * over its blocks (+ bias). a: a pointer to each four of the rows, the last four perhaps not all wanted; b: a
 * panel [n,w], w as panel_width gives it. */
static void multiply_tile(float *y, size_t ldy, const float *const *a, const layout *l, size_t k,
                          const float *b, size_t rows, size_t columns, size_t n, bool hi, const float *bias)
{
    float lo[MR * NR], nothing[NR];
    const size_t h = tile_height(rows), w = panel_width(columns);
    const tile_functions *t = &tiles[w == NR ? 0 : w == NARROW ? 1 : 2][h / 4 - 1];
    place at = find_term(l, k);

    for (size_t j = 0; j < NR; j++)
        nothing[j] = -0.0f;
    if (n <= BLOCK)
        fetch_to_write(y, ldy, rows, columns);
    if (n <= BLOCK && rows == h && columns == w && !hi) {
        t->first(n, at.at, at.run, a, l, b, y, ldy, bias ? bias : nothing);
        return;
    }
    t->first(least(BLOCK, n), at.at, at.run, a, l, b, lo, w, nothing);
    for (size_t q = BLOCK; q < n; q += BLOCK) {
        at = find_term(l, k + q);
        if (q + BLOCK >= n)
            fetch_to_write(y, ldy, rows, columns);
        t->fold(least(BLOCK, n - q), at.at, at.run, a, l, b + q * w, lo);
    }
    if (columns == NR && !hi && bias) /* constants, so that the loop becomes whole registers */
        finish_tile(y, ldy, lo, NR, rows, NR, false, bias);
    else if (columns == NR)
        finish_tile(y, ldy, lo, NR, rows, NR, hi, bias);
    else
        finish_tile(y, ldy, lo, w, rows, columns, hi, bias);
}

/* ---- packing ---- */

static const float zeros[SEGMENT];

/* turn: to[k][r] = row[r][at + k], a square of n x n. A RIFFLE deals the two halves of the vectors
 * alternately, like cards: it moves one bit of the row number into the lane number, and one back. log2 n of
 * them transpose. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define VECTORS 1
#endif
#endif
#ifdef VECTORS
#define RIFFLE(to, from, n, LOW, HIGH)                                                             \
    for (int i = 0; i < n / 2; i++) {                                                              \
        to[2 * i] = __builtin_shufflevector(from[i], from[i + n / 2], LOW);                        \
        to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + n / 2], HIGH);                   \
    }
#define LOW_4   0, 4, 1, 5
#define HIGH_4  2, 6, 3, 7
#define LOW_8   0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8  4, 12, 5, 13, 6, 14, 7, 15
#define LOW_16  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define RIFFLES_4  RIFFLE(w, v, 4, LOW_4, HIGH_4) RIFFLE(v, w, 4, LOW_4, HIGH_4)
#define RIFFLES_8                                                                                  \
    RIFFLE(w, v, 8, LOW_8, HIGH_8) RIFFLE(v, w, 8, LOW_8, HIGH_8) RIFFLE(w, v, 8, LOW_8, HIGH_8)   \
    memcpy(v, w, sizeof v);
#define RIFFLES_16                                                                                 \
    RIFFLE(w, v, 16, LOW_16, HIGH_16) RIFFLE(v, w, 16, LOW_16, HIGH_16)                            \
    RIFFLE(w, v, 16, LOW_16, HIGH_16) RIFFLE(v, w, 16, LOW_16, HIGH_16)
#define TURN(name, n, RIFFLES)                                                                     \
    static void name(float *const *to, const float *const *row, size_t at)                         \
    {                                                                                              \
        typedef float vector __attribute__((vector_size(4 * n)));                                  \
        vector v[n], w[n];                                                                         \
        for (int r = 0; r < n; r++)                                                                \
            memcpy(&v[r], row[r] + at, sizeof v[r]);                                               \
        RIFFLES                                                                                    \
        for (int k = 0; k < n; k++)                                                                \
            memcpy(to[k], &v[k], sizeof v[k]);                                                     \
    }
#else
#define TURN(name, n, RIFFLES)                                                                     \
    static void name(float *const *to, const float *const *row, size_t at)                         \
    {                                                                                              \
        for (int k = 0; k < n; k++)                                                                \
            for (int r = 0; r < n; r++)                                                            \
                to[k][r] = row[r][at + (size_t)k];                                                 \
    }
#endif
#if ISA == IS_avx512
TURN(turn, 16, RIFFLES_16)
#elif ISA == IS_avx2
TURN(turn, 8, RIFFLES_8)
#else
TURN(turn, 4, RIFFLES_4)
#endif

/* dst[k,r] = row[r][k], r < width, k < n <= SEGMENT. Rows of dst lie `width` apart, unless `to` says where
 * each goes. */
static void transpose(float *dst, float *const *to, const float *const *row, size_t width, size_t n)
{
    float *at[LANES];
    for (size_t r = 0; r < width; r += LANES) {
        const size_t end = least(r + LANES, width);
        size_t k = 0;
        for (; r + LANES <= width && k + LANES <= n; k += LANES) {
            for (size_t i = 0; i < LANES; i++)
                at[i] = (to ? to[k + i] : dst + (k + i) * width) + r;
            turn(at, row + r, k);
        }
        for (; k < n; k++)
            for (size_t i = r; i < end; i++)
                (to ? to[k] : dst + k * width)[i] = row[i][k];
    }
}

/* Elements at..at+n-1 of w, widened: nn_widen, in lanes. */
static void widen(float *restrict y, weight w, size_t at, size_t n)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const unsigned char *p = w.data + at * dtype_size(w.type);
    if (w.type == DT_F32 || w.type == DT_OWN) {
        memcpy(y, p, n * sizeof *y);
        return;
    }
    uint16_t h;
    if (w.type == DT_F16)
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, sizeof h);
            y[i] = f16_widen(h);
        }
    else
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, sizeof h);
            y[i] = bf16_widen(h);
        }
#else
    nn_widen(y, w, at, n);
#endif
}

/* Asks the memory for elements at..at+n-1 of w, which come next. A panel has more rows than a processor
 * follows by itself. */
static void fetch_ahead(weight w, size_t at, size_t n)
{
#if defined(__GNUC__)
    const size_t size = dtype_size(w.type);
    for (size_t byte = 0; byte < n * size; byte += 64)
        __builtin_prefetch(w.data + at * size + byte);
#else
    (void)w, (void)at, (void)n;
#endif
}

/* The left matrix, M rows of K: plain rows side by side, or (conv) the patches under the output's pixels. */
typedef struct left {
    const float *x;
    size_t M, K;
    const conv_shape *conv; /* NULL: plain rows */
    size_t Ho, Wo;          /* conv: lines and pixels of an output */
} left;

/* The right matrix, N rows of K = taps * ci: weights [N,ci,taps], k running over (tap, ci). */
typedef struct right {
    weight w;
    size_t taps, ci;
} right;

/* Rows of x as a panel [K,w]; those past `rows` are zeros. */
static void pack_rows(float *dst, const float *x, size_t stride, size_t rows, size_t w, size_t K)
{
    const float *row[NR];
    for (size_t k = 0; k < K; k += SEGMENT) {
        for (size_t r = 0; r < w; r++)
            row[r] = r < rows ? x + r * stride + k : zeros;
        transpose(dst + k * w, NULL, row, w, least(SEGMENT, K - k));
    }
}

/* Columns from..from+columns-1 of W^T as a panel [K,w]; columns past that are zeros. */
static void pack_weights(float *dst, const right *R, size_t from, size_t columns, size_t w)
{
    float wide[NR][SEGMENT], *to[SEGMENT];
    const float *row[NR];
    const size_t K = R->taps * R->ci;
    size_t tap = 0, i = 0; /* the file's order is (ci, tap) */

    for (size_t j = 0; j < w; j++)
        row[j] = j < columns ? wide[j] : zeros;
    for (size_t q = 0; q < K; q += SEGMENT) {
        const size_t n = least(SEGMENT, K - q);
        for (size_t j = 0; j < columns; j++) {
            widen(wide[j], R->w, (from + j) * K + q, n);
            fetch_ahead(R->w, (from + j) * K + q + n, least(SEGMENT, K - q - n));
        }
        for (size_t k = 0; k < n; k++) {
            to[k] = dst + (tap * R->ci + i) * w;
            if (++tap == R->taps) {
                tap = 0;
                i++;
            }
        }
        transpose(NULL, to, row, w, n);
    }
}

/* Columns from..from+columns-1 of W^T as panels, one after the other. */
static void pack_panels(float *dst, const right *R, size_t from, size_t columns)
{
    for (size_t j = 0, count; j < columns; j += count) {
        count = panel_columns(columns - j);
        pack_weights(dst + j * R->taps * R->ci, R, from + j, count, panel_width(count));
    }
}

/* ---- products ---- */

/* y [rows,columns] = a b: tile_height(rows) rows of a, K terms each, by a panel [K,w]. */
static void multiply(float *y, size_t ldy, const float *a, size_t lda, const float *b,
                     size_t rows, size_t columns, size_t K)
{
    const size_t w = panel_width(columns);
    const layout l = { lda, K, 0 };
    const float *four[MR / 4];
    for (size_t i = 0; i < rows; i += 4)
        four[i / 4] = a + i * lda;
    for (size_t k = 0; k < K; k += CHUNK)
        multiply_tile(y, ldy, four, &l, k, b + k * w, rows, columns, least(CHUNK, K - k), k > 0, NULL);
}

/* A group of rows of the left matrix, where tiles read them: the rows as they lie, or copies. */
typedef struct group {
    const float **four; /* a pointer to each four rows */
    layout l;
    float *copies;      /* a thread's scratch */
} group;

static void place_rows(group *g, const float *x, size_t step, size_t rows, size_t K)
{
    g->l = (layout){ step, K, 0 };
    for (size_t i = 0; i < rows; i += 4)
        g->four[i / 4] = x + i * step;
}

/* Floats of an image's line with its border. */
static size_t bordered_line(const conv_shape *s) { return (s->pad_before + s->W + s->pad_after) * s->ci; }

/* Line y of an image with its border: zeros around [H,W,ci]. y counts from the image's first line; above
 * that it has wrapped. */
static void copy_line(float *to, const float *image, const conv_shape *s, size_t y)
{
    const size_t before = s->pad_before * s->ci, width = s->W * s->ci, all = bordered_line(s);
    if (y >= s->H) {
        memset(to, 0, all * sizeof *to);
        return;
    }
    memset(to, 0, before * sizeof *to);
    memcpy(to + before, image + y * width, width * sizeof *to);
    memset(to + before + width, 0, (all - before - width) * sizeof *to);
}

/* The patches of rows i0..i0+rows-1: the lines under them are copied with their border, and patches overlap
 * there. Either lines are in fours, or the rows are all of one line: then the last four may reach past it. */
static void place_patches(group *g, const left *L, size_t i0, size_t rows)
{
    const conv_shape *s = L->conv;
    const size_t all = bordered_line(s), end = (i0 + rows - 1) / L->Wo + 1;
    float *to = g->copies;
    size_t i = i0;

    g->l = (layout){ s->stride * s->ci, s->k * s->ci, all - s->k * s->ci };
    for (size_t line = i0 / L->Wo, n; line < end; line += n) {
        const float *image = L->x + line / L->Ho * s->H * s->W * s->ci;
        const size_t oy = line % L->Ho;
        n = least(L->Ho - oy, end - line); /* lines of this image, under which there are more */
        for (; i < least(i0 + rows, (line + n) * L->Wo); i += 4)
            g->four[(i - i0) / 4] = to + ((i / L->Wo - line) * all + i % L->Wo * s->ci) * s->stride;
        for (size_t y = 0; y < (n - 1) * s->stride + s->k; y++, to += all)
            copy_line(to, image, s, oy * s->stride + y - s->pad_before);
    }
}

/* Floats that place_patches needs for so many rows, wherever they begin. */
static size_t patches_floats(const left *L, size_t rows)
{
    const conv_shape *s = L->conv;
    const size_t lines = (rows + 2 * L->Wo - 2) / L->Wo, images = (lines + 2 * L->Ho - 2) / L->Ho;
    return (lines * s->stride + images * s->k) * bordered_line(s) + 4 * s->stride * s->ci;
}

/* y [M,N] = L R^T + bias, or a part of it. */
typedef struct product {
    float *y;
    const left *L;
    const float *bias;
    size_t N;
} product;

/* Whether plain rows would all begin in one set of the cache. */
static bool stacked(const left *L) { return !L->conv && L->K % 1024 == 0; }
/* Whether tiles read rows where they lie: they are in fours, and not stacked. */
static bool in_place(const left *L) { return !L->conv && L->M % 4 == 0 && !stacked(L); }

/* Floats that place_group copies of so many rows. */
static size_t copied_floats(const left *L, size_t rows)
{
    return round_up(L->conv ? patches_floats(L, rows) : round_up(rows, 4) * (L->K + APART), 16);
}

/* Rows i0..i0+rows-1 where tiles read them. */
static void place_group(group *g, const left *L, size_t i0, size_t rows)
{
    const size_t apart = L->K + APART;
    if (L->conv)
        place_patches(g, L, i0, rows);
    else if (in_place(L))
        place_rows(g, L->x + i0 * L->K, L->K, rows, L->K);
    else {
        for (size_t i = 0; i < rows; i++)
            memcpy(g->copies + i * apart, L->x + (i0 + i) * L->K, L->K * sizeof *L->x);
        place_rows(g, g->copies, apart, rows, L->K);
    }
}

/* A group's rows, of which the first is i0, by columns j0..j0+columns-1, whose panels [K,NR] b holds: one
 * after the other, chunk by chunk, so that rows and panel stay in the second-level cache. */
static void multiply_group(const product *p, const group *g, const float *b,
                           size_t i0, size_t rows, size_t j0, size_t columns)
{
    const size_t K = p->L->K;
    for (size_t k = 0; k < K; k += CHUNK) {
        const size_t n = least(CHUNK, K - k);
        for (size_t j = 0, count; j < columns; j += count) {
            count = panel_columns(columns - j);
            const float *panel = b + j * K + k * panel_width(count);
            const float *bias = p->bias && k + n == K ? p->bias + j0 + j : NULL;
            for (size_t i = 0; i < rows; i += MR) {
                const size_t high = least(MR, rows - i);
                float *y = p->y + (i0 + i) * p->N + j0 + j;
                multiply_tile(y, p->N, g->four + i / 4, &g->l, k, panel, high, count, n, k > 0, bias);
            }
        }
    }
}

/* How a product is cut into units of work, few and coarse: groups of rows by segments of a block's columns.
 * What a thread has written it mostly reads again in the next product. Scratch never shrinks as rows are
 * added: who plans for some rows may multiply fewer. */
typedef struct cut {
    size_t height, groups;   /* rows of a group; groups */
    size_t Nc;               /* columns of a block: packed at a time */
    size_t panels, segments; /* panels of a segment; segments of a block: as many as threads lack groups */
    bool   alone;            /* each thread packs for itself, and has all rows */
    size_t packed, fours, copies; /* floats of W packed at a time; a thread's pointers and floats for rows */
} cut;

/* Rows whose copies take about so many floats: whole lines of a convolution. */
static size_t rows_within(const left *L, size_t floats)
{
    const conv_shape *s = L->conv;
    return s ? most(1, floats / most(1, s->stride * bordered_line(s))) * L->Wo : floats / most(1, L->K);
}

static cut cut_work(const left *L, size_t threads, size_t N, bool packed)
{
    enum { FEW = 8 }; /* rows of a group, at least */
    const size_t M = L->M, K = most(1, L->K), own = times(threads * NR, K);
    const bool   lines = L->conv && L->Wo % 4; /* not in fours: each is a group */
    const size_t fit = lines ? L->Wo
                             : L->conv ? rows_within(L, GROUP) : round_up(GROUP / least(K, CHUNK), MR);
    const size_t bound = least(fit, round_up(M, 4)), all = rows_within(L, ALONE);
    cut w;

    w.groups = most(1, (M + fit - 1) / fit);
    if (w.groups < 4 * threads)
        w.groups = round_up(w.groups, threads);
    w.height = lines ? fit : least(fit, most(FEW, round_up((M + w.groups - 1) / w.groups, 4)));
    w.groups = (M + w.height - 1) / w.height;

    const bool can = !packed && !lines && own <= 4 * PANELS;
    w.alone = can && M <= all && (L->conv || stacked(L) || in_place(L) || M <= bound);
    w.Nc = packed ? N : least(round_up(N, NR), most(NR, PANELS / K / NR * NR));
    w.packed = packed ? 0 : most(times(w.Nc, K), can ? own : 0);
    const size_t rows = can ? most(bound, least(M, all)) : bound;
    w.fours = rows / 4 + 1;
    w.copies = copied_floats(L, L->conv || stacked(L) ? rows : bound);

    const size_t panels = (least(w.Nc, N) + NR - 1) / NR;
    w.segments = least(most(1, panels), (threads + w.groups - 1) / most(1, w.groups));
    w.panels = (panels + w.segments - 1) / most(1, w.segments);
    return w;
}

/* y [M,N] = L R^T + bias at work: what is packed of R, and the threads' scratch for groups. */
typedef struct scratch { float *fresh, *copies; const float **fours; } scratch;

static group group_of(const scratch *s, const cut *w)
{
    const size_t me = (size_t)thread_number();
    return (group){ .four = s->fours + me * w->fours, .copies = s->copies + me * w->copies };
}

/* All threads pack a block of W, if it is not packed; then each takes units of work. */
static void by_groups(const product *p, const right *R, const cut *w, const scratch *s, size_t threads)
{
    (void)threads; /* unused without OpenMP */
    const float *b = R->w.packed ? R->w.packed : s->fresh;
    const size_t M = p->L->M, K = p->L->K;
    OMP(omp parallel num_threads((int)threads))
    for (size_t j0 = 0; j0 < p->N; j0 += w->Nc) {
        const size_t n = least(w->Nc, p->N - j0);
        if (!R->w.packed) {
            if (j0) { /* the block before is still being read */
                OMP(omp barrier)
            }
            OMP(omp for schedule(dynamic))
            for (size_t j = 0; j < n; j += NR)
                pack_panels(s->fresh + j * K, R, j0 + j, least(NR, n - j));
        }
        OMP(omp for schedule(dynamic) nowait)
        for (size_t u = 0; u < w->groups * w->segments; u++) {
            const size_t i = u / w->segments * w->height, j = u % w->segments * w->panels * NR;
            const size_t rows = least(w->height, M - i);
            group g = group_of(s, w);
            if (j >= n)
                continue;
            place_group(&g, p->L, i, rows);
            multiply_group(p, &g, b + j * K, i, rows, j0 + j, least(w->panels * NR, n - j));
        }
    }
}

/* Each thread keeps all rows, and packs panel after panel for itself: none waits for another, and no panel
 * leaves its core. */
static void by_panels(const product *p, const right *R, const cut *w, const scratch *s, size_t threads)
{
    (void)threads; /* unused without OpenMP */
    const size_t M = p->L->M, each = p->L->K * NR;
    OMP(omp parallel num_threads((int)threads))
    {
        group g = group_of(s, w);
        float *panel = s->fresh + (size_t)thread_number() * each;
        place_group(&g, p->L, 0, M);
        OMP(omp for schedule(dynamic))
        for (size_t j = 0; j < p->N; j += NR) {
            const size_t n = least(NR, p->N - j);
            pack_panels(panel, R, j, n);
            multiply_group(p, &g, panel, 0, M, j, n);
        }
    }
}

/* y [M,N] = L R^T + bias. */
static void gemm(nn *c, float *y, const left *L, const right *R, const float *bias, size_t N)
{
    const size_t M = L->M, mark = arena_mark(c->work);
    const size_t threads = (double)M * (double)N * (double)L->K >= (double)WORTH ? (size_t)c->threads : 1;
    const cut w = cut_work(L, threads, N, R->w.packed != NULL);
    const product p = { y, L, bias, N };
    scratch s;
    s.fresh = arena_bytes(c->work, w.packed, sizeof(float));
    s.copies = arena_bytes(c->work, times(threads, w.copies), sizeof(float));
    s.fours = arena_bytes(c->work, times(threads, w.fours), sizeof *s.fours);

    if (y && s.fours && L->K == 0)
        for (size_t i = 0; i < M * N; i++)
            y[i] = bias ? 0.0f + bias[i % N] : 0.0f;
    else if (y && s.fours && M)
        (w.alone ? by_panels : by_groups)(&p, R, &w, &s, threads);
    arena_release(c->work, mark);
}

static void linear(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N)
{
    const left  L = { x, M, K, NULL, 1, 1 };
    const right R = { W, 1, K };
    gemm(c, y, &L, &R, bias, N);
}

static void conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s)
{
    const size_t Ho = conv_out(s, s->H), Wo = conv_out(s, s->W), taps = s->k * s->k;
    const bool   plain = s->k == 1 && s->stride == 1 && !s->pad_before && !s->pad_after;
    const left   L = { x, s->B * Ho * Wo, taps * s->ci, plain ? NULL : s, Ho, Wo };
    const right  R = { W, taps, s->ci };
    gemm(c, y, &L, &R, bias, s->co);
}

/* All of W [N,ci,taps] as panels. */
static size_t packed_size(size_t N, size_t taps, size_t ci) { return round_up(N, NR) * taps * ci; }

static void pack(float *dst, weight W, size_t N, size_t taps, size_t ci)
{
    const right R = { W, taps, ci };
    pack_panels(dst, &R, 0, N);
}

/* ---- attention ---- */

/* A panel of queries is in the lanes throughout:
 *
 *   scores [key][query] = keys x queries;   then largest, exp and sum, down the keys;   y^T = values^T x exp
 *
 * A head as its keys and values are copied: keys [Nk,head]; values transposed, [head,Nk], rows Nk + APART
 * apart. */
typedef struct packed_head { float *keys, *values; } packed_head;
/* What a thread needs beside that: queries, a panel [head,NR]; scores [Nk,NR]; out [head,NR]. */
typedef struct attention_scratch { float *queries, *scores, *out; } attention_scratch;

static size_t head_floats(size_t Nk, size_t head)
{
    return round_up(round_up(Nk, 4) * head + round_up(head, 4) * (Nk + APART), 16);
}

static size_t scratch_floats(size_t Nk, size_t head) { return round_up((2 * head + Nk) * NR, 16); }

static packed_head place_head(float *at, size_t Nk, size_t head)
{
    return (packed_head){ at, at + round_up(Nk, 4) * head };
}

static attention_scratch place_scratch(float *at, size_t Nk, size_t head)
{
    return (attention_scratch){ at, at + head * NR, at + (head + Nk) * NR };
}

/* to[j,i] = x[i,j], i < M, j < N. Rows of x ldx apart, of `to` ldt. */
static void turn_matrix(float *to, size_t ldt, const float *x, size_t ldx, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i += LANES)
        for (size_t j = 0; j < N; j += LANES) {
            const float *row[LANES];
            float *at[LANES];
            if (i + LANES <= M && j + LANES <= N) {
                for (size_t r = 0; r < LANES; r++) {
                    row[r] = x + (i + r) * ldx;
                    at[r] = to + (j + r) * ldt + i;
                }
                turn(at, row, j);
                continue;
            }
            for (size_t r = i; r < least(M, i + LANES); r++)
                for (size_t k = j; k < least(N, j + LANES); k++)
                    to[k * ldt + r] = x[r * ldx + k];
        }
}

/* Tiles read rows by fours: those past the last are zeros, and what comes of them is dropped. */
static void pack_head(const packed_head *s, const float *k, const float *v, size_t Nk, size_t D, size_t head)
{
    for (size_t i = 0; i < Nk; i++)
        memcpy(s->keys + i * head, k + i * D, head * sizeof *k);
    turn_matrix(s->values, Nk + APART, v, D, Nk, head);
    memset(s->keys + Nk * head, 0, (round_up(Nk, 4) - Nk) * head * sizeof *k);
    memset(s->values + head * (Nk + APART), 0, (round_up(head, 4) - head) * (Nk + APART) * sizeof *k);
}

/* m[j] = the largest of x[i,j], i < n, and m[j]; low[j] likewise the smallest. x [n,w]. */
static inline void extremes_down(float *restrict m, float *restrict low, const float *restrict x,
                                 size_t n, size_t w)
{
    for (size_t i = 0; i < n; i++, x += w)
        for (size_t j = 0; j < w; j++) {
            m[j] = x[j] > m[j] ? x[j] : m[j];
            low[j] = x[j] < low[j] ? x[j] : low[j];
        }
}

/* x = exp(x * scale - m), s += x down the rows: a block of dot(x, 1). x [n,w]; m, s [w]. normal: no
 * exponential is subnormal. */
static inline void exp_block(float *restrict s, float *restrict x, const float *restrict m,
                             size_t n, size_t w, float scale, bool normal)
{
    for (size_t i = 0; i < n; i++, x += w)
        for (size_t j = 0; j < w; j++) {
            x[j] = normal ? exp32_normal(x[j] * scale - m[j]) : exp32(x[j] * scale - m[j]);
            s[j] = x[j] + s[j]; /* fma(x, 1, s) */
        }
}

/* x = exp(x * scale - m), l[j] = the sum of x[:,j] as dot(x, 1) by contract 3. x [n,w]; m, l [w]. */
static void exp_down(float *restrict l, float *restrict x, const float *restrict m, size_t n, size_t w,
                     float scale, bool normal)
{
    float hi[NR], lo[NR], s[NR];
    const size_t nb = (n + BLOCK - 1) / BLOCK;

    for (size_t j = 0; j < w; j++)
        hi[j] = lo[j] = 0.0f;
    for (size_t block = 0; block < nb; block++, x += BLOCK * w) {
        const size_t count = least(BLOCK, n - block * BLOCK);
        for (size_t j = 0; j < w; j++)
            s[j] = 0.0f;
        if (w == NR && normal)
            exp_block(s, x, m, count, NR, scale, true);
        else if (normal)
            exp_block(s, x, m, count, w, scale, true);
        else
            exp_block(s, x, m, count, w, scale, false);
        for (size_t j = 0; j < w; j++) {
            lo[j] = block % 16 ? lo[j] + s[j] : s[j];
            if (block % 16 == 15 && block + 1 < nb)
                hi[j] = block < 16 ? lo[j] : hi[j] + lo[j];
        }
    }
    for (size_t j = 0; j < w; j++)
        l[j] = nb > 16 ? hi[j] + lo[j] : lo[j];
}

/* Queries first..first+rows-1 (rows <= NR) of one head. y, q, v point at the head's first column; q and y at
 * query `first`. */
static void attend(float *y, const float *q, const float *v, size_t first, size_t rows, size_t Nk, size_t D,
                   size_t head, bool causal, const packed_head *kv, const attention_scratch *s)
{
    const float  scale = (float)(1.0 / sqrt((double)head));
    const size_t w = panel_width(rows), n = causal ? first + rows : Nk; /* keys that a query sees */
    float m[NR], low[NR], l[NR];
    bool  normal = true;

    pack_rows(s->queries, q, D, rows, w, head);
    for (size_t j = 0; j < w; j++) {
        m[j] = -INFINITY;
        low[j] = INFINITY;
    }
    for (size_t i = 0; i < n; i += MR) {
        const size_t count = least(MR, n - i);
        float *x = s->scores + i * w;
        multiply(x, w, kv->keys + i * head, head, s->queries, least(MR, Nk - i), w, head);
        for (size_t k = causal && first < i + count ? i : i + count; k < i + count; k++)
            for (size_t j = 0; j < w && first + j < k; j++)
                x[(k - i) * w + j] = -INFINITY; /* exp: +0, which changes only the sign of a zero: below */
        if (w == NR) /* a constant, so that the loop becomes whole registers */
            extremes_down(m, low, x, count, NR);
        else
            extremes_down(m, low, x, count, w);
    }
    for (size_t j = 0; j < w; j++)
        m[j] = m[j] * scale; /* rounding keeps order: the largest of the products */
    for (size_t j = 0; j < w; j++)
        normal &= low[j] * scale - m[j] >= EXP_NORMAL; /* false for NaN */
    exp_down(l, s->scores, m, n, w, scale, normal);
    for (size_t i = 0; i < head; i += MR)
        multiply(s->out + i * w, w, kv->values + i * (Nk + APART), Nk + APART, s->scores,
                 least(MR, head - i), w, n);
    if (causal) /* a chain that ends at -0 is +0 after a masked key: computed again without the masked */
        for (size_t i = 0; i < head; i++)
            for (size_t j = 0; j < rows; j++)
                if (s->out[i * w + j] == 0.0f)
                    s->out[i * w + j] = nn_dot(s->scores + j, w, v + i, D, first + j + 1);
    for (size_t i = 0; i < head; i++)
        for (size_t j = 0; j < w; j++)
            s->out[i * w + j] = s->out[i * w + j] / l[j];
    turn_matrix(y, D, s->out, w, head, rows);
}

static void attention(nn *c, float *y, const float *q, const float *k, const float *v,
                      size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
    const bool   worth = (double)B * (double)Nq * (double)Nk * (double)(heads * head) >= WORTH / 2;
    const size_t D = heads * head, mark = arena_mark(c->work), threads = worth ? (size_t)c->threads : 1;
    /* A head is one unit of work, and its thread packs it. If there are fewer than two heads a thread, a unit
     * is a part of a head's queries, and all heads are packed first. */
    size_t parts = 1;
    while (B * heads * parts < 2 * threads && Nq / (2 * parts) >= 2 * NR)
        parts *= 2;
    const size_t part = round_up((Nq + parts - 1) / parts, NR), units = B * heads * parts;
    const size_t team = least(threads, units);
    const size_t kv_each = head_floats(Nk, head), each = scratch_floats(Nk, head);
    float *kv = arena_bytes(c->work, parts > 1 ? B * heads : team, kv_each * sizeof(float));
    float *work = arena_bytes(c->work, team, each * sizeof(float));

    if (y && kv && work && Nk) {
        OMP(omp parallel num_threads((int)team))
        {
            if (parts > 1) {
                OMP(omp for schedule(dynamic))
                for (size_t u = 0; u < B * heads; u++) {
                    const packed_head p = place_head(kv + u * kv_each, Nk, head);
                    const size_t from = u / heads * Nk * D + u % heads * head;
                    pack_head(&p, k + from, v + from, Nk, D, head);
                }
            }
            OMP(omp for schedule(dynamic))
            for (size_t u = 0; u < units; u++) {
                const size_t b = u / (heads * parts), h = u / parts % heads, from = b * Nk * D + h * head;
                const size_t first = u % parts * part, end = least(first + part, Nq);
                const size_t me = (size_t)thread_number();
                const packed_head p = place_head(kv + (parts > 1 ? u / parts : me) * kv_each, Nk, head);
                const attention_scratch s = place_scratch(work + me * each, Nk, head);
                if (parts == 1)
                    pack_head(&p, k + from, v + from, Nk, D, head);
                for (size_t i = first; i < end; i += NR) {
                    const size_t at = (b * Nq + i) * D + h * head;
                    attend(y + at, q + at, v + from, i, least(NR, end - i), Nk, D, head, causal, &p, &s);
                }
            }
        }
    }
    arena_release(c->work, mark);
}

/* ---- norms ---- */

static double tree16(double *lane)
{
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static double sum16(const float *x, size_t n)
{
    double lane[16] = { 0 };
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++)
            lane[l] += (double)x[i + l];
    for (size_t l = 0; i + l < n; l++)
        lane[l] += (double)x[i + l];
    return tree16(lane);
}

static double sum16_sq(const float *x, size_t n, double mean)
{
    double lane[16] = { 0 };
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++) {
            const double d = (double)x[i + l] - mean;
            lane[l] += d * d;
        }
    for (size_t l = 0; i + l < n; l++) {
        const double d = (double)x[i + l] - mean;
        lane[l] += d * d;
    }
    return tree16(lane);
}

static void layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t M, size_t D, float eps)
{
    OMP(omp parallel for num_threads(c->threads) if (M * D >= WORTH / 16))
    for (size_t i = 0; i < M; i++) {
        const float *from = x + i * D;
        float       *to = y + i * D;
        const double mean = sum16(from, D) / (double)D;
        const double var = sum16_sq(from, D, mean) / (double)D;
        const float  m = (float)mean, r = (float)(1.0 / sqrt(var + (double)eps));
        for (size_t j = 0; j < D; j++)
            to[j] = fma32((from[j] - m) * r, gamma[j], beta[j]);
    }
    (void)c;
}

enum { SPAN = 64, NORMED = 4096 }; /* channels summed together; values normalised at a time */

/* sum[j] = sum over pixels of x[p,j], or of (x[p,j] - mean[j])^2; x [P,n], rows C apart, n <= SPAN. */
static void channel_sums(double *restrict sum, const float *x, const double *restrict mean,
                         size_t P, size_t C, size_t n)
{
    double acc[SPAN];
    for (size_t j = 0; j < n; j++)
        acc[j] = 0.0;
    for (size_t p = 0; p < P; p++, x += C)
        if (mean)
            for (size_t j = 0; j < n; j++) {
                const double d = (double)x[j] - mean[j];
                acc[j] += d * d;
            }
        else
            for (size_t j = 0; j < n; j++)
                acc[j] += (double)x[j];
    for (size_t j = 0; j < n; j++)
        sum[j] = acc[j];
}

/* Channels from..to-1, whole groups of `width`: mean[j] and r[j] = 1 / sqrt(variance + eps) of the channel's
 * group, as floats. x [P,C]. */
static void group_statistics(double *mean, double *r, const float *x, size_t P, size_t C,
                             size_t from, size_t to, size_t width, float eps)
{
    const double n = (double)(P * width);
    double *sum = r; /* until it is known */

    for (int pass = 0; pass < 2; pass++) {
        for (size_t j = from; j < to; j += SPAN)
            channel_sums(sum + j, x + j, pass ? mean + j : NULL, P, C, least(SPAN, to - j));
        for (size_t g = from; g < to; g += width) {
            double total = 0.0;
            for (size_t j = g; j < g + width; j++)
                total += sum[j];
            for (size_t j = g; j < g + width; j++)
                (pass ? r : mean)[j] = total / n; /* in the end r holds variances */
        }
    }
    for (size_t j = from; j < to; j++) {
        mean[j] = (double)(float)mean[j];
        r[j] = (double)(float)(1.0 / sqrt(r[j] + (double)eps));
    }
}

/* y = (x - mean) r gamma + beta of n pixels [n,C], then silu if asked. */
static void normalise(float *y, const float *x, const float *gamma, const float *beta, const double *mean,
                      const double *r, size_t n, size_t C, bool silu)
{
    float m[SPAN], s[SPAN];

    for (size_t j0 = 0; j0 < C; j0 += SPAN) {
        const size_t span = least(SPAN, C - j0);
        const float *g = gamma + j0, *b = beta + j0;
        for (size_t j = 0; j < span; j++) {
            m[j] = (float)mean[j0 + j];
            s[j] = (float)r[j0 + j];
        }
        for (size_t p = 0; p < n; p++) {
            const float *in = x + p * C + j0;
            float       *out = y + p * C + j0;
            for (size_t j = 0; j < span; j++)
                out[j] = fma32((in[j] - m[j]) * s[j], g[j], b[j]);
        }
    }
    for (size_t i = 0; silu && i < n * C; i++) /* pixels lie side by side: whole registers but for the end */
        y[i] = silu32(y[i]);
}

static void group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t B, size_t P, size_t C, size_t G, float eps, bool silu)
{
    const size_t mark = arena_mark(c->work), width = C / G;
    double *mean = arena_bytes(c->work, B * C, 2 * sizeof(double)), *r = mean ? mean + B * C : NULL;
    const size_t run = (SPAN + width - 1) / width, runs = (G + run - 1) / run; /* groups in a unit of work */
    const size_t piece = NORMED / C + 1, pieces = (P + piece - 1) / piece;     /* then a unit is a piece */

    if (y && mean) {
        OMP(omp parallel num_threads(c->threads) if (B * P * C >= WORTH / 16))
        {
            OMP(omp for)
            for (size_t u = 0; u < B * runs; u++) {
                const size_t b = u / runs, from = u % runs * run * width, to = least(C, from + run * width);
                group_statistics(mean + b * C, r + b * C, x + b * P * C, P, C, from, to, width, eps);
            }
            OMP(omp for)
            for (size_t u = 0; u < B * pieces; u++) {
                const size_t b = u / pieces, p = u % pieces * piece, at = (b * P + p) * C;
                normalise(y + at, x + at, gamma, beta, mean + b * C, r + b * C, least(piece, P - p), C,
                          silu);
            }
        }
    }
    arena_release(c->work, mark);
}

/* The largest of n > 0 values: lanes first, since the order does not matter. */
static float largest(const float *x, size_t n)
{
    float lane[32], m = x[0];
    for (int l = 0; l < 32; l++)
        lane[l] = m;
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int l = 0; l < 32; l++)
            lane[l] = x[i + (size_t)l] > lane[l] ? x[i + (size_t)l] : lane[l];
    for (; i < n; i++)
        m = x[i] > m ? x[i] : m;
    for (int l = 0; l < 32; l++)
        m = lane[l] > m ? lane[l] : m;
    return m;
}

static void softmax(nn *c, float *y, const float *x, size_t M, size_t N)
{
    if (!N)
        return;
    OMP(omp parallel for num_threads(c->threads) if (M * N >= WORTH / 16))
    for (size_t i = 0; i < M; i++) {
        const float *from = x + i * N, m = largest(from, N);
        float       *to = y + i * N;
        for (size_t j = 0; j < N; j++)
            to[j] = exp32(from[j] - m);
        const float sum = (float)sum16(to, N);
        for (size_t j = 0; j < N; j++)
            to[j] = to[j] / sum;
    }
    (void)c;
}

/* ---- element by element ---- */

/* One function of number.h over n values, in pieces that threads share. */
#define ELEMENTWISE(name, f)                                                        \
    static void name(nn *c, float *y, const float *x, size_t n)                     \
    {                                                                               \
        const size_t piece = 4096, pieces = (n + piece - 1) / piece;                \
        OMP(omp parallel for num_threads(c->threads) if (n >= WORTH / 16))          \
        for (size_t u = 0; u < pieces; u++)                                         \
            for (size_t i = u * piece; i < least(n, (u + 1) * piece); i++)          \
                y[i] = f(x[i]);                                                     \
        (void)c;                                                                    \
    }
ELEMENTWISE(exponential, exp32)
ELEMENTWISE(silu, silu32)
ELEMENTWISE(gelu, gelu32)
ELEMENTWISE(quick_gelu, quick_gelu32)

static void geglu(nn *c, float *y, const float *x, size_t M, size_t D)
{
    OMP(omp parallel for num_threads(c->threads) if (M * D >= WORTH / 16))
    for (size_t i = 0; i < M; i++) {
        const float *restrict value = x + 2 * i * D, *restrict gate = value + D;
        float *restrict to = y + i * D;
        for (size_t j = 0; j < D; j++)
            to[j] = value[j] * gelu32(gate[j]);
    }
    (void)c;
}

/* ---- training ---- */

/* y[j] = sum of val[k] x[idx[k] ld + j], first <= k < first + count, one chain a column from +0: a block of
 * contract 3, count <= 128. A strip is the columns whose sums stay in registers: macros, for the reason that
 * TILE is one. */
enum { PIECE = 2 * LANES, STRIP = 8 * PIECE, AHEAD = 4 };
#define ADD(i, nr)                                                                   \
    for (int j = 0; j < nr; j++)                                                     \
        s[(i) * nr + j] = fma32(v, row[(i) * nr + j], s[(i) * nr + j]);
#define KEEP(i, nr) for (int j = 0; j < nr; j++) y[(i) * nr + j] = s[(i) * nr + j];
static inline void fetch_row(const float *row)
{
#if defined(__GNUC__)
    for (int j = 0; j < STRIP; j += 16)
        __builtin_prefetch(row + j);
#else
    (void)row;
#endif
}
static void strip(float *restrict y, const float *restrict x, size_t ld, const uint32_t *idx,
                  const float *val, size_t first, size_t count)
{
    float s[STRIP];
    const size_t end = first + count;
    EACH8(ZERO, PIECE)
    for (size_t k = first; k < end; k++) {
        const float *row = x + (idx ? idx[k] : k) * ld;
        const float v = val ? val[k] : 1.0f;
        if (idx && k + AHEAD < end)
            fetch_row(x + idx[k + AHEAD] * ld);
        EACH8(ADD, PIECE)
    }
    EACH8(KEEP, PIECE)
}

/* The same for w < STRIP columns. */
static void narrow_strip(float *restrict y, const float *restrict x, size_t ld, const uint32_t *idx,
                         const float *val, size_t first, size_t count, size_t w)
{
    for (size_t j = 0; j < w; j++)
        y[j] = 0.0f;
    for (size_t k = first; k < first + count; k++) {
        const float *row = x + (idx ? idx[k] : k) * ld;
        const float v = val ? val[k] : 1.0f;
        for (size_t j = 0; j < w; j++)
            y[j] = fma32(v, row[j], y[j]);
    }
}

static void sparse_sum(float *y, const float *x, size_t ld, const uint32_t *idx, const float *val,
                       size_t count, size_t n)
{
    float s[STRIP], lo[STRIP], hi[STRIP];
    const size_t nb = (count + BLOCK - 1) / BLOCK;
    for (size_t j = 0; j < n; j += STRIP) {
        const size_t w = least(STRIP, n - j);
        if (nb <= 1) {
            if (w == STRIP)
                strip(y + j, x + j, ld, idx, val, 0, count);
            else
                narrow_strip(y + j, x + j, ld, idx, val, 0, count, w);
            continue;
        }
        for (size_t block = 0; block < nb; block++) {
            const size_t k = block * BLOCK;
            if (w == STRIP)
                strip(s, x + j, ld, idx, val, k, least(BLOCK, count - k));
            else
                narrow_strip(s, x + j, ld, idx, val, k, least(BLOCK, count - k), w);
            for (size_t i = 0; i < w; i++)
                lo[i] = block % 16 ? lo[i] + s[i] : s[i];
            for (size_t i = 0; block % 16 == 15 && block + 1 < nb && i < w; i++)
                hi[i] = block < 16 ? lo[i] : hi[i] + lo[i];
        }
        for (size_t i = 0; i < w; i++)
            y[j + i] = nb > 16 ? hi[i] + lo[i] : lo[i];
    }
}

/* The sum of sixteen floats, in tree16's order. */
static inline float tree16f(float *lane)
{
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

/* out[i] = dot16(a, row[i]): four rows at a time, since each step of a chain waits for the one before. */
static void dots4(float *out, const float *a, const float *const row[4], size_t n)
{
    const float *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3];
    float s[4 * 16];
    size_t at = 0;
    EACH4(ZERO, 16)
    for (; at + 16 <= n; at += 16) {
#define DOT(i)                                                                       \
    for (int l = 0; l < 16; l++)                                                     \
        s[i * 16 + l] = fma32(a[at + (size_t)l], r##i[at + (size_t)l], s[i * 16 + l]);
        DOT(0) DOT(1) DOT(2) DOT(3)
#undef DOT
    }
    for (int i = 0; i < 4; i++) {
        for (size_t l = 0; at + l < n; l++)
            s[i * 16 + (int)l] = fma32(a[at + l], row[i][at + l], s[i * 16 + (int)l]);
        out[i] = tree16f(s + i * 16);
    }
}

static void sparse_dot(float *out, const float *a, const float *x, size_t ld, const uint32_t *idx,
                       size_t count, size_t n)
{
    for (size_t k = 0; k < count; k += 4) {
        const float *row[4];
        float y[4];
        for (size_t i = 0; i < 4; i++)
            row[i] = x + idx[least(k + i, count - 1)] * ld;
        dots4(y, a, row, n);
        for (size_t i = 0; i < least(4, count - k); i++)
            out[k + i] = y[i];
    }
}

static double sum_squares(const float *x, const double *mean, size_t n)
{
    if (!mean)
        return sum16_sq(x, n, 0.0);
    double lane[16] = { 0 };
    size_t j = 0;
    for (; j + 16 <= n; j += 16)
        for (size_t l = 0; l < 16; l++) {
            const double d = (double)x[j + l] - mean[j + l];
            lane[l] += d * d;
        }
    for (size_t l = 0; j + l < n; l++) {
        const double d = (double)x[j + l] - mean[j + l];
        lane[l] += d * d;
    }
    return tree16(lane);
}

static void unit_row(float *w, size_t n)
{
    const float norm = (float)sqrt(sum16_sq(w, n, 0.0)) + FLT_EPSILON;
    for (size_t j = 0; j < n; j++)
        w[j] = w[j] / norm;
}

static void project(float *restrict g, const float *restrict w, float scale, size_t n)
{
    const uint32_t zero = 0;
    float along;
    for (size_t j = 0; j < n; j++)
        g[j] = scale * g[j];
    sparse_dot(&along, g, w, n, &zero, 1, n);
    for (size_t j = 0; j < n; j++)
        g[j] = fma32(-along, w[j], g[j]);
}

static void adam_row(float *restrict p, float *restrict m, float *restrict v, const float *restrict g,
                     float scale, const adam *a, size_t n)
{
    const adam k = *a;
    for (size_t j = 0; j < n; j++)
        adam32(&p[j], &m[j], &v[j], scale * g[j], k.rate1, k.beta2, k.rate2, k.step, k.root, k.eps);
}

enum { SCAN = 32 }; /* values looked at together: most such groups hold none that is wanted */

static size_t at_least(uint32_t *restrict idx, float *restrict val, const float *restrict z, size_t n,
                       float bound, uint32_t first)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i += SCAN) {
        const size_t w = least(SCAN, n - i);
        int any = w < SCAN;
        for (size_t j = 0; w == SCAN && j < SCAN; j++)
            any |= z[i + j] >= bound;
        for (size_t j = 0; any && j < w; j++)
            if (z[i + j] >= bound) {
                idx[count] = first + (uint32_t)(i + j);
                val[count++] = z[i + j];
            }
    }
    return count;
}

static size_t count_at_least(const float *z, size_t n, float bound)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i += 4096) {
        const size_t end = least(n, i + 4096);
        int32_t part = 0;
        for (size_t j = i; j < end; j++)
            part += z[j] >= bound;
        count += (size_t)part;
    }
    return count;
}

/* ---- how fast ---- */

/* Multiply-adds in registers alone: a processor does no more a second. Returns how many were done. */
static double peak(size_t n, float *sink)
{
    enum { CHAINS = MR < 8 ? 4 : 8, WIDTH = MR < 8 ? 16 : NR };
    float s[CHAINS][WIDTH];
    const float x = sink[0], y = sink[1];
    for (int i = 0; i < CHAINS; i++)
        for (int j = 0; j < WIDTH; j++)
            s[i][j] = sink[j];
#define CHAIN(i) for (int j = 0; j < WIDTH; j++) s[i][j] = fma32(s[i][j], x, y);
    for (size_t k = 0; k < n; k++) {
        CHAIN(0) CHAIN(1) CHAIN(2) CHAIN(3)
#if ISA == IS_avx512 || ISA == IS_neon
        CHAIN(4) CHAIN(5) CHAIN(6) CHAIN(7)
#endif
    }
    for (int i = 0; i < CHAINS; i++)
        for (int j = 0; j < WIDTH; j++)
            sink[j] += s[i][j];
    return (double)n * (double)(CHAINS * WIDTH);
}

/* The register tile on operands that are packed and near. a and b hold 2048 * 32 floats each. */
static double tile(size_t n, const float *a, const float *b, float *sink)
{
    for (size_t i = 0; i < n; i++)
        multiply(sink, NR, a, CHUNK + APART, b, MR, NR, CHUNK);
    return (double)n * (double)(CHUNK * MR * NR);
}

const nn_kernels JOIN(nn_kernels_, NN_ISA) = {
    STRING(NN_ISA), linear, conv2d, attention, layer_norm, group_norm, softmax, exponential, silu, gelu,
    quick_gelu, geglu, packed_size, pack, sparse_sum, sparse_dot, sum_squares, unit_row, project, adam_row,
    at_least, count_at_least, peak, tile
};
