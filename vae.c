/* vae.c: the decoder of AutoencoderKL, from latents to pixels.
 *
 *   ddim.c --latents [B,h,w,4]--> vae_decode --> image [B,s h,s w,3] in about [-1,1] --nn_pixel--> PNG
 *
 * Not here: the ResNet block (unet.c, shared), the encoder (training only).
 * Source: diffusers.models.autoencoders.autoencoder_kl.AutoencoderKL.decode, vae.Decoder, unets.unet_2d_blocks.UpDecoderBlock2D.
 * Letters: B batch, H, W sides at the level at hand, C channels there. */
#include "model.h"

#include <stdio.h>
#include <string.h>

#define VAE_EPS 1e-6f /* of every norm in it; diffusers passes resnet_eps=1e-6 */

int vae_configure(vae *v, json object, const char *path, sae_error *err)
{
    static const char *const read[] = { "latent_channels", "out_channels", "block_out_channels", "layers_per_block", "norm_num_groups",
        "scaling_factor", "shift_factor", "use_post_quant_conv", "mid_block_add_attention", "act_fn", "up_block_types", "in_channels", "latents_mean", "latents_std", NULL };
    /* The encoder's; the side of training images; whether float16 is widened to decode, which here it always is. */
    static const char *const ignored[] = { "down_block_types", "use_quant_conv", "sample_size", "force_upcast", NULL };
    config c = { .object = object, .path = path, .err = err };
    json   list, type;

    memset(v, 0, sizeof *v);
    config_known(&c, read, ignored);
    config_only(&c, "act_fn", "\"silu\"");
    config_only(&c, "out_channels", "3");
    config_only(&c, "latents_mean", "null"); /* other pipelines' way of scaling, which StableDiffusionPipeline would pass by */
    config_only(&c, "latents_std", "null");
    v->out_channels    = 3;
    v->latent_channels = config_size(&c, "latent_channels", 4, 1, 64);
    v->levels          = config_sizes(&c, "block_out_channels", 64, v->channels, config_has(&c, "block_out_channels") ? 0 : 1);
    v->layers          = config_size(&c, "layers_per_block", 1, 1, LAYERS - 1);
    v->groups          = config_size(&c, "norm_num_groups", 32, 1, 1024);
    v->scaling_factor  = config_float(&c, "scaling_factor", 0.18215f);
    v->shift_factor    = config_float(&c, "shift_factor", 0);
    v->post_quant      = config_bool(&c, "use_post_quant_conv", true);
    v->mid_attention   = config_bool(&c, "mid_block_add_attention", true);
    if (json_get(object, "up_block_types", &list)) {
        json_iter it = json_begin(list);
        while (!c.code && json_next(&it, NULL, &type))
            if (!json_equals(type, "UpDecoderBlock2D"))
                c.code = fail(err, SAE_EFORMAT, "%s: \"up_block_types\" holds a block other than UpDecoderBlock2D, which is not supported", path);
    }
    if (!c.code && !(v->scaling_factor > 0))
        c.code = fail(err, SAE_EFORMAT, "%s: \"scaling_factor\" must be above 0", path);
    if (!c.code && !v->levels)
        c.code = fail(err, SAE_EFORMAT, "%s: \"block_out_channels\" is no list", path);
    for (size_t i = 0; !c.code && i < v->levels; i++)
        if (v->channels[i] % v->groups)
            c.code = fail(err, SAE_EFORMAT, "%s: \"block_out_channels\" %zu is no multiple of \"norm_num_groups\" %zu", path, v->channels[i], v->groups);
    return c.code;
}

/* The encoder's half of the file passes unread: sampling needs only the decoder. */
static void skip_encoder(tensors *file)
{
    for (size_t i = 0; i < file->count; i++)
        if (!strncmp(file->list[i].name, "encoder.", 8) || !strncmp(file->list[i].name, "quant_conv.", 11))
            file->list[i].used = true;
}

static void bind_mid_attention(binder *b, vae_attention *a, size_t C)
{
    bind_norm(b, "group_norm", &a->group_norm, C);
    bind_linear(b, "to_q", &a->to_q, C, C);
    bind_linear(b, "to_k", &a->to_k, C, C);
    bind_linear(b, "to_v", &a->to_v, C, C);
    bind_linear(b, "to_out.0", &a->to_out, C, C);
}

/* decoder.mid_block: resnet, attention, resnet, all C wide. */
static void bind_mid(binder *b, vae *v, size_t C)
{
    for (size_t i = 0; i < 2; i++) {
        const size_t mark = bind_push(b, "mid_block.resnets.%zu", i);
        bind_resnet(b, &v->mid_resnet[i], C, C, 0, v->groups, VAE_EPS);
        bind_pop(b, mark);
    }
    if (v->mid_attention) {
        const size_t mark = bind_push(b, "mid_block.attentions.0");
        bind_mid_attention(b, &v->mid, C);
        bind_pop(b, mark);
    }
}

void vae_bind(binder *b, void *network)
{
    vae *v = network;
    size_t root, mark, C = v->channels[v->levels - 1];

    if (b->file)
        skip_encoder(b->file);
    if (v->post_quant)
        bind_conv(b, "post_quant_conv", &v->post_quant_conv, v->latent_channels, v->latent_channels, 1);
    root = bind_push(b, "decoder");
    bind_conv(b, "conv_in", &v->conv_in, v->latent_channels, C, 3);
    bind_mid(b, v, C);
    for (size_t i = 0; i < v->levels; i++) {
        const size_t co = v->channels[v->levels - 1 - i];
        for (size_t j = 0; j <= v->layers; j++, C = co) {
            mark = bind_push(b, "up_blocks.%zu.resnets.%zu", i, j);
            bind_resnet(b, &v->up[i].resnets[j], C, co, 0, v->groups, VAE_EPS);
            bind_pop(b, mark);
        }
        v->up[i].upsampler.k = 0;
        if (i + 1 < v->levels) {
            mark = bind_push(b, "up_blocks.%zu.upsamplers.0", i);
            bind_conv(b, "conv", &v->up[i].upsampler, co, co, 3);
            bind_pop(b, mark);
        }
    }
    bind_norm(b, "conv_norm_out", &v->conv_norm_out, C);
    bind_conv(b, "conv_out", &v->conv_out, C, v->out_channels, 3);
    bind_pop(b, root);
}

/* x += to_out(attention(group_norm(x))), one head over all pixels   (Attention with residual_connection). x [B,P,C]. */
static void mid_attention(nn *c, const vae *v, float *x, size_t B, size_t P)
{
    const vae_attention *a = &v->mid;
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

/* z / scaling_factor + shift_factor: what StableDiffusionPipeline does before decode. */
static void unscale(const vae *v, float *y, const float *z, size_t n)
{
    for (size_t i = 0; y && i < n; i++) {
        const float q = z[i] / v->scaling_factor;
        y[i] = v->shift_factor == 0 ? q : q + v->shift_factor;
    }
}

static void report(const tap *watch, const char *name, float *x, size_t B, size_t H, size_t W, size_t C)
{
    if (watch && x)
        watch->fn(watch->user, name, x, B, H, W, C, TAP_IMAGE);
}

/* One UpDecoderBlock2D: its resnets, then twice as large. *x, *y are two buffers that change places; *x is current. */
static void up_block(nn *c, const vae *v, size_t i, float **x, float **y, size_t B, size_t *H, size_t *W, const tap *watch)
{
    const vae_level *l = &v->up[i];
    char   name[64];
    float *swap;
    for (size_t j = 0; j <= v->layers; j++) {
        resnet_forward(c, &l->resnets[j], *y, *x, NULL, B, *H, *W);
        snprintf(name, sizeof name, "decoder.up_blocks.%zu.resnets.%zu", i, j);
        report(watch, name, *y, B, *H, *W, l->resnets[j].conv1.co);
        swap = *x, *x = *y, *y = swap;
    }
    if (!l->upsampler.k)
        return;
    nn_upsample2x(c, *y, *x, B, *H, *W, l->upsampler.ci);
    *H *= 2;
    *W *= 2;
    apply_conv(c, *x, *y, &l->upsampler, B, *H, *W);
    snprintf(name, sizeof name, "decoder.up_blocks.%zu.upsamplers.0", i);
    report(watch, name, *x, B, *H, *W, l->upsampler.co);
}

/* Floats of the largest activation on the way: what each of the two buffers must hold. */
static size_t largest(const vae *v, size_t B, size_t H, size_t W)
{
    size_t most = 0, C = v->channels[v->levels - 1];
    for (size_t i = 0; i < v->levels; i++) {
        const size_t co = v->channels[v->levels - 1 - i], up = i + 1 < v->levels ? 4 : 1;
        const size_t wide = C > co ? C : co, n = B * H * W;
        most = n * wide > most ? n * wide : most;
        most = n * up * co > most ? n * up * co : most;
        H *= up / 2 ? 2 : 1;
        W *= up / 2 ? 2 : 1;
        C = co;
    }
    return most;
}

void vae_decode(nn *c, const vae *v, float *y, const float *z, size_t B, size_t H, size_t W, const tap *watch)
{
    const size_t mark = arena_mark(c->work), n = largest(v, B, H, W), in = B * H * W * v->latent_channels, C0 = v->channels[0];
    float *a = arena_floats(c->work, n > in ? n : in);
    float *b = arena_floats(c->work, n > in ? n : in);
    float *swap;

    unscale(v, a, z, in);
    if (v->post_quant) {
        apply_conv(c, b, a, &v->post_quant_conv, B, H, W);
        swap = a, a = b, b = swap;
    }
    apply_conv(c, b, a, &v->conv_in, B, H, W);
    report(watch, "decoder.conv_in", b, B, H, W, v->conv_in.co);
    resnet_forward(c, &v->mid_resnet[0], a, b, NULL, B, H, W);
    if (v->mid_attention)
        mid_attention(c, v, a, B, H * W);
    resnet_forward(c, &v->mid_resnet[1], b, a, NULL, B, H, W);
    report(watch, "decoder.mid_block", b, B, H, W, v->conv_in.co);
    swap = a, a = b, b = swap;
    for (size_t i = 0; i < v->levels; i++)
        up_block(c, v, i, &a, &b, B, &H, &W, watch);
    nn_group_norm(c, b, a, v->conv_norm_out.gamma, v->conv_norm_out.beta, B, H * W, C0, v->groups, VAE_EPS, true);
    apply_conv(c, y, b, &v->conv_out, B, H, W);
    report(watch, "decoder.conv_out", y, B, H, W, v->out_channels);
    arena_release(c->work, mark);
}
