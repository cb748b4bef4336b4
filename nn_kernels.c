/* nn_kernels.c: the fast paths, compiled once for each instruction set with -DNN_ISA=scalar, sse2, avx2, avx512, neon.
 *
 *   y = x W^T:   x --pack--> tiles [k][12]  \
 *                                            > register tile of 12 x 32 chains of fma --> lo --> y (+ bias)
 *                W --pack--> panels [k][32] /
 *
 * The same loops for every instruction set, in plain C: what differs is the size of the tile and the compiler's flags.
 * Lanes run over outputs, never over k, so each output is contract 3's chain, whatever the tile.
 * Not here: what the bits must be (nn.c, docs/contract.md). Letters: nn.h; a tile has MR rows, a panel NR columns. */
#include "nn_kernels.h"
#include "nn_math.h"

#ifdef _OPENMP
#include <omp.h>
#define OMP(text) _Pragma(#text)
#else
#define OMP(text)
#endif

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
#define ISA JOIN(IS_, NN_ISA)

/* Tiles that gcc keeps in registers (measured: docs/contract.md, section 10); NARROW: a last panel of few columns. */
#if ISA == IS_avx512
enum { MR = 12, NR = 32, NARROW = 16 };
#elif ISA == IS_avx2
enum { MR = 4, NR = 24, NARROW = 24 };
#elif ISA == IS_neon
enum { MR = 8, NR = 8, NARROW = 8 };
#else
enum { MR = 4, NR = 8, NARROW = 8 };
#endif

enum {
    BLOCK = 128, CHUNK = 2048,       /* contract 3: a chain, and sixteen of them */
    GROUP = 4,                       /* tiles that share a panel while it is in the second-level cache */
    SEGMENT = 128,                   /* of a row, transposed at a time */
    PACKED = 8 << 20,                /* floats of x, and of W, packed at a time */
    WORTH = 1 << 19                  /* multiply-adds (or 16 times as many elements) that pay for waking threads */
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* ---- the tile ---- */

/* lo[i,j] += sum of a[k,i] * b[k,j], k < n <= 128, one chain from +0. a [n,mr], b [n,nr], lo [mr,nr].
 * A macro, because compilers hold s in registers only when its sizes are constants and its rows are spelled out. */
#define TILE(name, mr, nr, UPDATE)                                                                   \
    static void name(size_t n, const float *restrict a, const float *restrict b, float *restrict lo) \
    {                                                                                                \
        float s[mr][nr];                                                                             \
        for (int i = 0; i < mr; i++)                                                                 \
            for (int j = 0; j < nr; j++)                                                             \
                s[i][j] = 0.0f;                                                                      \
        for (size_t k = 0; k < n; k++, a += mr, b += nr) {                                           \
            UPDATE(mr, nr)                                                                           \
        }                                                                                            \
        for (int i = 0; i < mr; i++)                                                                 \
            for (int j = 0; j < nr; j++)                                                             \
                lo[i * nr + j] += s[i][j];                                                           \
    }
#define ROW(i, nr) for (int j = 0; j < nr; j++) s[i][j] = fma32(a[i], b[j], s[i][j]);
#define ROWS4(mr, nr) ROW(0, nr) ROW(1, nr) ROW(2, nr) ROW(3, nr)
#define ROWS8(mr, nr) ROWS4(mr, nr) ROW(4, nr) ROW(5, nr) ROW(6, nr) ROW(7, nr)
#define ROWS12(mr, nr) ROWS8(mr, nr) ROW(8, nr) ROW(9, nr) ROW(10, nr) ROW(11, nr)
/* For a panel of one register: lanes outside, rows inside. */
#define COLUMNS(mr, nr)                      \
    for (int j = 0; j < nr; j++)             \
        for (int i = 0; i < mr; i++)         \
            s[i][j] = fma32(a[i], b[j], s[i][j]);

typedef void tile_function(size_t n, const float *restrict a, const float *restrict b, float *restrict lo);

/* Tiles of 4, 8, ... MR rows by NR columns, then by NARROW columns. */
#if ISA == IS_avx512
TILE(tile_4, 4, 32, ROWS4)
TILE(tile_8, 8, 32, ROWS8)
TILE(tile_12, 12, 32, ROWS12)
TILE(narrow_4, 4, 16, COLUMNS)
TILE(narrow_8, 8, 16, COLUMNS)
TILE(narrow_12, 12, 16, COLUMNS)
static tile_function *const tiles[2][MR / 4] = { { tile_4, tile_8, tile_12 }, { narrow_4, narrow_8, narrow_12 } };
#elif ISA == IS_neon
TILE(tile_4, 4, 8, ROWS4)
TILE(tile_8, 8, 8, ROWS8)
static tile_function *const tiles[2][MR / 4] = { { tile_4, tile_8 }, { tile_4, tile_8 } };
#elif ISA == IS_avx2
TILE(tile_4, 4, 24, ROWS4)
static tile_function *const tiles[2][MR / 4] = { { tile_4 }, { tile_4 } };
#else
TILE(tile_4, 4, 8, ROWS4)
static tile_function *const tiles[2][MR / 4] = { { tile_4 }, { tile_4 } };
#endif

/* lo = the left fold over n <= 2048 terms' blocks. -0 + s is s, whatever s is, so -0 stands for "nothing yet". */
static void fold(size_t n, const float *a, const float *b, float *lo, size_t h, size_t w)
{
    tile_function *const run = tiles[w != NR][h / 4 - 1];

    for (size_t i = 0; i < h * w; i++)
        lo[i] = -0.0f;
    for (size_t k = 0; k < n; k += BLOCK)
        run(n - k < BLOCK ? n - k : BLOCK, a + k * h, b + k * w, lo);
}

/* Rows of a tile that holds `rows` of them, columns of a panel that holds `columns`. */
static size_t tile_height(size_t rows) { return rows < MR ? round_up(rows, 4) : MR; }
static size_t panel_width(size_t columns) { return columns <= NARROW ? NARROW : NR; }

/* ---- packing ---- */

static const float zeros[SEGMENT];

/* to[k,0..3] = a[k], b[k], c[k], d[k], k < 4; rows of to `stride` apart. */
static void turn_four(float *restrict to, size_t stride, const float *restrict a, const float *restrict b,
                      const float *restrict c, const float *restrict d)
{
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define TURN_VECTORS 1
#endif
#endif
#ifdef TURN_VECTORS /* four times as fast: no compiler finds these shuffles in the loop below */
    typedef float four __attribute__((vector_size(16)));
    four v[4], w[4];
    memcpy(&v[0], a, sizeof(four));
    memcpy(&v[1], b, sizeof(four));
    memcpy(&v[2], c, sizeof(four));
    memcpy(&v[3], d, sizeof(four));
    w[0] = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
    w[1] = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    w[2] = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    w[3] = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    for (int k = 0; k < 4; k++) {
        v[k] = k & 1 ? __builtin_shufflevector(w[k / 2 * 2], w[k / 2 * 2 + 1], 2, 3, 6, 7)
                     : __builtin_shufflevector(w[k / 2 * 2], w[k / 2 * 2 + 1], 0, 1, 4, 5);
        memcpy(to + (size_t)k * stride, &v[k], sizeof(four));
    }
#else
    for (int k = 0; k < 4; k++, to += stride) {
        to[0] = a[k];
        to[1] = b[k];
        to[2] = c[k];
        to[3] = d[k];
    }
#endif
}

/* dst[k,r] = row[r][k], r < rows (a multiple of 4), k < n <= SEGMENT. dst [n,rows]. */
static void transpose(float *restrict dst, const float *const *row, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r += 4) {
        const float *a = row[r], *b = row[r + 1], *c = row[r + 2], *d = row[r + 3];
        float *to = dst + r;
        size_t k = 0;
        for (; k + 4 <= n; k += 4, to += 4 * rows)
            turn_four(to, rows, a + k, b + k, c + k, d + k);
        for (; k < n; k++, to += rows) {
            to[0] = a[k];
            to[1] = b[k];
            to[2] = c[k];
            to[3] = d[k];
        }
    }
}

/* n floats, n <= NR; whole registers where that is all: a copy of unknown length costs more than a tile's row. */
static void copy_row(float *restrict y, const float *restrict x, size_t n)
{
    size_t j = 0;
    for (; j + NARROW <= n; j += NARROW)
        memcpy(y + j, x + j, NARROW * sizeof *y);
    for (; j < n; j++)
        y[j] = x[j];
}

/* Elements at..at+n-1 of w, widened: nn_widen, in lanes. */
static void widen(float *restrict y, weight w, size_t at, size_t n)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const unsigned char *p = w.data + at * (w.type == DT_F32 ? 4 : 2);
    if (w.type == DT_F32) {
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

/* The left matrix, M rows of K: plain rows `stride` apart, or (conv) the patches under the output's pixels. */
typedef struct left {
    const float *x;
    size_t stride;
    const conv_shape *conv;
    size_t Wo, pixels; /* conv: the output's width, and pixels an image */
} left;

/* The right matrix, N rows of K = taps * ci: weights [N,ci,taps], k running over (tap, ci). Or plain floats, stride apart. */
typedef struct right {
    weight w;
    size_t taps, ci;
    const float *x;
    size_t stride;
} right;

/* Rows of x as a tile [K,h]; rows past `rows` are zeros. */
static void pack_rows(float *dst, const float *x, size_t stride, size_t rows, size_t h, size_t K)
{
    const float *row[NR > MR ? NR : MR];
    for (size_t k = 0; k < K; k += SEGMENT) {
        for (size_t r = 0; r < h; r++)
            row[r] = r < rows ? x + r * stride + k : zeros;
        transpose(dst + k * h, row, h, least(SEGMENT, K - k));
    }
}

/* Patches from..from+rows-1 as a tile [K,h]: for each tap the pixel under it, zeros outside the image. */
static void pack_patches(float *dst, const left *L, size_t from, size_t rows, size_t h)
{
    const conv_shape *s = L->conv;
    const float *image[MR], *row[MR];
    size_t top[MR], edge[MR];

    for (size_t r = 0; r < rows; r++) {
        const size_t pixel = (from + r) % L->pixels;
        image[r] = L->x + (from + r) / L->pixels * s->H * s->W * s->ci;
        top[r] = pixel / L->Wo * s->stride - s->pad_before; /* below zero wraps, and is outside */
        edge[r] = pixel % L->Wo * s->stride - s->pad_before;
    }
    for (size_t ky = 0; ky < s->k; ky++)
        for (size_t kx = 0; kx < s->k; kx++)
            for (size_t c = 0; c < s->ci; c += SEGMENT) {
                const size_t n = least(SEGMENT, s->ci - c);
                for (size_t r = 0; r < h; r++) {
                    const bool inside = r < rows && top[r] + ky < s->H && edge[r] + kx < s->W;
                    row[r] = inside ? image[r] + ((top[r] + ky) * s->W + edge[r] + kx) * s->ci + c : zeros;
                }
                transpose(dst, row, h, n);
                dst += n * h;
            }
}

/* Columns from..from+columns-1 of W^T as a panel [K,w]; columns past that are zeros. */
static void pack_weights(float *dst, const right *R, size_t from, size_t columns, size_t w)
{
    float wide[NR][SEGMENT], turned[SEGMENT * NR];
    const float *row[NR];
    const size_t K = R->taps * R->ci;

    for (size_t j = 0; j < w; j++)
        row[j] = j < columns ? wide[j] : zeros;
    for (size_t q = 0; q < K; q += SEGMENT) {
        const size_t n = least(SEGMENT, K - q);
        for (size_t j = 0; j < columns; j++)
            widen(wide[j], R->w, (from + j) * K + q, n);
        if (R->taps == 1) {
            transpose(dst + q * w, row, w, n);
            continue;
        }
        transpose(turned, row, w, n);
        size_t tap = q % R->taps, i = q / R->taps; /* the file's order is (ci, tap) */
        for (size_t k = 0; k < n; k++) {
            copy_row(dst + (tap * R->ci + i) * w, turned + k * w, w);
            if (++tap == R->taps) {
                tap = 0;
                i++;
            }
        }
    }
}

/* ---- products of packed matrices ---- */

/* A tile's lo into y: one more chunk of k on top of those before; the bias after the last. */
static void store(float *restrict y, size_t ldy, float *restrict lo, size_t rows, size_t columns, size_t w, bool first,
                  const float *restrict bias)
{
    for (size_t i = 0; i < rows; i++, y += ldy, lo += w) {
        if (!first)
            for (size_t j = 0; j < columns; j++)
                lo[j] = y[j] + lo[j];
        if (bias)
            for (size_t j = 0; j < columns; j++)
                y[j] = lo[j] + bias[j];
        else
            copy_row(y, lo, columns);
    }
}

/* y [M,N] = a b, a: M rows in tiles [K,MR], b: one panel [K,w] of N columns. */
static void multiply(float *y, size_t ldy, const float *a, const float *b, size_t M, size_t N, size_t K, const float *bias)
{
    float lo[MR * NR];
    const size_t w = panel_width(N);

    for (size_t k = 0; k < K; k += CHUNK) {
        const size_t n = least(CHUNK, K - k);
        for (size_t i = 0; i < M; i += MR) {
            const size_t rows = least(MR, M - i), h = tile_height(rows);
            fold(n, a + i * K + k * h, b + k * w, lo, h, w);
            store(y + i * ldy, ldy, lo, rows, N, w, k == 0, k + n == K ? bias : NULL);
        }
    }
}

static void pack_left(float *dst, const left *L, size_t from, size_t rows, size_t K)
{
    const size_t h = tile_height(rows);
    if (L->conv)
        pack_patches(dst, L, from, rows, h);
    else
        pack_rows(dst, L->x + from * L->stride, L->stride, rows, h, K);
}

static void pack_right(float *dst, const right *R, size_t from, size_t columns, size_t K)
{
    const size_t w = panel_width(columns);
    if (R->x)
        pack_rows(dst, R->x + from * R->stride, R->stride, columns, w, K);
    else
        pack_weights(dst, R, from, columns, w);
}

/* As many rows of K as are packed at a time, in whole tiles. */
static size_t rows_at_once(size_t n, size_t K, size_t tile)
{
    const size_t fit = PACKED / (K ? K : 1) / tile * tile;
    return least(round_up(n, tile), fit > tile ? fit : tile);
}

/* y [M,N] = L R^T + bias. Packs a block of R and a block of L, all threads together, then multiplies, likewise. */
static void gemm(nn *c, float *y, const left *L, const right *R, const float *bias, size_t M, size_t N, size_t K)
{
    const size_t Mc = rows_at_once(M, K, MR), Nc = rows_at_once(N, K, NR), mark = arena_mark(c->work);
    float *a = arena_bytes(c->work, Mc, K * sizeof(float)), *b = arena_bytes(c->work, Nc, K * sizeof(float));
    const bool worth = (double)M * (double)N * (double)K >= WORTH;

    (void)worth;
    if (y && a && b) {
        if (K == 0)
            for (size_t i = 0; i < M * N; i++)
                y[i] = bias ? 0.0f + bias[i % N] : 0.0f;
        OMP(omp parallel num_threads(c->threads) if (worth))
        for (size_t j0 = 0; j0 < N && K; j0 += Nc)
            for (size_t i0 = 0; i0 < M; i0 += Mc) {
                const size_t m = least(Mc, M - i0), n = least(Nc, N - j0);
                const size_t row_tiles = (m + MR - 1) / MR, panels = (n + NR - 1) / NR;
                const size_t fresh = i0 == 0 ? panels : 0; /* b is packed once for all rows, */
                const size_t fresh_rows = j0 == 0 || Mc < M ? row_tiles : 0; /* and a once if all of it fits */
                const size_t group = row_tiles * panels / GROUP >= 4 * (size_t)c->threads ? GROUP : 1;
                const size_t groups = (row_tiles + group - 1) / group;

                if (i0 + j0 > 0) { /* the blocks packed before are still being read */
                    OMP(omp barrier)
                }
                OMP(omp for schedule(dynamic))
                for (size_t u = 0; u < fresh + fresh_rows; u++) {
                    if (u < fresh)
                        pack_right(b + u * NR * K, R, j0 + u * NR, least(NR, n - u * NR), K);
                    else
                        pack_left(a + (u - fresh) * MR * K, L, i0 + (u - fresh) * MR, least(MR, m - (u - fresh) * MR), K);
                }
                OMP(omp for schedule(dynamic) nowait)
                for (size_t u = 0; u < groups * panels; u++) {
                    const size_t i = u / panels * group * MR, j = u % panels * NR;
                    multiply(y + (i0 + i) * N + j0 + j, N, a + i * K, b + j * K, least(group * MR, m - i), least(NR, n - j), K,
                             bias ? bias + j0 + j : NULL);
                }
            }
    }
    arena_release(c->work, mark);
}

static void linear(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N)
{
    const left  L = { x, K, NULL, 0, 0 };
    const right R = { W, 1, K, NULL, 0 };
    gemm(c, y, &L, &R, bias, M, N, K);
}

static void conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s)
{
    const size_t Wo = conv_out(s, s->W), pixels = conv_out(s, s->H) * Wo, taps = s->k * s->k;
    const left   L = { x, 0, s, Wo, pixels };
    const right  R = { W, taps, s->ci, NULL, 0 };
    gemm(c, y, &L, &R, bias, s->B * pixels, s->co, taps * s->ci);
}

/* ---- attention ---- */

/* Rows, or columns, of e whose sum is taken at a time: dot(e, 1) by contract 3, for the h rows of a tile [n,h]. */
static void sum_rows(float *l, const float *tile, size_t n, size_t h)
{
    float hi[MR], lo[MR], s[MR];
    const size_t nb = (n + BLOCK - 1) / BLOCK;

    for (size_t r = 0; r < h; r++)
        hi[r] = lo[r] = 0.0f;
    for (size_t block = 0; block < nb; block++) {
        const size_t count = least(BLOCK, n - block * BLOCK);
        for (size_t r = 0; r < h; r++)
            s[r] = 0.0f;
        for (size_t k = 0; k < count; k++, tile += h)
            for (size_t r = 0; r < h; r++)
                s[r] = tile[r] + s[r]; /* fma(e, 1, s) */
        for (size_t r = 0; r < h; r++) {
            lo[r] = block % 16 ? lo[r] + s[r] : s[r];
            if (block % 16 == 15 && block + 1 < nb)
                hi[r] = block < 16 ? lo[r] : hi[r] + lo[r];
        }
    }
    for (size_t r = 0; r < h; r++)
        l[r] = nb > 16 ? hi[r] + lo[r] : lo[r];
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

/* x = exp(x * scale - max(x * scale)), in place. */
static void exp_row(float *restrict x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * scale;
    const float m = largest(x, n);
    for (size_t i = 0; i < n; i++)
        x[i] = exp32(x[i] - m);
}

/* What one thread needs for one head: keys and values as panels, and for QUERIES queries tiles, scores, scores' tiles. */
enum { QUERIES = MR * GROUP };
typedef struct attention_scratch { float *keys, *values, *queries, *scores, *tiles; } attention_scratch;

/* Queries from..from+rows-1 (rows <= QUERIES) of one head against its first n keys. Pointers at the head's first column. */
static void attend(float *y, const float *q, size_t rows, size_t n, size_t D, size_t head, const attention_scratch *s, size_t Nk)
{
    const float scale = (float)(1.0 / sqrt((double)head));
    float l[QUERIES];

    for (size_t i = 0; i < rows; i += MR)
        pack_rows(s->queries + i * head, q + i * D, D, least(MR, rows - i), tile_height(least(MR, rows - i)), head);
    for (size_t j = 0; j < n; j += NR) /* a panel's width is what it was packed with, from all Nk keys */
        multiply(s->scores + j, Nk, s->queries, s->keys + j * head, rows, least(NR, Nk - j), head, NULL);
    for (size_t i = 0; i < rows; i++)
        exp_row(s->scores + i * Nk, n, scale);
    for (size_t i = 0; i < rows; i += MR) {
        const size_t h = tile_height(least(MR, rows - i));
        pack_rows(s->tiles + i * n, s->scores + i * Nk, Nk, least(MR, rows - i), h, n);
        sum_rows(l + i, s->tiles + i * n, n, h);
    }
    for (size_t j = 0; j < head; j += NR)
        multiply(y + j, D, s->tiles, s->values + j * Nk, rows, least(NR, head - j), n, NULL);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < head; j++)
            y[i * D + j] = y[i * D + j] / l[i];
}

/* Keys [Nk,head] as panels of keys, values [Nk,head] as panels of columns (they are k-major already). */
static void pack_head(const attention_scratch *s, const float *k, const float *v, size_t Nk, size_t D, size_t head)
{
    for (size_t j = 0; j < Nk; j += NR)
        pack_rows(s->keys + j * head, k + j * D, D, least(NR, Nk - j), panel_width(least(NR, Nk - j)), head);
    for (size_t j = 0; j < head; j += NR) {
        const size_t columns = least(NR, head - j), w = panel_width(columns);
        float *to = s->values + j * Nk;
        for (size_t i = 0; i < Nk; i++, to += w) {
            memcpy(to, v + i * D + j, columns * sizeof *to);
            memset(to + columns, 0, (w - columns) * sizeof *to);
        }
    }
}

static void attention(nn *c, float *y, const float *q, const float *k, const float *v,
                      size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
    const size_t D = heads * head, mark = arena_mark(c->work), threads = (size_t)c->threads;
    const size_t each = round_up(Nk, NR) * head + round_up(head, NR) * Nk + QUERIES * (head + 2 * Nk);
    float *work = arena_bytes(c->work, threads, each * sizeof(float));
    /* A head is one unit of work, or, if there are fewer than two a thread, each of its parts. */
    size_t parts = 1;
    while (B * heads * parts < 2 * threads && Nq / (2 * parts) >= 2 * QUERIES)
        parts *= 2;
    const size_t per = causal ? 1 : QUERIES, part = round_up((Nq + parts - 1) / parts, QUERIES);
    const bool   worth = (double)B * (double)Nq * (double)Nk * (double)D >= WORTH / 2;

    (void)worth;
    if (y && work && Nk) {
        OMP(omp parallel for num_threads((int)least(threads, B * heads * parts)) schedule(dynamic) if (worth))
        for (size_t u = 0; u < B * heads * parts; u++) {
#ifdef _OPENMP
            float *mine = work + (size_t)omp_get_thread_num() * each;
#else
            float *mine = work;
#endif
            const size_t b = u / (heads * parts), h = u / parts % heads, first = u % parts * part;
            const attention_scratch s = {
                mine, mine + round_up(Nk, NR) * head, mine + each - QUERIES * (head + 2 * Nk),
                mine + each - QUERIES * 2 * Nk, mine + each - QUERIES * Nk
            };
            pack_head(&s, k + b * Nk * D + h * head, v + b * Nk * D + h * head, Nk, D, head);
            for (size_t i = first; i < least(first + part, Nq); i += per) {
                const size_t rows = least(per, least(first + part, Nq) - i), at = (b * Nq + i) * D + h * head;
                attend(y + at, q + at, rows, causal ? i + 1 : Nk, D, head, &s, Nk);
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

static void layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta, size_t M, size_t D, float eps)
{
    if (!y)
        return;
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

enum { SPAN = 64 }; /* channels summed together */

/* sum[j] = sum over pixels of x[p,j], or of (x[p,j] - mean[j])^2; x [P,n], rows C apart, n <= SPAN. */
static void channel_sums(double *restrict sum, const float *x, const double *restrict mean, size_t P, size_t C, size_t n)
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

/* Channels from..to-1, whole groups of `width`: means and deviations, then the normalised values. x, y [P,C]. */
static void norm_groups(float *y, const float *x, const float *gamma, const float *beta, double *sum, double *mean,
                        size_t P, size_t C, size_t from, size_t to, size_t width, float eps, bool silu)
{
    const double n = (double)(P * width);
    float m[SPAN], r[SPAN];

    for (int pass = 0; pass < 2; pass++) {
        for (size_t j = from; j < to; j += SPAN)
            channel_sums(sum + j, x + j, pass ? mean + j : NULL, P, C, least(SPAN, to - j));
        for (size_t g = from; g < to; g += width) {
            double total = 0.0;
            for (size_t j = g; j < g + width; j++)
                total += sum[j];
            for (size_t j = g; j < g + width; j++)
                (pass ? sum : mean)[j] = total / n; /* at last sum holds variances */
        }
    }
    for (size_t j0 = from; j0 < to; j0 += SPAN) {
        const size_t span = least(SPAN, to - j0);
        for (size_t j = 0; j < span; j++) {
            m[j] = (float)mean[j0 + j];
            r[j] = (float)(1.0 / sqrt(sum[j0 + j] + (double)eps));
        }
        for (size_t p = 0; p < P; p++) {
            const float *in = x + p * C + j0, *g = gamma + j0, *b = beta + j0;
            float       *out = y + p * C + j0;
            for (size_t j = 0; j < span; j++)
                out[j] = fma32((in[j] - m[j]) * r[j], g[j], b[j]);
            if (silu)
                for (size_t j = 0; j < span; j++)
                    out[j] = silu32(out[j]);
        }
    }
}

static void group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t B, size_t P, size_t C, size_t G, float eps, bool silu)
{
    const size_t mark = arena_mark(c->work), width = C / G;
    double *sum = arena_bytes(c->work, B * C, 2 * sizeof(double));
    const size_t run = (SPAN + width - 1) / width, runs = (G + run - 1) / run; /* groups in a unit of work */

    if (y && sum) {
        OMP(omp parallel for num_threads(c->threads) if (B * P * C >= WORTH / 16))
        for (size_t u = 0; u < B * runs; u++) {
            const size_t b = u / runs, from = u % runs * run * width, to = least(C, from + run * width);
            norm_groups(y + b * P * C, x + b * P * C, gamma, beta, sum + b * C, sum + (B + b) * C, P, C, from, to, width, eps, silu);
        }
    }
    arena_release(c->work, mark);
}

static void softmax(nn *c, float *y, const float *x, size_t M, size_t N)
{
    if (!y || !N)
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

/* One function of nn_math.h over n values, in pieces that threads share. */
#define ELEMENTWISE(name)                                                           \
    static void name(nn *c, float *y, const float *x, size_t n)                     \
    {                                                                               \
        const size_t piece = 4096, pieces = (n + piece - 1) / piece;                \
        OMP(omp parallel for num_threads(c->threads) if (n >= WORTH / 16))          \
        for (size_t u = 0; u < pieces; u++)                                         \
            for (size_t i = u * piece; i < least(n, (u + 1) * piece); i++)          \
                y[i] = name##32(x[i]);                                              \
        (void)c;                                                                    \
    }
ELEMENTWISE(silu)
ELEMENTWISE(gelu)
ELEMENTWISE(quick_gelu)

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

/* ---- how fast ---- */

/* Multiply-adds in registers and nothing else: the most that this processor does a second. Returns how many were done. */
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
    return (double)n * CHAINS * WIDTH;
}

/* The register tile on operands that are packed and near. a and b hold 2048 * 32 floats each. */
static double tile(size_t n, const float *a, const float *b, float *sink)
{
    for (size_t i = 0; i < n; i++)
        fold(CHUNK, a, b, sink, MR, NR);
    return (double)n * CHUNK * MR * NR;
}

const nn_kernels JOIN(nn_kernels_, NN_ISA) = {
    STRING(NN_ISA), linear, conv2d, attention, layer_norm, group_norm, softmax, silu, gelu, quick_gelu, geglu, peak, tile
};
