/* vae.c: AutoencoderKL: the decoder, from latents to pixels, and the encoder, from pixels to the latents'
 * distribution.
 *
 *   ddim.c --latents [B,h,w,4]--> vae_decode --> image [B,s h,s w,3] in about [-1,1] --nn_pixel--> PNG
 *   PNG --vae_pixels--> image in [-1,1] --vae_encode--> moments [B,h,w,8] --vae_latents--> latents [B,h,w,4]
 *
 * Not here: the ResNet block (layers/forward.h), drawing from the distribution (only training does; here its
 * mode is taken).
 * Source: diffusers.models.autoencoders.autoencoder_kl.AutoencoderKL, vae.Encoder, vae.Decoder,
 * vae.DiagonalGaussianDistribution, unets.unet_2d_blocks.DownEncoderBlock2D, UpDecoderBlock2D,
 * image_processor.VaeImageProcessor.
 * Letters: B batch, H, W sides at the level at hand, C channels there. */
#include "vae.h"

#include <string.h>

enum { RGB = 3 };
#define VAE_EPS 1e-6f /* of every norm in it; diffusers passes resnet_eps=1e-6 */

/* Refuses a list that names any other block, or not one for each level. */
static void only_blocks(config *c, const char *key, const char *only, size_t levels)
{
    json list, type;
    if (c->code || !config_has(c, key) || !json_get(c->object, key, &list))
        return;
    if (json_kind(list) != '[' || json_length(list) != levels)
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"%s\" must name %zu blocks, one for each level",
                       c->path, key, levels);
    for (json_iter it = json_begin(list); !c->code && json_next(&it, NULL, &type);)
        if (!json_equals(type, only))
            c->code = fail(c->err, SAEURON_EFORMAT,
                           "%s: \"%s\" holds a block other than %s, which is not supported", c->path, key,
                           only);
}

int vae_configure(vae *v, json object, const char *path, saeuron_error *err)
{
    static const char *const read[] = {
        "latent_channels", "out_channels", "block_out_channels", "layers_per_block", "norm_num_groups",
        "scaling_factor", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention", "act_fn",
        "down_block_types", "up_block_types", "in_channels", NULL
    };
    static const char *const ignored[] = {
        /* the side of training images; whether float16 is widened to decode, which here it always is */
        "sample_size", "force_upcast",
        /* other pipelines' ways of scaling: neither AutoencoderKL nor StableDiffusionPipeline, nor
         * StableDiffusionImg2ImgPipeline, reads them */
        "shift_factor", "latents_mean", "latents_std", NULL
    };
    config c = { .object = object, .path = path, .err = err };

    memset(v, 0, sizeof *v);
    config_known(&c, read, ignored);
    config_only(&c, "act_fn", "\"silu\"");
    config_only(&c, "in_channels", "3");
    config_only(&c, "out_channels", "3");
    v->latent_channels = config_size(&c, "latent_channels", 4, 1, 64);
    v->levels = config_sizes(&c, "block_out_channels", 64, v->channels,
                             config_has(&c, "block_out_channels") ? 0 : 1);
    v->layers          = config_size(&c, "layers_per_block", 1, 1, LAYERS - 1);
    v->groups          = config_size(&c, "norm_num_groups", 32, 1, 1024);
    v->scaling_factor  = config_positive(&c, "scaling_factor", 0.18215f);
    v->quant           = config_bool(&c, "use_quant_conv", true);
    v->post_quant      = config_bool(&c, "use_post_quant_conv", true);
    v->mid_attention   = config_bool(&c, "mid_block_add_attention", true);
    if (!c.code && !v->levels)
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"block_out_channels\" is no list", path);
    only_blocks(&c, "down_block_types", "DownEncoderBlock2D", v->levels);
    only_blocks(&c, "up_block_types", "UpDecoderBlock2D", v->levels);
    for (size_t i = 0; !c.code && i < v->levels; i++)
        if (v->channels[i] % v->groups)
            c.code = fail(err, SAEURON_EFORMAT,
                          "%s: \"block_out_channels\" %zu is no multiple of \"norm_num_groups\" %zu", path,
                          v->channels[i], v->groups);
    return c.code;
}

/* Whether the file holds the encoder. If not, a quant_conv, which follows the encoder, is not read either. */
static bool find_encoder(tensors *file)
{
    bool found = false;
    for (size_t i = 0; i < file->count; i++)
        found |= !strncmp(file->list[i].name, "encoder.", 8);
    for (size_t i = 0; !found && i < file->count; i++)
        file->list[i].used |= !strncmp(file->list[i].name, "quant_conv.", 11);
    return found;
}

static void bind_mid_attention(binder *b, vae_attention *a, size_t C)
{
    bind_norm(b, "group_norm", &a->group_norm, C);
    bind_linear(b, "to_q", &a->to_q, C, C);
    bind_linear(b, "to_k", &a->to_k, C, C);
    bind_linear(b, "to_v", &a->to_v, C, C);
    bind_linear(b, "to_out.0", &a->to_out, C, C);
}

/* mid_block: resnet, attention, resnet, all C wide. */
static void bind_mid(binder *b, const vae *v, vae_half *p, size_t C)
{
    for (size_t i = 0; i < 2; i++) {
        const size_t mark = bind_push(b, "mid_block.resnets.%zu", i);
        bind_resnet(b, &p->mid_resnet[i], C, C, 0, v->groups, VAE_EPS);
        bind_pop(b, mark);
    }
    if (v->mid_attention) {
        const size_t mark = bind_push(b, "mid_block.attentions.0");
        bind_mid_attention(b, &p->mid, C);
        bind_pop(b, mark);
    }
}

/* Level i of "down" or "up": resnets from ci to co channels, then a sampler, except at the last level. */
static void bind_level(binder *b, const vae *v, vae_level *l, const char *way, size_t i, size_t layers,
                       size_t ci, size_t co)
{
    size_t mark;
    for (size_t j = 0; j < layers; j++, ci = co) {
        mark = bind_push(b, "%s_blocks.%zu.resnets.%zu", way, i, j);
        bind_resnet(b, &l->resnets[j], ci, co, 0, v->groups, VAE_EPS);
        bind_pop(b, mark);
    }
    l->sampler.k = 0;
    if (i + 1 < v->levels) {
        mark = bind_push(b, "%s_blocks.%zu.%ssamplers.0", way, i, way);
        bind_conv(b, "conv", &l->sampler, co, co, 3);
        bind_pop(b, mark);
    }
}

static void bind_encoder(binder *b, vae *v)
{
    vae_half *p = &v->encoder;
    const size_t root = bind_push(b, "encoder"), moments = 2 * v->latent_channels;
    size_t C = v->channels[0];
    bind_conv(b, "conv_in", &p->conv_in, RGB, C, 3);
    for (size_t i = 0; i < v->levels; C = v->channels[i++])
        bind_level(b, v, &p->level[i], "down", i, v->layers, C, v->channels[i]);
    bind_mid(b, v, p, C);
    bind_norm(b, "conv_norm_out", &p->conv_norm_out, C);
    bind_conv(b, "conv_out", &p->conv_out, C, moments, 3);
    bind_pop(b, root);
    if (v->quant)
        bind_conv(b, "quant_conv", &v->quant_conv, moments, moments, 1);
}

static void bind_decoder(binder *b, vae *v)
{
    vae_half *p = &v->decoder;
    size_t root, C = v->channels[v->levels - 1];
    if (v->post_quant)
        bind_conv(b, "post_quant_conv", &v->post_quant_conv, v->latent_channels, v->latent_channels, 1);
    root = bind_push(b, "decoder");
    bind_conv(b, "conv_in", &p->conv_in, v->latent_channels, C, 3);
    bind_mid(b, v, p, C);
    for (size_t i = 0; i < v->levels; i++) {
        const size_t co = v->channels[v->levels - 1 - i];
        bind_level(b, v, &p->level[i], "up", i, v->layers + 1, C, co);
        C = co;
    }
    bind_norm(b, "conv_norm_out", &p->conv_norm_out, C);
    bind_conv(b, "conv_out", &p->conv_out, C, RGB, 3);
    bind_pop(b, root);
}

void vae_bind(binder *b, void *network)
{
    vae *v = network;
    v->has_encoder = !b->file || find_encoder(b->file);
    if (v->has_encoder)
        bind_encoder(b, v);
    bind_decoder(b, v);
}

size_t vae_scale(const vae *v) { return (size_t)1 << (v->levels - 1); }

/* ---- both halves ---- */

/* x += to_out(attention(group_norm(x))), one head   (Attention with residual_connection) x [B,P,C]. */
static void mid_attention(nn *c, const vae *v, const vae_attention *a, float *x, size_t B, size_t P)
{
    const size_t C = a->to_q.in, n = B * P * C, mark = arena_mark(c->work);
    float *h = arena_floats(c->work, n);
    float *q = arena_floats(c->work, n);
    float *k = arena_floats(c->work, n);
    float *t = arena_floats(c->work, n);

    nn_group_norm(c, h, x, a->group_norm.gamma, a->group_norm.beta, B, P, C, v->groups, VAE_EPS, false);
    apply_linear(c, q, h, &a->to_q, B * P);
    apply_linear(c, k, h, &a->to_k, B * P);
    apply_linear(c, t, h, &a->to_v, B * P);
    nn_attention(c, h, q, k, t, B, P, P, 1, C, false);
    apply_linear(c, q, h, &a->to_out, B * P);
    nn_add(c, x, q, x, n);
    arena_release(c->work, mark);
}

/* Two buffers that change places: x the current activation, y free. Each has room for the largest one. */
typedef struct pair { float *x, *y; } pair;

static void swap(pair *p)
{
    float *x = p->x;
    p->x = p->y;
    p->y = x;
}

/* UNetMidBlock2D.forward: resnet, attention, resnet. side: "encoder" or "decoder". */
static void mid_block(nn *c, const vae *v, const vae_half *p, pair *at, size_t B, size_t H, size_t W,
                      listener *watch, const char *side)
{
    resnet_forward(c, &p->mid_resnet[0], at->y, at->x, NULL, B, H, W);
    if (v->mid_attention)
        mid_attention(c, v, &p->mid, at->y, B, H * W);
    resnet_forward(c, &p->mid_resnet[1], at->x, at->y, NULL, B, H, W);
    report(watch, at->x, B, H, W, p->mid_resnet[1].conv2.co, SAEURON_TAP_IMAGE, "%s.mid_block", side);
}

/* The resnets of one level, down or up. */
static void resnets(nn *c, const vae_level *l, size_t layers, pair *at, size_t B, size_t H, size_t W,
                    listener *watch, const char *block, size_t i)
{
    for (size_t j = 0; j < layers; j++) {
        resnet_forward(c, &l->resnets[j], at->y, at->x, NULL, B, H, W);
        swap(at);
        report(watch, at->x, B, H, W, l->resnets[j].conv1.co, SAEURON_TAP_IMAGE, "%s.%zu.resnets.%zu", block,
               i, j);
    }
}

/* ---- decoder ---- */

/* z / scaling_factor: what StableDiffusionPipeline does before decode. */
static void unscale(const vae *v, float *y, const float *z, size_t n)
{
    for (size_t i = 0; y && i < n; i++)
        y[i] = z[i] / v->scaling_factor;
}

/* UpDecoderBlock2D.forward: resnets, then twice as large. */
static void up_block(nn *c, const vae *v, size_t i, pair *at, size_t B, size_t *H, size_t *W,
                     listener *watch)
{
    const vae_level *l = &v->decoder.level[i];
    resnets(c, l, v->layers + 1, at, B, *H, *W, watch, "decoder.up_blocks", i);
    if (!l->sampler.k)
        return;
    *H *= 2;
    *W *= 2;
    nn_upsample2x(c, at->y, at->x, B, *H, *W, l->sampler.ci);
    apply_conv(c, at->x, at->y, &l->sampler, B, *H, *W);
    report(watch, at->x, B, *H, *W, l->sampler.co, SAEURON_TAP_IMAGE, "decoder.up_blocks.%zu.upsamplers.0",
           i);
}

/* Floats of the decoder's largest activation, for latents [B,H,W,.]. */
static size_t largest_decoded(const vae *v, size_t B, size_t H, size_t W)
{
    size_t n = B * H * W, C = v->channels[v->levels - 1], floats = times(n, v->latent_channels);
    for (size_t i = 0; i < v->levels; i++) {
        const size_t co = v->channels[v->levels - 1 - i], larger = i + 1 < v->levels ? times(n, 4) : n;
        floats = most(floats, most(times(n, most(C, co)), times(larger, co)));
        n = larger;
        C = co;
    }
    return floats;
}

/* What vae_decode was asked for. */
typedef struct vae_job { const vae *v; float *y; const float *z; size_t H, W; const tap *watch; } vae_job;

/* EQ 9: latents, scaled back, to pixels in about [-1,1]; B images from `first` on */
static void decode_rows(nn *c, void *user, size_t first, size_t B)
{
    const vae_job *job = user;
    const vae *v = job->v;
    const vae_half *p = &v->decoder;
    const bool planned = !c->work->base;
    size_t H = job->H, W = job->W;
    const size_t mark = arena_mark(c->work), n = largest_decoded(v, B, H, W), scale = vae_scale(v);
    const float *z = planned ? NULL : job->z + first * H * W * v->latent_channels;
    float *y = planned ? NULL : job->y + first * H * scale * W * scale * RGB;
    listener watch = { .c = c, .tap = job->watch, .first = first };
    pair at;
    at.x = arena_floats(c->work, n);
    at.y = arena_floats(c->work, n);

    unscale(v, at.x, z, B * H * W * v->latent_channels);
    if (v->post_quant) {
        apply_conv(c, at.y, at.x, &v->post_quant_conv, B, H, W);
        swap(&at);
    }
    apply_conv(c, at.y, at.x, &p->conv_in, B, H, W);
    swap(&at);
    report(&watch, at.x, B, H, W, p->conv_in.co, SAEURON_TAP_IMAGE, "decoder.conv_in");
    mid_block(c, v, p, &at, B, H, W, &watch, "decoder");
    for (size_t i = 0; i < v->levels; i++)
        up_block(c, v, i, &at, B, &H, &W, &watch);
    nn_group_norm(c, at.y, at.x, p->conv_norm_out.gamma, p->conv_norm_out.beta, B, H * W, p->conv_norm_out.C,
                  v->groups, VAE_EPS, true);
    apply_conv(c, y, at.y, &p->conv_out, B, H, W);
    report(&watch, y, B, H, W, p->conv_out.co, SAEURON_TAP_IMAGE, "decoder.conv_out");
    arena_release(c->work, mark);
}

void vae_decode(nn *c, const vae *v, float *y, const float *z, size_t B, size_t H, size_t W, const tap *watch)
{
    vae_job job = { v, y, z, H, W, watch };
    by_rows(c, v->decoder.conv_in.w.packed, watch, B, decode_rows, &job);
}

/* ---- encoder ---- */

void vae_pixels(float *x, const unsigned char *rgb, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rgb[i] / 127.5f - 1.0f;
}

void vae_latents(const vae *v, float *z, const float *mean, size_t n)
{
    for (size_t i = 0; i < n; i++)
        z[i] = mean[i] * v->scaling_factor;
}

/* DownEncoderBlock2D.forward: resnets, then Downsample2D, padded by a row and a column of zeros behind. */
static void down_block(nn *c, const vae *v, size_t i, pair *at, size_t B, size_t *H, size_t *W,
                       listener *watch)
{
    const vae_level *l = &v->encoder.level[i];
    const conv_shape half = { .B = B,
                              .H = *H,
                              .W = *W,
                              .ci = l->sampler.ci,
                              .co = l->sampler.co,
                              .k = 3,
                              .stride = 2,
                              .pad_before = 0,
                              .pad_after = 1 };
    resnets(c, l, v->layers, at, B, *H, *W, watch, "encoder.down_blocks", i);
    if (!l->sampler.k)
        return;
    nn_conv2d(c, at->y, at->x, l->sampler.w, l->sampler.bias, &half);
    swap(at);
    *H /= 2;
    *W /= 2;
    report(watch, at->x, B, *H, *W, l->sampler.co, SAEURON_TAP_IMAGE,
           "encoder.down_blocks.%zu.downsamplers.0", i);
}

/* Floats of the encoder's largest activation, an image [B,H,W,3] given. */
static size_t largest_encoded(const vae *v, size_t B, size_t H, size_t W)
{
    size_t floats = 0, C = v->channels[0], n = B * H * W;
    for (size_t i = 0; i < v->levels; C = v->channels[i++]) {
        n = i ? n / 4 : n;
        floats = most(floats, times(n, most(C, v->channels[i])));
    }
    return most(floats, times(n, 2 * v->latent_channels));
}

/* DiagonalGaussianDistribution: the second half of each pixel's channels is the logarithm of the variance,
 * kept in [-30, 20]. */
static void clamp_logvar(float *y, size_t P, size_t C)
{
    for (size_t p = 0; y && p < P; p++, y += 2 * C)
        for (size_t i = C; i < 2 * C; i++)
            y[i] = y[i] < -30.0f ? -30.0f : y[i] > 20.0f ? 20.0f : y[i];
}

void vae_encode(nn *c, const vae *v, float *y, const float *x, size_t B, size_t H, size_t W, const tap *told)
{
    const vae_half *p = &v->encoder;
    const size_t mark = arena_mark(c->work), n = largest_encoded(v, B, H, W);
    listener watch = { .c = c, .tap = told };
    pair at;
    at.x = arena_floats(c->work, n);
    at.y = arena_floats(c->work, n);

    apply_conv(c, at.x, x, &p->conv_in, B, H, W);
    report(&watch, at.x, B, H, W, p->conv_in.co, SAEURON_TAP_IMAGE, "encoder.conv_in");
    for (size_t i = 0; i < v->levels; i++)
        down_block(c, v, i, &at, B, &H, &W, &watch);
    mid_block(c, v, p, &at, B, H, W, &watch, "encoder");
    nn_group_norm(c, at.y, at.x, p->conv_norm_out.gamma, p->conv_norm_out.beta, B, H * W, p->conv_norm_out.C,
                  v->groups, VAE_EPS, true);
    float *out = v->quant ? at.x : y;
    apply_conv(c, out, at.y, &p->conv_out, B, H, W);
    report(&watch, out, B, H, W, p->conv_out.co, SAEURON_TAP_IMAGE, "encoder.conv_out");
    if (v->quant) {
        apply_conv(c, y, out, &v->quant_conv, B, H, W);
        report(&watch, y, B, H, W, v->quant_conv.co, SAEURON_TAP_IMAGE, "quant_conv");
    }
    clamp_logvar(y, B * H * W, v->latent_channels);
    arena_release(c->work, mark);
}
