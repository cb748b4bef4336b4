/* unet.c: UNet2DConditionModel, the network that predicts the noise, and the places where SAeUron hooks in.
 *
 *   ddim.c --latents x [B,h,w,4], timestep t--> unet_forward --> noise e [B,h,w,4]
 *   clip.c --text states--> unet_text ---------^      ^-- tap: every module's output, the hooks' too
 *
 * Not here: DDIM and guidance (ddim.c), the SAE (sae.c), the ablation (select.c).
 * Source: diffusers.models.unets.unet_2d_condition.UNet2DConditionModel, unet_2d_blocks,
 * resnet.ResnetBlock2D, attention.BasicTransformerBlock, transformers.transformer_2d.Transformer2DModel.
 * Letters: B batch; at the level at hand H, W sides, P = H W pixels (the tokens of attention), C channels. */
#include "unet.h"
#include "arithmetic/threads.h"
#include "files/print.h"

#include <inttypes.h>
#include <string.h>

/* ---- configuration ---- */

static const char *const config_read[] = {
    "in_channels", "out_channels", "sample_size", "block_out_channels", "layers_per_block", "norm_num_groups",
    "norm_eps", "cross_attention_dim", "attention_head_dim", "num_attention_heads", "use_linear_projection",
    "flip_sin_to_cos", "freq_shift", "down_block_types", "up_block_types", NULL
};

/* Options that Stable Diffusion 1.x and 2.x leave at these values; any other value is refused. */
static const struct { const char *key, *only; } config_fixed[] = {
    { "act_fn", "\"silu\"" }, { "addition_embed_type", "null" }, { "addition_time_embed_dim", "null" },
    { "attention_type", "\"default\"" }, { "center_input_sample", "false" }, { "class_embed_type", "null" },
    { "class_embeddings_concat", "false" }, { "conv_in_kernel", "3" }, { "conv_out_kernel", "3" },
    { "cross_attention_norm", "null" }, { "downsample_padding", "1" }, { "dual_cross_attention", "false" },
    { "encoder_hid_dim", "null" }, { "encoder_hid_dim_type", "null" },
    { "mid_block_only_cross_attention", "false" }, { "mid_block_scale_factor", "1" },
    { "mid_block_type", "\"UNetMidBlock2DCrossAttn\"" }, { "num_class_embeds", "null" },
    { "only_cross_attention", "false" }, { "resnet_out_scale_factor", "1" },
    { "resnet_skip_time_act", "false" }, { "resnet_time_scale_shift", "\"default\"" },
    { "projection_class_embeddings_input_dim", "null" }, { "reverse_transformer_layers_per_block", "null" },
    { "time_cond_proj_dim", "null" }, { "time_embedding_act_fn", "null" }, { "time_embedding_dim", "null" },
    { "time_embedding_type", "\"positional\"" }, { "timestep_post_act", "null" },
    { "transformer_layers_per_block", "1" },
};

/* cross[i]: block i of the list has attention: it is `with` ("CrossAttnDownBlock2D"), not `without`. */
static void read_blocks(config *c, const char *key, const char *with, const char *without, bool *cross,
                        size_t levels)
{
    json   list, type;
    size_t n = 0;
    if (c->code || !json_get(c->object, key, &list)) {
        if (!c->code)
            c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" is missing", c->path, key);
        return;
    }
    json_iter it = json_begin(list);
    while (json_next(&it, NULL, &type)) {
        const bool yes = json_equals(type, with);
        if (n >= levels || (!yes && !json_equals(type, without))) {
            c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must name %zu blocks, each %s or %s", c->path,
                           key, levels, with, without);
            return;
        }
        cross[n++] = yes;
    }
    if (n != levels)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" names %zu blocks for %zu levels", c->path, key, n,
                       levels);
}

/* Checks config_fixed, and that every key is known. The three more change nothing at inference in float32:
 * dropout is off, attention is never in half precision, and the heads are those of an addition_embed_type,
 * which must be null. */
static void read_fixed(config *c)
{
    static const char *const more[] = {
        "dropout", "upcast_attention", "addition_embed_type_num_heads", NULL
    };
    const char *names[sizeof config_fixed / sizeof *config_fixed + sizeof more / sizeof *more];
    size_t n = 0;
    for (size_t i = 0; i < sizeof config_fixed / sizeof *config_fixed; i++) {
        config_only(c, config_fixed[i].key, config_fixed[i].only);
        names[n++] = config_fixed[i].key;
    }
    for (size_t i = 0; more[i]; i++)
        names[n++] = more[i];
    names[n] = NULL;
    config_known(c, config_read, names);
}

static void check_divisions(config *c, const unet *u)
{
    for (size_t i = 0; !c->code && i < u->levels; i++) {
        if (u->channels[i] % u->groups)
            c->code = fail(c->err, SAEURON_EFORMAT,
                           "%s: \"block_out_channels\" %zu is no multiple of \"norm_num_groups\" %zu",
                           c->path, u->channels[i], u->groups);
        else if (u->channels[i] % u->heads[i])
            c->code = fail(c->err, SAEURON_EFORMAT,
                           "%s: \"block_out_channels\" %zu is no multiple of its number of heads %zu",
                           c->path, u->channels[i], u->heads[i]);
    }
    if (!c->code && u->channels[0] % 2)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: the first of \"block_out_channels\" must be even",
                       c->path);
    if (!c->code && !(u->freq_shift < (float)(u->channels[0] / 2))) /* which it is taken from, to divide by */
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"freq_shift\" must be below half the first of "
                       "\"block_out_channels\"", c->path);
}

int unet_configure(unet *u, json object, const char *path, saeuron_error *err)
{
    config c = { .object = object, .path = path, .err = err };

    memset(u, 0, sizeof *u);
    read_fixed(&c);
    u->in_channels  = config_size(&c, "in_channels", 4, 1, 64);
    u->out_channels = config_size(&c, "out_channels", 4, 1, 64);
    u->sample_size  = config_size(&c, "sample_size", 64, 1, 4096);
    u->levels       = config_sizes(&c, "block_out_channels", 320, u->channels, 0);
    u->layers       = config_size(&c, "layers_per_block", 2, 1, LAYERS - 1);
    u->groups       = config_size(&c, "norm_num_groups", 32, 1, 1024);
    u->eps          = config_positive(&c, "norm_eps", 1e-5f);
    u->text_width   = config_size(&c, "cross_attention_dim", 1280, 1, 1u << 16);
    config_bool(&c, "use_linear_projection", false); /* the shape of two tensors, not their values */
    u->flip_sin_to_cos = config_bool(&c, "flip_sin_to_cos", true);
    u->freq_shift   = config_float(&c, "freq_shift", 0);
    if (!c.code && u->levels < 1)
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"block_out_channels\" is missing or no list", path);
    /* attention_head_dim is, for historical reasons, the number of heads (diffusers issue 2011). */
    config_sizes(&c, config_has(&c, "num_attention_heads") ? "num_attention_heads" : "attention_head_dim", 8,
                 u->heads, u->levels);
    read_blocks(&c, "down_block_types", "CrossAttnDownBlock2D", "DownBlock2D", u->cross_down, u->levels);
    read_blocks(&c, "up_block_types", "CrossAttnUpBlock2D", "UpBlock2D", u->cross_up, u->levels);
    u->time_width = 4 * u->channels[0];
    check_divisions(&c, u);
    return c.code;
}

/* ---- tensors: the one list of their names ---- */

static void bind_attention(binder *b, attention *a, size_t C, size_t text_width, size_t heads)
{
    a->heads = heads;
    bind_linear_no_bias(b, "to_q", &a->to_q, C, C);
    bind_linear_no_bias(b, "to_k", &a->to_k, text_width, C);
    bind_linear_no_bias(b, "to_v", &a->to_v, text_width, C);
    bind_linear(b, "to_out.0", &a->to_out, C, C);
}

static void bind_transformer(binder *b, const unet *u, transformer *t, size_t C, size_t heads, size_t text)
{
    size_t block, mark;
    t->C = C;
    t->groups = u->groups;
    bind_norm(b, "norm", &t->norm, C);
    bind_conv(b, "proj_in", &t->proj_in, C, C, 1); /* [C,C] with use_linear_projection: the same matrix */
    block = bind_push(b, "transformer_blocks.0");
    bind_norm(b, "norm1", &t->norm1, C);
    mark = bind_push(b, "attn1");
    bind_attention(b, &t->attn1, C, C, heads);
    bind_pop(b, mark);
    bind_norm(b, "norm2", &t->norm2, C);
    mark = bind_push(b, "attn2");
    bind_attention(b, &t->attn2, C, u->text_width, heads);
    bind_pop(b, mark);
    bind_norm(b, "norm3", &t->norm3, C);
    bind_linear(b, "ff.net.0.proj", &t->ff_in, C, 8 * C);
    bind_linear(b, "ff.net.2", &t->ff_out, 4 * C, C);
    bind_pop(b, block);
    bind_conv(b, "proj_out", &t->proj_out, C, C, 1);
    t->attn1.text = 0;
    t->attn2.text = text;
}

/* Layer j of a level: its resnet and, if the level has them, its transformer. */
static void bind_layer(binder *b, unet *u, unet_level *l, size_t j, size_t ci, size_t co, size_t heads)
{
    size_t mark = bind_push(b, "resnets.%zu", j);
    bind_resnet(b, &l->resnets[j], ci, co, u->time_width, u->groups, u->eps);
    bind_pop(b, mark);
    if (l->cross) {
        mark = bind_push(b, "attentions.%zu", j);
        bind_transformer(b, u, &l->attentions[j], co, heads, ++u->texts);
        bind_pop(b, mark);
    }
}

static void bind_sampler(binder *b, unet_level *l, const char *name, size_t C, bool there)
{
    l->sampler.k = 0;
    if (there)
        bind_conv(b, name, &l->sampler, C, C, 3);
}

static void bind_down(binder *b, unet *u, size_t i)
{
    unet_level  *l = &u->down[i];
    const size_t mark = bind_push(b, "down_blocks.%zu", i), co = u->channels[i];
    l->cross = u->cross_down[i];
    l->layers = u->layers;
    for (size_t j = 0; j < l->layers; j++)
        bind_layer(b, u, l, j, j || !i ? (j ? co : u->channels[0]) : u->channels[i - 1], co, u->heads[i]);
    bind_sampler(b, l, "downsamplers.0.conv", co, i + 1 < u->levels);
    bind_pop(b, mark);
}

/* Width of the skip that layer j of up block i takes: the down pass's outputs, last first. */
static size_t skip_width(const unet *u, size_t i, size_t j)
{
    const size_t down = u->levels - 1 - i; /* the level of the same resolution */
    if (j < u->layers)
        return u->channels[down];
    return down ? u->channels[down - 1] : u->channels[0];
}

static void bind_up(binder *b, unet *u, size_t i)
{
    unet_level  *l = &u->up[i];
    const size_t mark = bind_push(b, "up_blocks.%zu", i), level = u->levels - 1 - i, co = u->channels[level];
    const size_t before = i ? u->channels[level + 1] : u->channels[u->levels - 1];
    l->cross = u->cross_up[i];
    l->layers = u->layers + 1;
    for (size_t j = 0; j < l->layers; j++)
        bind_layer(b, u, l, j, (j ? co : before) + skip_width(u, i, j), co, u->heads[level]);
    bind_sampler(b, l, "upsamplers.0.conv", co, i + 1 < u->levels);
    bind_pop(b, mark);
}

static void bind_mid(binder *b, unet *u)
{
    const size_t C = u->channels[u->levels - 1];
    size_t mark = bind_push(b, "mid_block.resnets.0");
    bind_resnet(b, &u->mid_resnet[0], C, C, u->time_width, u->groups, u->eps);
    bind_pop(b, mark);
    mark = bind_push(b, "mid_block.attentions.0");
    bind_transformer(b, u, &u->mid_attention, C, u->heads[u->levels - 1], ++u->texts);
    bind_pop(b, mark);
    mark = bind_push(b, "mid_block.resnets.1");
    bind_resnet(b, &u->mid_resnet[1], C, C, u->time_width, u->groups, u->eps);
    bind_pop(b, mark);
}

void unet_bind(binder *b, void *network)
{
    unet *u = network;
    size_t mark;
    u->texts = 0;
    bind_conv(b, "conv_in", &u->conv_in, u->in_channels, u->channels[0], 3);
    mark = bind_push(b, "time_embedding");
    bind_linear(b, "linear_1", &u->time_1, u->channels[0], u->time_width);
    bind_linear(b, "linear_2", &u->time_2, u->time_width, u->time_width);
    bind_pop(b, mark);
    for (size_t i = 0; i < u->levels; i++)
        bind_down(b, u, i);
    bind_mid(b, u);
    for (size_t i = 0; i < u->levels; i++)
        bind_up(b, u, i);
    bind_norm(b, "conv_norm_out", &u->conv_norm_out, u->channels[0]);
    bind_conv(b, "conv_out", &u->conv_out, u->channels[0], u->out_channels, 3);
}

/* ---- one pass ---- */

typedef struct pass {
    nn *c;
    const unet *u;
    const text_kv *kv;
    const float *silu_temb; /* [1,time_width] */
    size_t B, H, W;         /* rows; the first is listener.first of the batch. Sides of the latents */
    listener listener;
} pass;

/* Keys or values of the pass's rows; NULL while they are planned. */
static const float *text_rows(const pass *p, const float *kv, size_t C)
{
    return kv ? kv + p->listener.first * p->kv->N * C : NULL;
}

/* x += to_out(attention(norm(x)))   (half of BasicTransformerBlock.forward)
 * x [B,P,C]; with the text's keys and values if a->text. */
static void attend(pass *p, const attention *a, const norm *before, float *x, size_t P, const char *path,
                   const char *name)
{
    nn *c = p->c;
    const size_t C = a->to_q.in, M = p->B * P, mark = arena_mark(c->work);
    float *h = arena_floats(c->work, M * C);
    float *q = arena_floats(c->work, M * C);

    nn_layer_norm(c, h, x, before->gamma, before->beta, M, C, 1e-5f);
    apply_linear(c, q, h, &a->to_q, M);
    if (a->text) {
        const float *k = text_rows(p, p->kv->k[a->text - 1], C), *v = text_rows(p, p->kv->v[a->text - 1], C);
        nn_attention(c, h, q, k, v, p->B, P, p->kv->N, a->heads, C / a->heads, false);
    } else {
        float *k = arena_floats(c->work, M * C);
        float *v = arena_floats(c->work, M * C);
        float *o = arena_floats(c->work, M * C);
        apply_linear(c, k, h, &a->to_k, M);
        apply_linear(c, v, h, &a->to_v, M);
        nn_attention(c, o, q, k, v, p->B, P, P, a->heads, C / a->heads, false);
        h = o;
    }
    apply_linear(c, q, h, &a->to_out, M);
    report(&p->listener, q, p->B, P, 1, C, SAEURON_TAP_TOKENS, "%s.transformer_blocks.0.%s", path, name);
    nn_add(c, x, q, x, M * C);
    arena_release(c->work, mark);
}

/* x += net.2(geglu(net.0.proj(norm3(x))))   (FeedForward with GEGLU). x [B,P,C]. */
static void feed_forward(pass *p, const transformer *t, float *x, size_t P, const char *path)
{
    nn *c = p->c;
    const size_t C = t->C, M = p->B * P, mark = arena_mark(c->work);
    float *h = arena_floats(c->work, M * C);
    float *g = arena_floats(c->work, M * 4 * C);
    float *f = arena_floats(c->work, M * 8 * C);

    nn_layer_norm(c, h, x, t->norm3.gamma, t->norm3.beta, M, C, 1e-5f);
    apply_linear(c, f, h, &t->ff_in, M);
    nn_geglu(c, g, f, M, 4 * C);
    apply_linear(c, h, g, &t->ff_out, M);
    report(&p->listener, h, p->B, P, 1, C, SAEURON_TAP_TOKENS, "%s.transformer_blocks.0.ff", path);
    nn_add(c, x, h, x, M * C);
    arena_release(c->work, mark);
}

/* x += proj_out(block(proj_in(norm(x))))   (Transformer2DModel.forward) x [B,H,W,C]. Its output is a hook. */
static void transformer_forward(pass *p, const transformer *t, float *x, size_t H, size_t W, const char *path)
{
    nn *c = p->c;
    const size_t C = t->C, P = H * W, n = p->B * P * C, mark = arena_mark(c->work);
    float *h = arena_floats(c->work, n);
    float *g = arena_floats(c->work, n);

    nn_group_norm(c, h, x, t->norm.gamma, t->norm.beta, p->B, P, C, t->groups, 1e-6f, false);
    apply_conv(c, g, h, &t->proj_in, p->B, H, W);
    attend(p, &t->attn1, &t->norm1, g, P, path, "attn1");
    attend(p, &t->attn2, &t->norm2, g, P, path, "attn2");
    feed_forward(p, t, g, P, path);
    apply_conv(c, h, g, &t->proj_out, p->B, H, W);
    nn_add(c, x, h, x, n);
    arena_release(c->work, mark);
    report(&p->listener, x, p->B, H, W, C, SAEURON_TAP_IMAGE, "%s", path);
}

/* Layer j of a level at path ("down_blocks.1"): resnet from x to y, then the transformer in place. */
static void layer_forward(pass *p, const unet_level *l, size_t j, float *y, const float *x, size_t H,
                          size_t W, const char *path)
{
    char name[64];
    resnet_forward(p->c, &l->resnets[j], y, x, p->silu_temb, p->B, H, W);
    report(&p->listener, y, p->B, H, W, l->resnets[j].conv1.co, SAEURON_TAP_IMAGE, "%s.resnets.%zu", path, j);
    if (l->cross && !p->listener.stop) {
        print_into(name, sizeof name, "%s.attentions.%zu", path, j);
        transformer_forward(p, &l->attentions[j], y, H, W, name);
    }
}

/* The skips: outputs of the down pass, kept until the up pass takes them back, last first. */
typedef struct skips { float *x[LEVELS * LAYERS + 1]; size_t count; } skips;

/* Down block i from x [B,H,W,.]; pushes each output on s; returns the last. */
static float *down_forward(pass *p, size_t i, float *x, size_t *H, size_t *W, skips *s)
{
    const unet_level *l = &p->u->down[i];
    const size_t C = p->u->channels[i];
    char path[40];
    print_into(path, sizeof path, "down_blocks.%zu", i);
    for (size_t j = 0; j < l->layers && !p->listener.stop; j++) {
        float *y = arena_floats(p->c->work, p->B * *H * *W * C);
        layer_forward(p, l, j, y, x, *H, *W, path);
        s->x[s->count++] = x = y;
    }
    if (l->sampler.k && !p->listener.stop) {
        const conv_shape shape = { .B = p->B, .H = *H, .W = *W, .ci = C, .co = C, .k = 3, .stride = 2,
                                   .pad_before = 1, .pad_after = 1 };
        float *y = arena_floats(p->c->work, p->B * conv_out(&shape, *H) * conv_out(&shape, *W) * C);
        nn_conv2d(p->c, y, x, l->sampler.w, l->sampler.bias, &shape);
        *H = conv_out(&shape, *H);
        *W = conv_out(&shape, *W);
        report(&p->listener, y, p->B, *H, *W, C, SAEURON_TAP_IMAGE, "%s.downsamplers.0", path);
        s->x[s->count++] = x = y;
    }
    return x;
}

/* Up block i from x [B,H,W,Cx]; takes its skips off s; returns its output, of the side of the skips to come
 * (UNet2DConditionModel.forward's upsample_size). */
static float *up_forward(pass *p, size_t i, float *x, size_t Cx, size_t *H, size_t *W, skips *s)
{
    const unet_level *l = &p->u->up[i];
    nn *c = p->c;
    const size_t C = p->u->channels[p->u->levels - 1 - i];
    char path[40];
    print_into(path, sizeof path, "up_blocks.%zu", i);
    for (size_t j = 0; j < l->layers && !p->listener.stop; j++, Cx = C) {
        const size_t M = p->B * *H * *W, Cs = skip_width(p->u, i, j);
        float *y = arena_floats(c->work, M * C);
        const size_t mark = arena_mark(c->work);
        float *both = arena_floats(c->work, M * (Cx + Cs));
        nn_concat(c, both, x, Cx, s->x[--s->count], Cs, M);
        layer_forward(p, l, j, y, both, *H, *W, path);
        arena_release(c->work, mark);
        x = y;
    }
    if (l->sampler.k && !p->listener.stop) {
        *H = unet_side(p->H, p->u->levels - 2 - i);
        *W = unet_side(p->W, p->u->levels - 2 - i);
        float *y = arena_floats(c->work, p->B * *H * *W * C);
        const size_t mark = arena_mark(c->work);
        float *wide = arena_floats(c->work, p->B * *H * *W * C);
        nn_upsample2x(c, wide, x, p->B, *H, *W, C);
        apply_conv(c, y, wide, &l->sampler, p->B, *H, *W);
        arena_release(c->work, mark);
        report(&p->listener, y, p->B, *H, *W, C, SAEURON_TAP_IMAGE, "%s.upsamplers.0", path);
        x = y;
    }
    return x;
}

static void mid_forward(pass *p, float *y, const float *x, size_t H, size_t W)
{
    const size_t C = p->u->channels[p->u->levels - 1], mark = arena_mark(p->c->work);
    float *h = arena_floats(p->c->work, p->B * H * W * C);
    resnet_forward(p->c, &p->u->mid_resnet[0], h, x, p->silu_temb, p->B, H, W);
    report(&p->listener, h, p->B, H, W, C, SAEURON_TAP_IMAGE, "mid_block.resnets.0");
    if (!p->listener.stop)
        transformer_forward(p, &p->u->mid_attention, h, H, W, "mid_block.attentions.0");
    resnet_forward(p->c, &p->u->mid_resnet[1], y, h, p->silu_temb, p->B, H, W);
    report(&p->listener, y, p->B, H, W, C, SAEURON_TAP_IMAGE, "mid_block.resnets.1");
    arena_release(p->c->work, mark);
}

/* silu(time_embedding(sinusoid(t))) [1,time_width]: all samples of a pass share t, so one row serves them. */
static float *embed_time(pass *p, float t)
{
    nn *c = p->c;
    const unet *u = p->u;
    float *e = arena_floats(c->work, u->time_width);
    const size_t mark = arena_mark(c->work);
    float *s = arena_floats(c->work, u->channels[0]);
    float *h = arena_floats(c->work, u->time_width);

    if (s)
        nn_timestep_embedding(s, t, u->channels[0], u->flip_sin_to_cos, u->freq_shift);
    apply_linear(c, h, s, &u->time_1, 1);
    nn_silu(c, h, h, u->time_width);
    apply_linear(c, e, h, &u->time_2, 1);
    report(&p->listener, e, 1, 1, 1, u->time_width, SAEURON_TAP_TOKENS, "time_embedding");
    nn_silu(c, e, e, u->time_width);
    arena_release(c->work, mark);
    return e;
}

/* What unet_forward was asked for. */
typedef struct unet_job {
    const unet *u;
    float *y;
    const float *x;
    float t;
    const text_kv *kv;
    size_t H, W;
    const tap *watch;
    int stop;
} unet_job;

/* EQ 6: e = UNet(x, t, text), of B rows from `first` on */
static void unet_rows(nn *c, void *user, size_t first, size_t B)
{
    unet_job *job = user;
    const unet *u = job->u;
    const bool planned = !c->work->base;
    size_t H = job->H, W = job->W;
    const size_t mark = arena_mark(c->work), C0 = u->channels[0], top = u->levels - 1, P = H * W;
    const float *x = planned ? NULL : job->x + first * P * u->in_channels;
    float *y = planned ? NULL : job->y + first * P * u->out_channels;
    pass   p = { .c = c, .u = u, .kv = job->kv, .B = B, .H = H, .W = W,
                 .listener = { .c = c, .tap = job->watch, .first = first } };
    skips  s = { .count = 0 };
    size_t Cx = u->channels[top];
    float *h, *mid;

    p.silu_temb = embed_time(&p, job->t);
    h = arena_floats(c->work, B * P * C0);
    apply_conv(c, h, x, &u->conv_in, B, H, W);
    report(&p.listener, h, B, H, W, C0, SAEURON_TAP_IMAGE, "conv_in");
    s.x[s.count++] = h;
    for (size_t i = 0; i < u->levels && !p.listener.stop; i++)
        h = down_forward(&p, i, h, &H, &W, &s);
    if (!p.listener.stop) {
        mid = arena_floats(c->work, B * H * W * Cx);
        mid_forward(&p, mid, h, H, W);
        h = mid;
    }
    for (size_t i = 0; i < u->levels && !p.listener.stop; i++) {
        h = up_forward(&p, i, h, Cx, &H, &W, &s);
        Cx = u->channels[top - i];
    }
    if (!p.listener.stop) {
        float *g = arena_floats(c->work, B * P * C0);
        nn_group_norm(c, g, h, u->conv_norm_out.gamma, u->conv_norm_out.beta, B, P, C0, u->groups, u->eps,
                      true);
        apply_conv(c, y, g, &u->conv_out, B, H, W);
        report(&p.listener, y, B, H, W, u->out_channels, SAEURON_TAP_IMAGE, "conv_out");
    }
    arena_release(c->work, mark);
    if (p.listener.stop) {
        OMP(omp atomic write)
        job->stop = p.listener.stop;
    }
}

int unet_forward(nn *c, const unet *u, float *y, const float *x, float t, const text_kv *kv,
                 size_t B, size_t H, size_t W, const tap *watch)
{
    unet_job job = { u, y, x, t, kv, H, W, watch, 0 };
    by_rows(c, u->conv_in.w.packed, watch, B, unet_rows, &job);
    return job.stop;
}

/* ---- text and hooks ---- */

/* Number n (from 0, in the order of binding) of the transformers, and where it stands. NULL past the last. */
static const transformer *nth_transformer(const unet *u, size_t n, char *path, size_t size, size_t *level)
{
    for (size_t i = 0; i < u->levels; i++)
        for (size_t j = 0; u->cross_down[i] && j < u->layers; j++)
            if (!n--) {
                print_into(path, size, "down_blocks.%zu.attentions.%zu", i, j);
                *level = i;
                return &u->down[i].attentions[j];
            }
    if (!n--) {
        print_into(path, size, "mid_block.attentions.0");
        *level = u->levels - 1;
        return &u->mid_attention;
    }
    for (size_t i = 0; i < u->levels; i++)
        for (size_t j = 0; u->cross_up[i] && j <= u->layers; j++)
            if (!n--) {
                print_into(path, size, "up_blocks.%zu.attentions.%zu", i, j);
                *level = u->levels - 1 - i;
                return &u->up[i].attentions[j];
            }
    return NULL;
}

void unet_text(nn *c, const unet *u, text_kv *kv, const float *text, size_t B, size_t N)
{
    char   path[64];
    size_t level;
    const transformer *t;
    kv->N = N;
    for (size_t i = 0; (t = nth_transformer(u, i, path, sizeof path, &level)) != NULL; i++) {
        kv->k[i] = arena_floats(c->work, B * N * t->C);
        kv->v[i] = arena_floats(c->work, B * N * t->C);
        apply_linear(c, kv->k[i], text, &t->attn2.to_k, B * N);
        apply_linear(c, kv->v[i], text, &t->attn2.to_v, B * N);
    }
}

bool unet_hook_name(const unet *u, size_t number, char *out, size_t size)
{
    size_t level;
    return nth_transformer(u, number, out, size, &level) != NULL;
}

const char *unet_bare_hook(const char *hook) { return strncmp(hook, "unet.", 5) ? hook : hook + 5; }

size_t unet_side(size_t side, size_t level)
{
    const size_t scale = (size_t)1 << level;
    return (side + scale - 1) / scale;
}

size_t unet_hook_width(const unet *u, const char *hook, size_t *level_of)
{
    char   path[64];
    size_t level;
    const transformer *t;
    hook = unet_bare_hook(hook);
    for (size_t i = 0; (t = nth_transformer(u, i, path, sizeof path, &level)) != NULL; i++)
        if (!strcmp(path, hook)) {
            if (level_of)
                *level_of = level;
            return t->C;
        }
    return 0;
}
