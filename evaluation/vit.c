/* vit.c: timm's Vision Transformer, which judges pictures (vit.h).
 *
 *   config.json --vit_configure--> sizes --vit_bind--> views into model.safetensors
 *   x [B,S,S,3] in about [-1,1] --vit_forward--> logits [B,classes]
 *
 * Not here: the folder, and how a picture becomes x (classifier.c).
 * Source: timm.models.vision_transformer (VisionTransformer, Block), timm.layers.Attention and Mlp,
 * timm.models._hub for the config.
 * Letters: B pictures, S side of the network's picture, P patches, N = P and the class token, D embed_dim, F
 * width of the MLP. */
#include "evaluation/vit.h"

#include <string.h>

/* ---- config.json ---- */

/* The sizes that timm's functions of these names have, and its class, where a config names only that. */
static const struct { const char *name; size_t S, patch, D, layers, heads; } architectures[] = {
    { "vision_transformer",    224, 16,  768, 12, 12 },
    { "vit_tiny_patch16_224",  224, 16,  192, 12,  3 },
    { "vit_small_patch16_224", 224, 16,  384, 12,  6 },
    { "vit_base_patch16_224",  224, 16,  768, 12, 12 },
    { "vit_large_patch16_224", 224, 16, 1024, 24, 16 },
};

/* The objects that may hold a key, as timm looks for it: model_args, the config itself, pretrained_cfg. */
typedef struct places { config c; json at[3]; } places;

/* The reader, set to the first of the objects that has key. */
static config *holder(places *p, const char *key)
{
    for (size_t i = 0; i < 3; i++) {
        p->c.object = p->at[i];
        if (config_has(&p->c, key))
            break;
    }
    return &p->c;
}

/* An object inside the config; nothing when absent or null. */
static json inner(config *c, const char *key)
{
    json v = { 0 };
    if (!config_has(c, key) || !json_get(c->object, key, &v))
        return (json){ 0 };
    if (!c->code && json_kind(v) != '{')
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be an object", c->path, key);
    return v;
}

/* Refuses keys that are unknown, and values that mean another network than the one here. */
static void check_keys(places *p)
{
    static const char *const read[] = {
        "architecture", "img_size", "input_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads",
        "mlp_ratio", "qkv_bias", "class_token", "global_pool", "fc_norm", "norm_eps", "num_classes",
        "label_names", "mean", "std", "interpolation", "crop_pct", "model_args", "pretrained_cfg",
        /* with timm's default value only: variants, below */
        "qk_norm", "scale_attn_norm", "scale_mlp_norm", "proj_bias", "init_values", "pos_embed",
        "no_embed_class", "reg_tokens", "pre_norm", "final_norm", "pool_include_prefix", "dynamic_img_pad",
        "embed_layer", "embed_norm_layer", "norm_layer", "act_layer", "block_fn", "mlp_layer", "attn_layer",
        "label_offset", NULL
    };
    static const char *const ignored[] = {
        /* training and initialisation */
        "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate",
        "weight_init", "fix_init",
        /* other sizes than the network's own, which every picture is resized to */
        "dynamic_img_size", "strict_img_size", "fixed_input_size", "test_input_size", "min_input_size",
        "test_crop_pct", "crop_mode", "pool_size", "test_pool_size",
        /* repeat other keys or the tensors' names; say where the weights come from, what the classes mean */
        "num_features", "first_conv", "classifier", "custom_load", "url", "file", "hf_hub_id",
        "hf_hub_filename", "source", "tag", "label_descriptions", "license", "description", "origin_url",
        "paper_name", "paper_ids", "notes", NULL
    };
    static const struct { const char *key, *only; } variants[] = {
        { "in_chans", "3" }, { "qk_norm", "false" }, { "scale_attn_norm", "false" },
        { "scale_mlp_norm", "false" }, { "proj_bias", "true" }, { "init_values", "null" },
        { "pos_embed", "\"learn\"" }, { "no_embed_class", "false" }, { "reg_tokens", "0" },
        { "pre_norm", "false" }, { "final_norm", "true" }, { "pool_include_prefix", "false" },
        { "dynamic_img_pad", "false" }, { "embed_layer", "null" }, { "embed_norm_layer", "null" },
        { "norm_layer", "null" }, { "act_layer", "null" }, { "block_fn", "null" },
        { "mlp_layer", "null" }, { "attn_layer", "null" }, { "label_offset", "null" },
    };
    for (size_t i = 0; i < 3; i++) {
        p->c.object = p->at[i];
        config_known(&p->c, read, ignored);
        for (size_t j = 0; j < sizeof variants / sizeof *variants; j++)
            config_only(&p->c, variants[j].key, variants[j].only);
    }
}

/* The side of a square that a key gives as one number or as [height, width] (input_size: [channels, height,
 * width]). */
static size_t square(places *p, const char *key, size_t absent, size_t high)
{
    const size_t n = strcmp(key, "input_size") ? 2 : 3;
    size_t list[LEVELS];
    config *c = holder(p, key);
    if (!config_has(c, key))
        return absent;
    config_sizes(c, key, absent, list, n);
    if (!c->code && (list[n - 1] != list[n - 2] || (n == 3 && list[0] != 3) || list[n - 1] > high))
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be a square%s of at most %zu pixels a side",
                       c->path, key, n == 3 ? ", after 3 channels," : "", high);
    return list[n - 1];
}

/* Three numbers, one a channel. They must be there: timm's default depends on where the config came from. */
static void channels(places *p, const char *key, float out[3])
{
    config *c = holder(p, key);
    json    list, v;
    double  x;
    size_t  n = 0;
    if (c->code)
        return;
    if (!json_get(c->object, key, &list))
        list = (json){ 0 };
    for (json_iter it = json_begin(list); json_next(&it, NULL, &v); n++)
        if (n < 3 && json_number(v, &x) && x >= -1e6 && x <= 1e6)
            out[n] = (float)x;
        else
            n = 3;
    if (json_kind(list) != '[' || n != 3)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must be three numbers, for red, green and blue, "
                       "as the classifier was trained: timm's ViTs have 0.5 each", c->path, key);
}

/* How pictures are brought to the network's size. timm's own evaluation may enlarge and crop them;
 * UnlearnCanvas' does not, and so nothing is cropped here. */
static void check_preprocessing(places *p)
{
    char how[32];
    config *c = holder(p, "interpolation");
    config_string(c, "interpolation", "bilinear", how, sizeof how);
    if (!c->code && strcmp(how, "bilinear"))
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"interpolation\" is %.20s, but pictures are resized "
                       "by Pillow's bilinear filter: write bilinear if the classifier shall see them so",
                       c->path, how);
    c = holder(p, "crop_pct");
    if (config_double(c, "crop_pct", 1) != 1 && !c->code)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"crop_pct\" is not 1, but pictures are resized whole: "
                       "write 1 if the classifier shall see them so", c->path);
}

/* What follows the blocks: the pool, and the last norm before or behind it. */
static void configure_head(vit *v, places *p)
{
    char pool[32];
    config *c = holder(p, "global_pool");
    config_string(c, "global_pool", "token", pool, sizeof pool);
    v->average = !strcmp(pool, "avg");
    if (!c->code && !v->average && strcmp(pool, "token"))
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"global_pool\" is %.20s; token and avg are supported",
                       c->path, pool);
    v->prefix = config_bool(holder(p, "class_token"), "class_token", true);
    if (!c->code && !v->average && !v->prefix)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"global_pool\" is token, but \"class_token\" is false",
                       c->path);
    v->fc_norm = config_bool(holder(p, "fc_norm"), "fc_norm", v->average);
    v->classes = config_size(holder(p, "num_classes"), "num_classes", 1000, 1, 1u << 16);
}

int vit_configure(vit *v, json object, const char *path, saeuron_error *err)
{
    places p = { .c = { .object = object, .path = path, .err = err }, .at = { { 0 }, object, { 0 } } };
    config *c = &p.c;
    char    name[64];
    size_t  a = 0;

    memset(v, 0, sizeof *v);
    if (!config_has(c, "architecture"))
        return fail(err, SAEURON_EFORMAT, "%s: it names no \"architecture\", so this is no classifier as "
                    "timm saves it", path);
    config_string(c, "architecture", "", name, sizeof name);
    p.at[0] = inner(c, "model_args");
    p.at[2] = inner(c, "pretrained_cfg");
    while (a < sizeof architectures / sizeof *architectures && strcmp(architectures[a].name, name))
        a++;
    if (!c->code && a == sizeof architectures / sizeof *architectures)
        return fail(err, SAEURON_EFORMAT, "%s: \"architecture\" %.40s is not supported; there are "
                    "vit_{tiny,small,base,large}_patch16_224, and vision_transformer with sizes of its own",
                    path, name);
    if (c->code)
        return c->code;
    check_keys(&p);
    check_preprocessing(&p);
    v->S      = square(&p, "img_size", square(&p, "input_size", architectures[a].S, 4096), 4096);
    v->patch  = square(&p, "patch_size", architectures[a].patch, 4096);
    v->D      = config_size(holder(&p, "embed_dim"), "embed_dim", architectures[a].D, 1, 1u << 16);
    v->layers = config_size(holder(&p, "depth"), "depth", architectures[a].layers, 1, VIT_BLOCKS);
    v->heads  = config_size(holder(&p, "num_heads"), "num_heads", architectures[a].heads, 1, 1024);
    v->eps    = config_positive(holder(&p, "norm_eps"), "norm_eps", 1e-6f);
    v->qkv_bias = config_bool(holder(&p, "qkv_bias"), "qkv_bias", true);
    const double F = (double)v->D * config_double(holder(&p, "mlp_ratio"), "mlp_ratio", 4);
    configure_head(v, &p);
    channels(&p, "mean", v->mean);
    channels(&p, "std", v->std);
    if (!c->code && v->patch > v->S)
        c->code = fail(err, SAEURON_EFORMAT, "%s: \"patch_size\" %zu exceeds the picture's side %zu", path,
                       v->patch, v->S);
    if (!c->code && v->D % v->heads)
        c->code = fail(err, SAEURON_EFORMAT, "%s: \"embed_dim\" %zu is no multiple of \"num_heads\" %zu",
                       path, v->D, v->heads);
    if (!c->code && !(F >= 1 && F <= 1 << 20))
        c->code = fail(err, SAEURON_EFORMAT, "%s: \"mlp_ratio\" makes the MLP less than 1 or more than %d "
                       "wide", path, 1 << 20);
    if (!c->code && !(v->std[0] > 0 && v->std[1] > 0 && v->std[2] > 0))
        c->code = fail(err, SAEURON_EFORMAT, "%s: \"std\" must be above 0", path);
    v->F = c->code ? 0 : (size_t)F; /* Python's int() */
    return c->code;
}

/* ---- the network ---- */

/* Patches a side. Pixels at the right and the bottom that fill no patch are not looked at. */
static size_t patches(const vit *v) { return v->S / v->patch; }

static size_t tokens(const vit *v) { return v->prefix + patches(v) * patches(v); }

static void bind_block(binder *b, const vit *v, vit_block *l)
{
    size_t mark;
    bind_norm(b, "norm1", &l->norm1, v->D);
    mark = bind_push(b, "attn");
    (v->qkv_bias ? bind_linear : bind_linear_no_bias)(b, "qkv", &l->qkv, v->D, 3 * v->D);
    bind_linear(b, "proj", &l->proj, v->D, v->D);
    bind_pop(b, mark);
    bind_norm(b, "norm2", &l->norm2, v->D);
    mark = bind_push(b, "mlp");
    bind_linear(b, "fc1", &l->fc1, v->D, v->F);
    bind_linear(b, "fc2", &l->fc2, v->F, v->D);
    bind_pop(b, mark);
}

void vit_bind(binder *b, void *network)
{
    vit *v = network;
    const size_t token[3] = { 1, 1, v->D }, position[3] = { 1, tokens(v), v->D };
    if (v->prefix)
        bind_array(b, "cls_token", &v->cls_token, 3, token);
    bind_array(b, "pos_embed", &v->pos_embed, 3, position);
    bind_conv(b, "patch_embed.proj", &v->proj, 3, v->D, v->patch);
    for (size_t i = 0; i < v->layers; i++) {
        const size_t mark = bind_push(b, "blocks.%zu", i);
        bind_block(b, v, &v->block[i]);
        bind_pop(b, mark);
    }
    bind_norm(b, v->fc_norm ? "fc_norm" : "norm", &v->norm, v->D);
    bind_linear(b, "head", &v->head, v->D, v->classes);
}

/* y [B,N,D]: the class token, then the patches x [B,P,D], plus pos_embed   (VisionTransformer._pos_embed). */
static void embed_positions(const vit *v, float *y, const float *x, size_t B)
{
    const size_t N = tokens(v), D = v->D;
    for (size_t i = 0; y && i < B * N; i++, y += D) {
        const size_t  n = i % N;
        const float  *from = n < v->prefix ? v->cls_token : x + (i / N * (N - v->prefix) + n - v->prefix) * D;
        for (size_t j = 0; j < D; j++)
            y[j] = from[j] + v->pos_embed[n * D + j];
    }
}

/* q, k, v [M,D] from qkv [M,3D], whose rows hold them side by side. */
static void split(float *q, float *k, float *v, const float *qkv, size_t M, size_t D)
{
    for (size_t i = 0; q && k && v && qkv && i < M; i++, qkv += 3 * D) {
        memcpy(q + i * D, qkv, D * sizeof *q);
        memcpy(k + i * D, qkv + D, D * sizeof *k);
        memcpy(v + i * D, qkv + 2 * D, D * sizeof *v);
    }
}

/* x += attn(norm1(x)), then x += mlp(norm2(x))   (Block.forward). x [B,N,D]. */
static void block(nn *c, const vit *v, const vit_block *l, float *x, size_t B, size_t N)
{
    const size_t D = v->D, M = times(B, N), n = times(M, D), mark = arena_mark(c->work);
    const size_t wide = 3 * D > v->F ? 3 * D : v->F;
    float *h = arena_floats(c->work, n);
    float *q = arena_floats(c->work, n);
    float *k = arena_floats(c->work, n);
    float *t = arena_floats(c->work, n);
    float *f = arena_floats(c->work, times(M, wide));

    nn_layer_norm(c, h, x, l->norm1.gamma, l->norm1.beta, M, D, v->eps);
    apply_linear(c, f, h, &l->qkv, M);
    split(q, k, t, f, M, D);
    nn_attention(c, h, q, k, t, B, N, N, v->heads, D / v->heads, false);
    apply_linear(c, q, h, &l->proj, M);
    nn_add(c, x, x, q, n);

    nn_layer_norm(c, h, x, l->norm2.gamma, l->norm2.beta, M, D, v->eps);
    apply_linear(c, f, h, &l->fc1, M);
    nn_gelu(c, f, f, times(M, v->F));
    apply_linear(c, h, f, &l->fc2, M);
    nn_add(c, x, x, h, n);
    arena_release(c->work, mark);
}

/* y [B,D] of x [B,N,D]: the class token, or the mean of all patches   (timm's global_pool_nlc). A channel's
 * sum is one double from +0: contract 4. */
static void pool(const vit *v, float *y, const float *x, size_t B, size_t N)
{
    const size_t D = v->D;
    for (size_t b = 0; y && b < B; b++, x += N * D, y += D) {
        if (!v->average) {
            memcpy(y, x, D * sizeof *y);
            continue;
        }
        for (size_t j = 0; j < D; j++) {
            double sum = 0;
            for (size_t n = v->prefix; n < N; n++)
                sum += (double)x[n * D + j];
            y[j] = (float)(sum / (double)(N - v->prefix));
        }
    }
}

/* What vit_forward was asked for. */
typedef struct vit_job { const vit *v; float *logits, *features; const float *x; const tap *watch; } vit_job;

/* VisionTransformer.forward of B images from `first` on. */
static void vit_rows(nn *c, void *user, size_t first, size_t B)
{
    const vit_job *job = user;
    const vit *v = job->v;
    const bool planned = !c->work->base;
    const size_t D = v->D, N = tokens(v), P = N - v->prefix, M = times(B, N), mark = arena_mark(c->work);
    const conv_shape s = { .B = B, .H = v->S, .W = v->S, .ci = 3, .co = D, .k = v->patch,
                           .stride = v->patch };
    float *y = arena_floats(c->work, times(M, D));
    float *p = arena_floats(c->work, times(times(B, P), D));
    float *pooled = arena_floats(c->work, times(B, D));
    float *logits = planned ? NULL : job->logits + first * v->classes;
    listener watch = { .c = c, .tap = job->watch, .first = first };

    nn_conv2d(c, p, planned ? NULL : job->x + first * v->S * v->S * 3, v->proj.w, v->proj.bias, &s);
    report(&watch, p, B, P, 1, D, SAEURON_TAP_TOKENS, "patch_embed");
    embed_positions(v, y, p, B);
    for (size_t i = 0; !watch.stop && i < v->layers; i++) {
        block(c, v, &v->block[i], y, B, N);
        report(&watch, y, B, N, 1, D, SAEURON_TAP_TOKENS, "blocks.%zu", i);
    }
    if (!v->fc_norm) {
        nn_layer_norm(c, y, y, v->norm.gamma, v->norm.beta, M, D, v->eps);
        report(&watch, y, B, N, 1, D, SAEURON_TAP_TOKENS, "norm");
    }
    pool(v, pooled, y, B, N);
    if (v->fc_norm) {
        nn_layer_norm(c, pooled, pooled, v->norm.gamma, v->norm.beta, B, D, v->eps);
        report(&watch, pooled, B, 1, 1, D, SAEURON_TAP_TOKENS, "fc_norm");
    }
    if (pooled && job->features)
        memcpy(job->features + first * D, pooled, times(B, D) * sizeof *pooled);
    apply_linear(c, logits, pooled, &v->head, B);
    report(&watch, logits, B, 1, 1, v->classes, SAEURON_TAP_TOKENS, "head");
    arena_release(c->work, mark);
}

void vit_forward(nn *c, const vit *v, float *logits, float *features, const float *x, size_t B,
                 const tap *watch)
{
    vit_job job = { v, logits, features, x, watch };
    by_rows(c, v->proj.w.packed, watch, B, vit_rows, &job);
}
