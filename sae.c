/* sae.c: the sparse autoencoder at a hook, at use: TopK or GroupMax encode, and sparse decode.
 *
 *   hook output x [M,d] --sae_encode--> k latents a token --select.c edits them--> sae_decode_sparse --> x
 *
 * Not here: which latents matter (select.c), where the hook is (unet.c).
 * Source: SAeUron, arXiv 2501.18052, section 3.1; TopK SAE, arXiv 2406.04093; sparsify's Sae (released
 * SAE/sae.py).
 * Letters: d width, n latents, k latents kept a token, M tokens. */
#include "sae.h"
#include "arithmetic/threads.h"
#include "layers/config.h"
#include "layers/forward.h"

#include <string.h>

void sae_bind(binder *b, void *network)
{
    sae *s = network;
    bind_linear(b, "encoder", &s->encoder, s->d, s->n);
    bind_matrix(b, "W_dec", &s->W_dec, s->n, s->d);
    bind_vector(b, "b_dec", &s->b_dec, s->d);
}

/* "activation": topk or groupmax; n latents must fall into k groups. */
static void read_activation(config *c, sae *s)
{
    char name[24];
    config_string(c, "activation", "topk", name, sizeof name);
    s->groupmax = !strcmp(name, "groupmax");
    if (!c->code && !s->groupmax && strcmp(name, "topk"))
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"activation\" is %s; topk and groupmax are supported",
                       c->path, name);
    if (!c->code && s->groupmax && s->n % s->k)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: %zu latents do not fall into \"k\" %zu equal groups, as "
                       "\"activation\" groupmax needs", c->path, s->n, s->k);
}

/* cfg.json of sparsify. AUDIT A4: batch_topk is a matter of training; at use TopK is always per token. */
static int sae_configure(sae *s, json object, const char *path, saeuron_error *err)
{
    static const char *const read[] = {
        "expansion_factor", "num_latents", "k", "d_in", "activation", "input_unit_norm", "sample_topk",
        "signed", "skip_connection", "transcode", "embed_skip", "gram_lookup", "diff", NULL
    };
    static const char *const ignored[] = {
        /* of training: W_dec is read as it was saved */
        "normalize_decoder", "multi_topk", "batch_topk", "auxk_alpha",
        /* whose activations; what only gram_lookup reads, which is off */
        "hook", "lookup_max_order", "gram_table_hash", NULL
    };
    config c = { .object = object, .path = path, .err = err };
    const size_t d = s->d;

    config_known(&c, read, ignored);
    config_only(&c, "input_unit_norm", "false"); /* the released hooks normalise and never undo it */
    config_only(&c, "sample_topk", "false");
    config_only(&c, "signed", "false");
    config_only(&c, "skip_connection", "false");
    config_only(&c, "transcode", "false");
    config_only(&c, "embed_skip", "false");
    config_only(&c, "gram_lookup", "false");
    s->diff = config_bool(&c, "diff", false);
    s->k = config_size(&c, "k", 32, 1, 2048);
    s->n = config_size(&c, "num_latents", 0, 0, 1u << 26);
    if (!s->n)
        s->n = d * config_size(&c, "expansion_factor", 32, 1, 4096);
    if (!c.code && config_size(&c, "d_in", d, 1, 1u << 20) != d)
        c.code = fail(err, SAEURON_EFORMAT,
                      "%s: \"d_in\" differs from the width %zu of encoder.weight: the folder mixes two SAEs",
                      path, d);
    if (!c.code && s->k > s->n)
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"k\" %zu exceeds the number of latents %zu", path, s->k,
                      s->n);
    read_activation(&c, s);
    return c.code;
}

static int read_config(sae *s, const saeuron_host *host, const char *dir, saeuron_error *err)
{
    char    path[1024];
    io_file f;
    json    object;
    int     code;
    if (!io_join(path, sizeof path, dir, "cfg.json"))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    if ((code = io_open(&f, host, path, err)) != SAEURON_OK)
        return code;
    code = json_open_object(&object, (const char *)f.data, f.size, path, err);
    if (!code)
        code = sae_configure(s, object, path, err);
    io_close(&f);
    return code;
}

int sae_load(sae *s, const saeuron_host *host, const nn *c, const char *dir, saeuron_error *err)
{
    const tensor *w;
    int code;
    memset(s, 0, sizeof *s);
    if ((code = tensors_open_model(&s->file, host, dir, "sae", err)) != SAEURON_OK)
        return code;
    w = tensors_find(&s->file, "encoder.weight");
    if (!w || w->ndim != 2)
        code = fail(err, SAEURON_EFORMAT,
                    "%s: tensor encoder.weight [n, d] is missing: is this an SAE in sparsify's format?",
                    s->file.path);
    else
        s->d = w->shape[1];
    if (!code)
        code = read_config(s, host, dir, err);
    if (!code)
        code = bind_file(host, &s->file, c, c != NULL, sae_bind, s, &s->memory, err);
    if (code) {
        sae_unload(s, host);
        return code;
    }
    s->digest = tensors_digest(0, &s->file);
    return SAEURON_OK;
}

void sae_unload(sae *s, const saeuron_host *host)
{
    tensors_close(&s->file);
    io_free(host, s->memory);
    memset(s, 0, sizeof *s);
}

/* EQ 13: Only k values need the relu: those that nn_topk (the first k) or nn_groupmax (the first of each
 * group) start with. Another z enters only if it is larger than one of them, which is then 0 or more: no
 * negative value and no NaN enters. */
uint32_t sae_top_latents(const sae *s, uint32_t *idx, float *val, float *z)
{
    const size_t group = s->groupmax ? s->n / s->k : 1;
    size_t kept = 0;
    for (size_t i = 0; i < s->k * group; i += group)
        z[i] = z[i] > 0 ? z[i] : 0;
    if (s->groupmax)
        nn_groupmax(idx, val, z, s->n, s->k);
    else
        nn_topk(idx, val, z, s->n, s->k);
    for (size_t j = 0; j < s->k; j++)
        if (val[j] > 0) {
            idx[kept] = idx[j];
            val[kept++] = val[j];
        }
    return (uint32_t)kept;
}

/* y = x - b_dec. x, y [M,d]. */
static void centre(const sae *s, float *y, const float *x, size_t M)
{
    for (size_t i = 0; y && i < M; i++)
        for (size_t j = 0; j < s->d; j++)
            y[i * s->d + j] = x[i * s->d + j] - s->b_dec[j];
}

/* EQ 12: z of a block of tokens; then each token's k */
void sae_encode(nn *c, const sae *s, uint32_t *idx, float *val, uint32_t *count, const float *x, size_t M)
{
    const size_t mark = arena_mark(c->work), block = least(M, SAE_TOKENS);
    float *centred = arena_floats(c->work, block * s->d);
    float *z = arena_floats(c->work, block * s->n);

    for (size_t m = 0; m < M; m += block) {
        const size_t tokens = least(block, M - m);
        centre(s, centred, x ? x + m * s->d : NULL, tokens);
        apply_linear(c, z, centred, &s->encoder, tokens);
        if (!z) /* planning: one block stands for all */
            break;
        OMP(omp parallel for num_threads(c->threads) if (c->threads > 1))
        for (long i = 0; i < (long)tokens; i++) {
            const size_t row = (m + (size_t)i) * s->k;
            count[m + (size_t)i] = sae_top_latents(s, idx + row, val + row, z + (size_t)i * s->n);
        }
    }
    arena_release(c->work, mark);
}

void sae_pre_activations(nn *c, const sae *s, float *z, const float *x, size_t M, const uint32_t *latent,
                         size_t S)
{
    /* A dot product's bits depend on its two rows alone (contract 3), not on where they lie. */
    const size_t mark = arena_mark(c->work), block = least(M, SAE_TOKENS);
    const size_t bytes = s->d * dtype_size(s->encoder.w.type);
    unsigned char *rows = arena_bytes(c->work, S, bytes);
    float *bias = arena_floats(c->work, S);
    float *centred = arena_floats(c->work, block * s->d);

    for (size_t j = 0; centred && j < S; j++) {
        memcpy(rows + j * bytes, s->encoder.w.data + latent[j] * bytes, bytes);
        bias[j] = s->encoder.bias[latent[j]];
    }
    for (size_t m = 0; m < M; m += block) {
        const size_t tokens = least(block, M - m);
        centre(s, centred, x ? x + m * s->d : NULL, tokens);
        nn_linear(c, centred ? z + m * S : NULL, centred, (weight){ .data = rows, .type = s->encoder.w.type },
                  bias, tokens, s->d, S);
        if (!centred) /* planning: one block stands for all */
            break;
    }
    arena_release(c->work, mark);
}

/* EQ 14: f W_dec */
void sae_decode_sparse(const sae *s, float *y, const uint32_t *idx, const float *val, size_t count,
                       float *row)
{
    /* Contract 3 over the terms that are not 0: blocks of 128, added as in every dot product. */
    memset(y, 0, s->d * sizeof *y);
    for (size_t first = 0; first < count; first += 128) {
        float *block = first ? row + s->d : y;
        if (first)
            memset(block, 0, s->d * sizeof *block);
        for (size_t j = first; j < count && j < first + 128; j++) {
            nn_widen(row, s->W_dec, idx[j] * s->d, s->d);
            for (size_t i = 0; i < s->d; i++)
                block[i] = nn_fmaf(val[j], row[i], block[i]);
        }
        for (size_t i = 0; first && i < s->d; i++)
            y[i] = y[i] + block[i];
    }
}
