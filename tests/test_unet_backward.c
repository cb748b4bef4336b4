/* test_unet_backward.c: the UNet backwards: torch.autograd in float64, by the latents, the text states and a
 * tensor of each kind of layer; sides that are odd where they are halved.
 *
 * Not here: one operation's derivative (test_backward.c), an edit's (test_ablation_backward.c). */
#include "test.h"
#include "goldens.h"
#include "gradients/unet_backward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

typedef struct back_run { unet u; tensors *g; const char *name; } back_run;

/* Forwards on tape, which keeps in `keep`, then the loss mean (y - target)^2's derivative dy, then back. */
static void there_and_back(nn *c, const unet *u, arena *keep, const unet_inputs *at, const float *target,
                           float *dx, float *dtext, const wanted *list, size_t count, const tap *watch)
{
    static tape t;
    const size_t n = at->B * at->H * at->W * u->out_channels;
    const tap record = { tape_record, &t, true };
    backward g = { c, list, count, NULL };
    unet_inputs in = *at;
    text_kv kv;
    float *y = arena_floats(c->work, n);
    t = (tape){ .keep = keep };
    in.kv = &kv;
    unet_text(c, u, &kv, in.text, in.B, in.N);
    CHECK(unet_forward(c, u, y, in.x, in.t, &kv, in.B, in.H, in.W, &record) == 0, "the pass stopped");
    for (size_t i = 0; y && i < n; i++)
        y[i] = (float)(2.0 / (double)n) * (y[i] - target[i]);
    unet_backward(&g, u, dx, dtext, y, &in, &t, watch);
}

/* The tensors of make.py's UNET_TENSORS. */
enum { TENSORS = 18 };
typedef struct named { const char *name; const void *field; size_t n; } named;

static void list_tensors(const unet *u, named out[TENSORS])
{
    const transformer *mid = &u->mid_attention, *up1 = u->up[1].attentions;
    const resnet *down1 = u->down[1].resnets;
    const conv *const in = &u->conv_in, *const first = &u->down[0].attentions[0].proj_in;
    const size_t C0 = u->channels[0], C1 = u->channels[1], top = u->channels[u->levels - 1];
    const size_t T = u->time_width;
    const named table[TENSORS] = {
        { "conv_in.weight", &in->w, C0 * 4 * 9 },
        { "time_embedding.linear_1.weight", &u->time_1.w, T * C0 },
        { "time_embedding.linear_2.bias", &u->time_2.bias, T },
        { "down_blocks.0.resnets.0.norm1.weight", &u->down[0].resnets[0].norm1.gamma, C0 },
        { "down_blocks.1.resnets.0.conv_shortcut.weight", &down1[0].conv_shortcut.w, C1 * C0 },
        { "down_blocks.1.resnets.1.time_emb_proj.weight", &down1[1].time_emb_proj.w, C1 * T },
        { "down_blocks.0.attentions.1.norm.bias", &u->down[0].attentions[1].norm.beta, C0 },
        { "down_blocks.0.attentions.0.proj_in.weight", &first->w, C0 * C0 },
        { "down_blocks.1.downsamplers.0.conv.weight", &u->down[1].sampler.w, C1 * C1 * 9 },
        { "mid_block.resnets.0.conv1.weight", &u->mid_resnet[0].conv1.w, top * top * 9 },
        { "mid_block.attentions.0.transformer_blocks.0.attn1.to_v.weight", &mid->attn1.to_v.w, top * top },
        { "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_k.weight", &up1[2].attn2.to_k.w,
          up1[2].C * u->text_width },
        { "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj.weight", &up1[0].ff_in.w,
          up1[0].C * up1[0].C * 8 },
        { "up_blocks.2.attentions.1.transformer_blocks.0.norm3.weight", &u->up[2].attentions[1].norm3.gamma,
          u->up[2].attentions[1].C },
        { "up_blocks.0.upsamplers.0.conv.bias", &u->up[0].sampler.bias, u->up[0].sampler.co },
        { "up_blocks.2.resnets.2.conv2.weight", &u->up[2].resnets[2].conv2.w,
          u->up[2].resnets[2].conv2.co * u->up[2].resnets[2].conv2.ci * 9 },
        { "conv_norm_out.weight", &u->conv_norm_out.gamma, C0 },
        { "conv_out.weight", &u->conv_out.w, 4 * C0 * 9 },
    };
    memcpy(out, table, sizeof table);
}

/* By latents, text states and the tensors; what is kept of the pass lies in memory of its own. */
static void run_goldens(nn *c, void *user)
{
    enum { B = 2, N = 77 };
    static unsigned char kept[32u << 20];
    const back_run *r = user;
    const unet *u = &r->u;
    const size_t side = u->sample_size, P = side * side, n = B * P * 4, m = B * N * u->text_width;
    const size_t mark = arena_mark(c->work);
    arena  keep = { .base = c->work->base ? kept : NULL, .size = sizeof kept };
    named  all[TENSORS];
    wanted list[TENSORS];
    char   name[128];
    snprintf(name, sizeof name, "%s.latents", r->name);
    const float *x = input_map(c->work, B, 4, P, name);
    snprintf(name, sizeof name, "%s.text", r->name);
    const float *text = input(c->work, m, unit(), name);
    snprintf(name, sizeof name, "%s.target", r->name);
    const float *target = input_map(c->work, B, 4, P, name);
    float *dx = arena_floats(c->work, n), *dtext = arena_floats(c->work, m);
    const unet_inputs in = { x, 501.0f, text, NULL, B, N, side, side };
    list_tensors(u, all);
    for (size_t k = 0; k < TENSORS; k++)
        list[k] = (wanted){ all[k].field, arena_floats(c->work, all[k].n) };
    there_and_back(c, u, &keep, &in, target, dx, dtext, list, TENSORS, NULL);
    CHECK(!keep.failed, "%s: an output does not fit", r->name);
    if (dx) {
        snprintf(name, sizeof name, "%s.d.latents", r->name);
        check_truth(r->g, name, dx, n);
        snprintf(name, sizeof name, "%s.d.text", r->name);
        check_truth(r->g, name, dtext, m);
    }
    for (size_t k = 0; dx && k < TENSORS; k++) {
        snprintf(name, sizeof name, "%s.d.%s", r->name, all[k].name);
        check_truth(r->g, name, list[k].d, all[k].n);
    }
    arena_release(c->work, mark);
}

/* The network of that config, filled by hash; *memory is for io_free. */
static bool open_network(unet *u, const char *name, void **memory)
{
    io_file f;
    const json v = config_open(&f, name);
    const bool ok = !unet_configure(u, v, name, &err) &&
                    !bind_hashed(&host, GOLDEN_SEED, DT_F32, 1, unet_bind, u, memory, &err);
    CHECK(ok, "%s", err.text);
    io_close(&f);
    return ok;
}

static void goldens(void)
{
    static back_run r;
    static const char *const names[] = { "unet15", "unet2" };
    tensors g;
    if (!golden_open(&g, "gradient"))
        return;
    for (size_t i = 0; i < 2; i++) {
        void *memory = NULL;
        r.g = &g;
        r.name = names[i];
        if (open_network(&r.u, names[i], &memory))
            planned_for(run_goldens, &r, false);
        io_free(&host, memory);
    }
    for (size_t i = 0; i < g.count; i++) /* the text encoder's are test_clip_backward.c's */
        CHECK(g.list[i].used || !strncmp(g.list[i].name, "text", 4), "no test read the golden %s",
              g.list[i].name);
    tensors_close(&g);
}

/* ---- odd sides ---- */

enum { H = 7, W = 10, C = 4, N = 5, LATENTS = H * W * C };
typedef struct odd { unet u; float x[LATENTS], target[LATENTS], dx[LATENTS], *text, *dtext; } odd;

/* The loss at o->x. */
static double loss_at(nn *c, odd *o)
{
    const size_t mark = arena_mark(c->work);
    double sum = 0;
    text_kv kv;
    float *y = arena_floats(c->work, LATENTS);
    unet_text(c, &o->u, &kv, o->text, 1, N);
    unet_forward(c, &o->u, y, o->x, 741.0f, &kv, 1, H, W, NULL);
    for (size_t i = 0; y && i < LATENTS; i++)
        sum += ((double)y[i] - (double)o->target[i]) * ((double)y[i] - (double)o->target[i]);
    arena_release(c->work, mark);
    return sum / LATENTS;
}

/* Of latents of 7 x 10 every seventh against a difference of the loss, and some of the text. */
static void odd_sides(void)
{
    static odd o;
    static unsigned char memory[64u << 20], kept[16u << 20];
    arena work = { .base = memory, .size = sizeof memory }, keep = { .base = kept, .size = sizeof kept };
    void *weights = NULL;
    nn    c;
    CHECK(nn_init(&c, NULL, 2, &work), "nn_init failed");
    if (!open_network(&o.u, "unet15", &weights))
        return;
    const size_t m = N * o.u.text_width;
    o.text = input(&work, m, unit(), "odd.text");
    o.dtext = arena_floats(&work, m);
    memcpy(o.x, input(&work, LATENTS, unit(), "odd.x"), sizeof o.x);
    memcpy(o.target, input(&work, LATENTS, unit(), "odd.target"), sizeof o.target);
    const size_t mark = arena_mark(&work);
    const unet_inputs in = { o.x, 741.0f, o.text, NULL, 1, N, H, W };
    there_and_back(&c, &o.u, &keep, &in, o.target, o.dx, o.dtext, NULL, 0, NULL);
    arena_release(&work, mark);
    CHECK(!work.failed && !keep.failed, "memory");
    const struct { float *at, *d; size_t n; } of[2] = { { o.x, o.dx, LATENTS }, { o.text, o.dtext, m } };
    for (size_t k = 0; k < 2; k++) {
        double largest = 0;
        for (size_t i = 0; i < of[k].n; i++)
            largest = fabs((double)of[k].d[i]) > largest ? fabs((double)of[k].d[i]) : largest;
        for (size_t i = 0; i < of[k].n; i += 7) {
            const float was = of[k].at[i], step = 0x1p-5f;
            of[k].at[i] = was + step;
            const double above = loss_at(&c, &o);
            of[k].at[i] = was - step;
            const double quotient = (above - loss_at(&c, &o)) / (2 * (double)step);
            of[k].at[i] = was;
            CHECK(fabs(quotient - (double)of[k].d[i]) < 0.01 * largest,
                  "%s %zu: %g, but a difference says %g", k ? "text" : "x", i, (double)of[k].d[i], quotient);
        }
    }
    io_free(&host, weights);
}

/* ---- the tap ---- */

typedef struct seen { char names[512]; bool clear; } seen;

static int see(void *user, nn *c, const module_output *o)
{
    seen *s = user;
    (void)c;
    snprintf(s->names + strlen(s->names), sizeof s->names - strlen(s->names), "%s ", o->name);
    if (s->clear && !strcmp(o->name, "up_blocks.1.attentions.2"))
        memset(o->x, 0, o->B * o->H * o->W * o->C * sizeof *o->x);
    return 0;
}

/* Every hook is seen, the last first; what the tap changes there is what goes on. */
static void taps(void)
{
    static unet u;
    static unsigned char memory[96u << 20], kept[16u << 20];
    arena work = { .base = memory, .size = sizeof memory };
    void *weights = NULL;
    char  name[96], want[512] = "";
    nn    c;
    CHECK(nn_init(&c, NULL, 2, &work), "nn_init failed");
    if (!open_network(&u, "unet15", &weights))
        return;
    const size_t n = 16 * 16 * 4, m = N * u.text_width;
    float *x = input(&work, n, unit(), "taps.x"), *text = input(&work, m, unit(), "taps.text");
    float *dx[2], *dtext = arena_floats(&work, m);
    for (int k = 0; k < 2; k++) {
        seen s = { "", k == 1 };
        const tap watch = { see, &s, true };
        const unet_inputs in = { x, 1.0f, text, NULL, 1, N, 16, 16 };
        arena keep = { .base = kept, .size = sizeof kept };
        dx[k] = arena_floats(&work, n);
        const size_t mark = arena_mark(&work);
        there_and_back(&c, &u, &keep, &in, x, dx[k], dtext, NULL, 0, &watch);
        arena_release(&work, mark);
        for (size_t i = UNET_TEXTS; !k && i-- > 0;)
            if (unet_hook_name(&u, i, name, sizeof name) && !strstr(name, "mid") && strstr(name, "up"))
                snprintf(want + strlen(want), sizeof want - strlen(want), "%s ", name);
        CHECK(!strncmp(s.names, want, strlen(want)), "the up pass backwards shows %s, not %s", s.names, want);
    }
    CHECK(!work.failed && memcmp(dx[0], dx[1], n * sizeof *x), "a change at a hook does not go on");
    io_free(&host, weights);
}

const test_case unet_backward_tests[] = {
    { "goldens", goldens }, { "odd_sides", odd_sides }, { "taps", taps }, { NULL, NULL },
};
