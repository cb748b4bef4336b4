/* test_reference.c: the reference against oracles: the contract told in another way, or the truth in double.
 *
 *   oracle (here) == reference        then test_kernels.c: reference == every other kernel set
 *
 * Not here: the contract in NumPy (twin.py), PyTorch's own numbers (the networks' tests). */
#include "test.h"
#include "arrays.h"

static unsigned char memory[1u << 20];
static arena work = { memory, sizeof memory, 0, 0, false };

/* diffusers' formula in double agrees to float32's precision of t * frequency; flip and shift are easily
 * exchanged. */
static void timestep(void)
{
    float y[8], z[8];
    nn_timestep_embedding(y, 3.0f, 8, true, 0.0f);
    nn_timestep_embedding(z, 3.0f, 8, false, 1.0f);
    for (int i = 0; i < 4; i++) {
        const double f = exp(-log(10000.0) * i / 4.0), g = exp(-log(10000.0) * i / 3.0);
        CHECK(fabs((double)y[i] - cos(3.0 * f)) < 1e-6 && fabs((double)y[4 + i] - sin(3.0 * f)) < 1e-6,
              "flipped, value %d", i);
        CHECK(fabs((double)z[i] - sin(3.0 * g)) < 1e-6 && fabs((double)z[4 + i] - cos(3.0 * g)) < 1e-6,
              "shifted, value %d", i);
    }
}

static void pixels(void)
{
    CHECK(nn_pixel(-1.0f) == 0 && nn_pixel(1.0f) == 255 && nn_pixel(-5.0f) == 0 && nn_pixel(7.0f) == 255,
          "ends and beyond");
    CHECK(nn_pixel(0.0f) == 128, "127.5 goes to even");
    CHECK(nn_pixel(-0x1.fap-1f) == nn_pixel(-0.98828125f) && nn_pixel(0.00392f) == 128, "in between");
    int last = 0;
    for (int i = 0; i <= 4096; i++) {
        const int p = nn_pixel((float)i / 2048.0f - 1.0f);
        CHECK(p >= last && p <= last + 1, "not monotone at %d", i);
        last = p;
    }
}

static void widening(void)
{
    static const dtype types[] = { DT_F32, DT_F16, DT_BF16 };
    float *x = filled(100);
    for (int t = 0; t < 3; t++) {
        unsigned char *p = as_file(x, 100, types[t]);
        float y[50];
        nn_widen(y, (weight){ .data = p + 1, .type = types[t] }, 37, 50);
        for (size_t i = 0; i < 50; i++) {
            uint16_t half = 0;
            nn_f32_to_f16(&half, x[37 + i]);
            const uint16_t high = (uint16_t)(f32_bits(x[37 + i]) >> 16);
            const float    want = t == 0 ? x[37 + i] : t == 1 ? nn_f16_to_f32(half) : bf16_widen(high);
            CHECK(f32_bits(y[i]) == f32_bits(want), "type %d, value %zu", t, i);
        }
        free(p);
    }
    free(x);
}

/* Contract 3 told recursively: a chain; the fold of at most sixteen chains; the fold of those. */
static float chain(const float *a, const float *b, size_t n)
{
    return n ? nn_fmaf(a[n - 1], b[n - 1], chain(a, b, n - 1)) : 0.0f;
}

static float fold(const float *a, const float *b, size_t n, size_t piece,
                  float (*part)(const float *, const float *, size_t))
{
    const size_t last = (n - 1) / piece * piece;
    return last ? fold(a, b, last, piece, part) + part(a + last, b + last, n - last) : part(a, b, n);
}
static float chunk(const float *a, const float *b, size_t n) { return fold(a, b, n, 128, chain); }

/* A chain that forgets to restart lo at block 16 passes every K <= 2048: so 2047..2049, 4096 and 6145. */
static void dot_blocks(void)
{
    static const size_t sizes[] = { 1, 2, 127, 128, 129, 255, 256, 257, 2047, 2048, 2049, 2176, 2177, 4095,
                                    4096, 4097, 6145 };
    float *a = filled(6145), *b = filled(6145);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const float y = nn_dot(a, 1, b, 1, sizes[i]), want = fold(a, b, sizes[i], 2048, chunk);
        CHECK(f32_bits(y) == f32_bits(want), "K = %zu: %a, not %a", sizes[i], (double)y, (double)want);
    }
    CHECK(f32_bits(nn_dot(a, 1, b, 1, 0)) == 0, "no terms: +0");
    const float strided = nn_dot(a, 3, b, 2, 1000);
    float *c = floats(1000), *d = floats(1000);
    for (size_t i = 0; i < 1000; i++) {
        c[i] = a[3 * i];
        d[i] = b[2 * i];
    }
    CHECK(f32_bits(strided) == f32_bits(nn_dot(c, 1, d, 1, 1000)), "strides");
    free(a);
    free(b);
    free(c);
    free(d);
}

/* k runs over (ky, kx, ci), padding is counted: a patch written out by hand, K = 2304, so that blocks and
 * chunks matter. */
static void conv_order(void)
{
    enum { C = 256, K = 9 * C };
    float *x = filled(4 * C), *w = filled(K), *patch = floats(K), *turned = floats(K), y[4];
    unsigned char *file = as_file(w, K, DT_F32);
    nn c;
    for (size_t t = 0; t < 9; t++)
        for (size_t i = 0; i < C; i++) {
            const size_t row = t / 3, column = t % 3; /* of a 4 x 4 padded image; pixel (0,0) sits at (1,1) */
            const bool inside = row >= 1 && column >= 1;
            patch[t * C + i] = inside ? x[((row - 1) * 2 + column - 1) * C + i] : 0.0f;
            turned[t * C + i] = w[i * 9 + t];
        }
    nn_init(&c, "reference", 1, &work);
    nn_conv2d(&c, y, x, (weight){ .data = file + 1, .type = DT_F32 }, NULL,
              &(conv_shape){ 1, 2, 2, C, 1, 3, 1, 1, 1 });
    CHECK(f32_bits(y[0]) == f32_bits(nn_dot(patch, 1, turned, 1, K)), "%a", (double)y[0]);
    free(x);
    free(w);
    free(patch);
    free(turned);
    free(file);
}

/* Against a double softmax: a forgotten scale, mask or head offset is far outside float's error. */
static void attention_truth(void)
{
    enum { N = 9, HEADS = 2, HEAD = 4, D = HEADS * HEAD };
    nn c;
    float *q = filled(N * D), *k = filled(N * D), *v = filled(N * D), y[N * D];
    nn_init(&c, "reference", 1, &work);
    nn_attention(&c, y, q, k, v, 1, N, N, HEADS, HEAD, true);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++) {
            const size_t h = j / HEAD * HEAD;
            double sum = 0.0, o = 0.0;
            for (size_t n = 0; n <= i; n++) {
                double s = 0.0;
                for (size_t d = 0; d < HEAD; d++)
                    s += (double)q[i * D + h + d] * (double)k[n * D + h + d];
                sum += exp(s / 2.0);
                o += exp(s / 2.0) * (double)v[n * D + j];
            }
            CHECK(fabs((double)y[i * D + j] - o / sum) < 1e-6, "row %zu, column %zu: %g, not %g", i, j,
                  (double)y[i * D + j], o / sum);
        }
    free(q);
    free(k);
    free(v);
}

/* Sixteen lanes and their tree, told lane by lane. */
static void sums(void)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 31, 32, 33, 1000 };
    float *x = filled(1000);
    double d[1000];
    for (size_t i = 0; i < 1000; i++) {
        x[i] *= i % 3 ? 1.0f : 0x1p-30f; /* so that the order shows */
        d[i] = (double)x[i];
    }
    for (size_t s = 0; s < COUNT(sizes); s++) {
        double lane[16] = { 0 }, square[16] = { 0 };
        for (size_t l = 0; l < 16; l++)
            for (size_t i = l; i < sizes[s]; i += 16) {
                lane[l] += d[i];
                square[l] += (d[i] - 0.25) * (d[i] - 0.25);
            }
        double t[2];
        for (int i = 0; i < 2; i++) {
            const double *e = i ? square : lane;
            double four[4];
            for (int l = 0; l < 4; l++)
                four[l] = (e[l] + e[l + 8]) + (e[l + 4] + e[l + 12]);
            t[i] = (four[0] + four[2]) + (four[1] + four[3]);
        }
        CHECK(nn_sum16(x, sizes[s]) == t[0] && nn_sum16_d(d, sizes[s]) == t[0], "sum of %zu", sizes[s]);
        CHECK(nn_sum16_sq(x, sizes[s], 0.25) == t[1], "sum of squares of %zu", sizes[s]);
    }
    free(x);
}

/* Against a double norm; eps and gamma exchanged, or variance over n - 1, would show. */
static void norm_truth(void)
{
    enum { P = 3, C = 4, G = 2 };
    nn c;
    float *x = filled(P * C), *gamma = filled(C), *beta = filled(C), y[P * C];
    nn_init(&c, "reference", 1, &work);
    nn_group_norm(&c, y, x, gamma, beta, 1, P, C, G, 0.01f, true);
    for (size_t i = 0; i < P * C; i++) {
        const size_t g = i % C / 2 * 2;
        double mean = 0.0, var = 0.0;
        for (size_t p = 0; p < P; p++)
            mean += ((double)x[p * C + g] + (double)x[p * C + g + 1]) / (2 * P);
        for (size_t p = 0; p < P; p++)
            for (size_t j = g; j < g + 2; j++)
                var += ((double)x[p * C + j] - mean) * ((double)x[p * C + j] - mean) / (2 * P);
        const double v =
            ((double)x[i] - mean) / sqrt(var + 0.01) * (double)gamma[i % C] + (double)beta[i % C];
        CHECK(fabs((double)y[i] - v / (1.0 + exp(-v))) < 1e-6, "group norm, value %zu", i);
    }
    nn_layer_norm(&c, y, x, gamma, beta, P, C, 0.01f);
    for (size_t i = 0; i < P * C; i++) {
        const float *row = x + i / C * C;
        const double mean = ((double)row[0] + (double)row[1] + (double)row[2] + (double)row[3]) / 4.0;
        double var = 0.0;
        for (int j = 0; j < 4; j++)
            var += ((double)row[j] - mean) * ((double)row[j] - mean) / 4.0;
        const double v =
            ((double)x[i] - mean) / sqrt(var + 0.01) * (double)gamma[i % C] + (double)beta[i % C];
        CHECK(fabs((double)y[i] - v) < 1e-6, "layer norm, value %zu", i);
    }
    free(x);
    free(gamma);
    free(beta);
}

static void moving(void)
{
    nn c;
    nn_init(&c, NULL, 1, &work);
    const float x[6] = { 1, 2, 3, 4, 5, 6 }, t[2] = { 10, 20 };
    float y[24];
    nn_add(&c, y, x, x, 6);
    CHECK(y[0] == 2 && y[5] == 12, "add");
    nn_add_rows(&c, y, x, t, 1, 3, 2);
    CHECK(y[0] == 11 && y[1] == 22 && y[4] == 15 && y[5] == 26, "add_rows");
    nn_concat(&c, y, x, 2, t, 1, 2);
    CHECK(y[0] == 1 && y[1] == 2 && y[2] == 10 && y[3] == 3 && y[5] == 20, "concat");
    nn_upsample2x(&c, y, x, 1, 2, 6, 2);
    CHECK(y[0] == 1 && y[2] == 1 && y[4] == 3 && y[11] == 6 && y[12] == 1 && y[23] == 6, "upsample2x");
    static const float flat[] = { 1, 1, 2, 3, 3, 4 }, square[] = { 3, 3, 4, 3, 3, 4, 5, 5, 6 };
    nn_upsample2x(&c, y, x, 2, 1, 3, 1);
    CHECK(!memcmp(y, flat, sizeof flat), "upsample2x to 1 x 3, two images");
    nn_upsample2x(&c, y, x, 2, 3, 1, 1);
    CHECK(!memcmp(y, flat, sizeof flat), "upsample2x to 3 x 1, two images");
    nn_upsample2x(&c, y, x + 2, 1, 3, 3, 1);
    CHECK(!memcmp(y, square, sizeof square), "upsample2x to 3 x 3");
    nn_from_nchw(y, x, 1, 2, 3);
    CHECK(y[0] == 1 && y[1] == 4 && y[2] == 2 && y[5] == 6, "from_nchw");
    nn_to_nchw(y + 6, y, 1, 2, 3);
    CHECK(!memcmp(y + 6, x, sizeof x), "to_nchw undoes from_nchw");
    y[3] = NAN;
    CHECK(nn_first_bad(y, 6) == 3 && nn_first_bad(y, 3) == 3, "NaN");
    y[3] = -HUGE_VALF;
    CHECK(nn_first_bad(y, 6) == 3, "infinity");
}

const test_case reference_tests[] = {
    { "timestep", timestep },
    { "pixels", pixels },
    { "widening", widening },
    { "dot_blocks", dot_blocks },
    { "conv_order", conv_order },
    { "attention_truth", attention_truth },
    { "sums", sums },
    { "norm_truth", norm_truth },
    { "moving", moving },
    { NULL, NULL }
};
