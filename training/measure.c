/* measure.c: an SAE on activations that it has not seen, map by map, and its densities as a histogram.
 *
 *   maps --in blocks--> measure_add: encode, decode, sum --> measure_result: FVU, L0, dead, densities
 *
 * Not here: training (train.c), where maps come from (source.c), printing (program/command_train.c).
 * Source: FVU as in the released SAE/sae.py. Letters: N tokens a map, M tokens, d width, n latents. */
#include "training/measure.h"
#include "arithmetic/threads.h"
#include "layers/machine.h"

#include <string.h>

enum {
    CHANNELS = 64,      /* channels summed together down the tokens */
    FEW = 1 << 16       /* values that are not worth waking threads for */
};

/* ---- densities ---- */

/* Powers of 10^(1/2) from 10^-8 to 1; no function whose bits differ is asked for them. */
static const double ends[DENSITY_BINS - 1] = {
    1e-8, 3.1622776601683795e-8, 1e-7, 3.1622776601683795e-7, 1e-6, 3.1622776601683795e-6, 1e-5,
    3.1622776601683795e-5, 1e-4, 3.1622776601683795e-4, 1e-3, 3.1622776601683795e-3, 1e-2,
    3.1622776601683795e-2, 1e-1, 3.1622776601683795e-1, 1
};

/* Lower and upper end of bin i (i > 0), the lower one included; of the last the upper one, too. */
static void density_bin(size_t i, double *low, double *high)
{
    *low = i < 2 ? 0 : ends[i - 2];
    *high = i ? ends[i - 1] : 0;
}

/* The bin of a latent that fired at so many of the tokens. */
static size_t bin_of(uint64_t fired, size_t tokens)
{
    const double share = (double)fired / (double)tokens;
    size_t bin = fired ? 1 : 0;
    while (bin && bin + 1 < DENSITY_BINS && share >= ends[bin - 1])
        bin++;
    return bin;
}

void density_table(const measurement *m, text_out *t)
{
    double low, high;
    text_add(t, "low\thigh\tlatents\n");
    for (size_t i = 0; i < DENSITY_BINS; i++) {
        density_bin(i, &low, &high);
        text_add(t, "%g\t%g\t%zu\n", low, high, m->bin[i]);
    }
}

void measurement_json(const measurement *m, text_out *t)
{
    double low, high;
    text_add(t, "\"maps\": %zu, \"tokens\": %zu, \"latents\": %zu, \"k\": %zu, \"fvu\": %g, \"l0\": %g, "
             "\"dead\": %zu, \"dead_share\": %g, \"density\": [", m->maps, m->tokens, m->n, m->k, m->fvu,
             m->l0, m->dead, (double)m->dead / (double)m->n);
    for (size_t i = 0; i < DENSITY_BINS; i++) {
        density_bin(i, &low, &high);
        text_add(t, "%s[%g, %g, %zu]", i ? ", " : "", low, high, m->bin[i]);
    }
    text_add(t, "]");
}

/* ---- any activations ---- */

struct measure {
    const saeuron_host *host;
    sae      s;                 /* the caller's, its encoder packed for these kernels */
    nn       c;
    arena    work;
    void    *memory;
    float   *W_dec;             /* [n,d], widened */
    /* [d]: the first token; sums over tokens of x - first and of its square */
    double  *first, *sum, *squares;
    double  *error;             /* [SAE_TOKENS] */
    float   *val, *y;           /* [SAE_TOKENS,k], [SAE_TOKENS,d] */
    uint32_t *idx, *count;
    uint64_t *fired;            /* [n] */
    double   total;             /* of the squared errors: tokens ascending */
    uint64_t entries;
    size_t   tokens;
};

/* Everything but the encoder's scratch; without memory it measures. */
static void plan_measure(measure *m, arena *a)
{
    const size_t d = m->s.d, n = m->s.n, B = SAE_TOKENS;
    m->W_dec = arena_bytes(a, n, d * sizeof(float));
    m->first = arena_bytes(a, d, sizeof(double));
    m->sum = arena_bytes(a, d, sizeof(double));
    m->squares = arena_bytes(a, d, sizeof(double));
    m->error = arena_bytes(a, B, sizeof(double));
    m->val = arena_bytes(a, B, m->s.k * sizeof(float));
    m->idx = arena_bytes(a, B, m->s.k * sizeof(uint32_t));
    m->count = arena_bytes(a, B, sizeof(uint32_t));
    m->y = arena_bytes(a, B, d * sizeof(float));
    m->fired = arena_bytes(a, n, sizeof(uint64_t));
    const size_t panels = m->s.encoder.w.packed ? 0 : nn_packed_size(&m->c, n, 1, d);
    if (panels) { /* else packed anew for every block of tokens */
        float *packed = arena_floats(a, panels);
        if (packed)
            nn_pack(&m->c, packed, m->s.encoder.w, n, 1, d);
        m->s.encoder.w.packed = packed;
    }
}

int measure_open(measure **out, const saeuron_host *host, const sae *s, int threads, const char *isa,
                 saeuron_error *err)
{
    arena only = { 0 };
    *out = NULL;
    measure *m = io_alloc(host, 1, sizeof *m);
    if (!m)
        return fail(err, SAEURON_ENOMEM, "no memory to measure an SAE");
    *m = (measure){ .host = host, .s = *s };
    const int code = choose_kernels(&m->c, isa, threads, &only, err);
    if (code) {
        io_free(host, m);
        return code;
    }
    plan_measure(m, &only);
    sae_encode(&m->c, &m->s, NULL, NULL, NULL, NULL, SAE_TOKENS);
    m->memory = only.failed || only.peak > SIZE_MAX - 64 ? NULL : io_alloc(host, only.peak + 64, 1);
    if (!m->memory) {
        io_free(host, m);
        return fail(err, SAEURON_ENOMEM, "no memory for %zu MB to measure an SAE of %zu latents",
                    only.peak >> 20, s->n);
    }
    m->work = (arena){ .base = (unsigned char *)m->memory + (64 - (size_t)((uintptr_t)m->memory % 64)) % 64,
                       .size = only.peak };
    m->c.work = &m->work;
    plan_measure(m, &m->work);
    nn_widen(m->W_dec, s->W_dec, 0, s->n * s->d);
    memset(m->fired, 0, s->n * sizeof *m->fired);
    for (size_t j = 0; j < s->d; j++)
        m->sum[j] = m->squares[j] = 0;
    *out = m;
    return SAEURON_OK;
}

void measure_close(measure *m)
{
    if (!m)
        return;
    const saeuron_host *host = m->host;
    io_free(host, m->memory);
    io_free(host, m);
}

/* A block of at most SAE_TOKENS. */
static void measure_block(measure *m, const float *x, size_t M)
{
    const sae *s = &m->s;
    const size_t d = s->d, k = s->k;
    if (!m->tokens)
        for (size_t j = 0; j < d; j++)
            m->first[j] = (double)x[j];
    sae_encode(&m->c, s, m->idx, m->val, m->count, x, M);
    OMP(omp parallel for num_threads(m->c.threads) schedule(static) if (M * d > FEW))
    for (size_t i = 0; i < M; i++) { /* e = (f W_dec + b_dec) - x */
        float *y = m->y + i * d;
        nn_sparse_sum(&m->c, y, m->W_dec, d, m->idx + i * k, m->val + i * k, m->count[i], d);
        for (size_t j = 0; j < d; j++)
            y[j] = (y[j] + s->b_dec[j]) - x[i * d + j];
        m->error[i] = nn_sum_squares(&m->c, y, NULL, d);
    }
    OMP(omp parallel for num_threads(m->c.threads) schedule(static) if (M * d > FEW))
    for (size_t j0 = 0; j0 < d; j0 += CHANNELS)
        for (size_t i = 0; i < M; i++)
            for (size_t j = j0; j < least(d, j0 + CHANNELS); j++) {
                const double away = (double)x[i * d + j] - m->first[j];
                m->sum[j] += away;
                m->squares[j] += away * away;
            }
    for (size_t i = 0; i < M; i++) {
        m->total += m->error[i];
        m->entries += m->count[i];
        for (size_t j = 0; j < m->count[i]; j++)
            m->fired[m->idx[i * k + j]]++;
    }
    m->tokens += M;
}

int measure_add(measure *m, const float *x, size_t M, saeuron_error *err)
{
    const size_t d = m->s.d, at = nn_first_bad(x, M * d);
    const int code = check_environment(m->c.threads, err);
    if (code)
        return code;
    if (at < M * d)
        return fail(err, SAEURON_ENAN, "token %zu, channel %zu of the activations is not finite",
                    m->tokens + at / d, at % d);
    for (size_t i = 0; i < M; i += SAE_TOKENS)
        measure_block(m, x + i * d, least(SAE_TOKENS, M - i));
    return SAEURON_OK;
}

const uint64_t *measure_fired(const measure *m) { return m->fired; }

int measure_result(const measure *m, measurement *r, saeuron_error *err)
{
    const size_t d = m->s.d, n = m->s.n;
    double lane[16] = { 0 };
    /* EQ 27: sum (x - mean)^2 = sum (x - first)^2 - (sum (x - first))^2 / tokens, a channel. The first token
     * is near the mean, so little cancels. */
    for (size_t j = 0; j < d && m->tokens; j++)
        lane[j % 16] += m->squares[j] - m->sum[j] * m->sum[j] / (double)m->tokens;
    const double V = nn_sum16_d(lane, 16);
    if (!(V > 0))
        return fail(err, SAEURON_EUSAGE, "%zu tokens without any difference: there is no variance to explain",
                    m->tokens);
    *r = (measurement){ .tokens = m->tokens, .n = n, .k = m->s.k, .fvu = m->total / V };
    r->l0 = (double)m->entries / (double)m->tokens;
    for (size_t i = 0; i < n; i++) {
        r->dead += m->fired[i] == 0;
        r->bin[bin_of(m->fired[i], m->tokens)]++;
    }
    return SAEURON_OK;
}

/* ---- maps of a source ---- */

/* x [block N,d]: maps by the block through the measure. */
static int add_maps(measure *m, map_source *s, const saeuron_host *host, const measure_options *o, float *x,
                    size_t block, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (size_t first = 0, B; first < o->count && !code; first += B) {
        B = o->count - first < block ? o->count - first : block;
        for (size_t i = 0; i < B && !code; i++)
            code = (o->ordered ? source_next : source_row)(s, x + i * s->N * s->d, o->first + first + i, err);
        if (!code)
            code = measure_add(m, x, B * s->N, err);
        if (!code && host && host->progress && host->progress(host->user, "measure", first + B, o->count))
            code = fail(err, SAEURON_ECANCEL, "stopped");
    }
    return code;
}

static int measure_loaded(measurement *r, const sae *net, map_source *s, const saeuron_host *host,
                          const measure_options *o, saeuron_error *err)
{
    static const char *const kinds[] = { "output", "output less its input" };
    const size_t block = 1024 / s->N ? 1024 / s->N : 1;
    measure *m = NULL;
    size_t   values;
    float   *x;
    int      code;
    if (net->d != s->d)
        return fail(err, SAEURON_EFORMAT,
                    "%s: is for activations %zu wide, but these are %zu wide: name activations of its own "
                    "hook",
                    net->file.path, net->d, s->d);
    if (net->diff != s->diff)
        return fail(err, SAEURON_EFORMAT,
                    "%s: was trained on the hook's %s, but these activations are its %s: name activations of "
                    "its own kind", net->file.path, kinds[net->diff], kinds[s->diff]);
    if (!nn_mul(block, s->N * s->d, &values) || !(x = io_alloc(host, values, sizeof *x)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu maps at a time", block);
    code = measure_open(&m, host, net, o->threads, o->isa, err);
    if (!code)
        code = add_maps(m, s, host, o, x, block, err);
    if (!code)
        code = measure_result(m, r, err);
    if (!code)
        r->maps = o->count;
    measure_close(m);
    io_free(host, x);
    return code;
}

int measure_sae(measurement *r, map_source *s, const saeuron_host *host, const measure_options *o,
                saeuron_error *err)
{
    sae net;
    int code = sae_load(&net, host, NULL, o->dir, err);
    if (code)
        return code;
    code = measure_loaded(r, &net, s, host, o, err);
    sae_unload(&net, host);
    return code;
}
