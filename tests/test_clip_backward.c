/* test_clip_backward.c: the text encoder backwards: torch.autograd in float64, by the embeddings and weights.
 *
 * Not here: one operation's derivative (test_backward.c). */
#include "test.h"
#include "goldens.h"
#include "gradients/clip_backward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

enum { TENSORS = 6 };
typedef struct text_run { clip t; tensors *g; const char *name; size_t B, N; } text_run;

static void run_back(nn *c, void *user)
{
    static tape t;
    const text_run *r = user;
    const clip *net = &r->t;
    const size_t mark = arena_mark(c->work), D = net->D, M = r->B * r->N, n = M * D;
    const struct { const char *name; const void *field; size_t n; } all[TENSORS] = {
        { "embeddings.token_embedding.weight", &net->token_embedding, net->vocab * D },
        { "embeddings.position_embedding.weight", &net->position_embedding, net->positions * D },
        { "encoder.layers.0.self_attn.k_proj.weight", &net->layer[0].k_proj.w, D * D },
        { "encoder.layers.1.mlp.fc1.bias", &net->layer[1].fc1.bias, net->F },
        { "encoder.layers.1.layer_norm2.weight", &net->layer[1].layer_norm2.gamma, D },
        { "final_layer_norm.bias", &net->final_layer_norm.beta, D },
    };
    const tap record = { tape_record, &t, true };
    wanted list[TENSORS];
    char   name[128];
    const int32_t *ids = input_ids(c->work, M, net->vocab, r->name);
    float *y = arena_floats(c->work, n), *dx = arena_floats(c->work, n);
    snprintf(name, sizeof name, "%s.dy", r->name);
    float *dy = input(c->work, n, unit(), name);
    for (size_t k = 0; k < TENSORS; k++)
        list[k] = (wanted){ all[k].field, arena_floats(c->work, all[k].n) };
    arena keep = { 0 }; /* one layer's output after another, which clip_forward may not take back */
    const size_t room = (net->layers + 1) * (n * sizeof *y + 64);
    keep.base = arena_bytes(c->work, room, 1);
    keep.size = keep.base ? room : 0;
    t = (tape){ .keep = &keep };
    clip_forward(c, net, y, ids, r->B, r->N, &record);
    backward g = { c, list, TENSORS, NULL };
    clip_backward(&g, net, dx, dy, ids, r->B, r->N, &t);
    if (y) {
        snprintf(name, sizeof name, "%s.d.tokens", r->name);
        check_truth(r->g, name, dx, n);
        for (size_t k = 0; k < TENSORS; k++) {
            snprintf(name, sizeof name, "%s.d.%s", r->name, all[k].name);
            check_truth(r->g, name, list[k].d, all[k].n);
        }
    }
    arena_release(c->work, mark);
}

/* SD 1.5's kind (quick_gelu) and SD 2.x's (gelu); of more than one prompt. */
static void text(void)
{
    static const struct { const char *name; size_t B, N; } cases[] = {
        { "text15", 2, 77 }, { "text2", 3, 20 }
    };
    tensors g;
    if (!golden_open(&g, "gradient"))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text_run r = { .g = &g, .name = cases[i].name, .B = cases[i].B, .N = cases[i].N };
        io_file f;
        void *memory = NULL;
        const json v = config_open(&f, cases[i].name);
        if (clip_configure(&r.t, v, cases[i].name, &err) ||
            bind_hashed(&host, GOLDEN_SEED, DT_F32, 1, clip_bind, &r.t, &memory, &err))
            CHECK(false, "%s", err.text);
        else
            planned(run_back, &r);
        io_free(&host, memory);
        io_close(&f);
    }
    for (size_t i = 0; i < g.count; i++) /* the UNet's are test_unet_backward.c's */
        CHECK(g.list[i].used || !strncmp(g.list[i].name, "unet", 4), "no test read the golden %s",
              g.list[i].name);
    tensors_close(&g);
}

const test_case clip_backward_tests[] = {
    { "text", text }, { NULL, NULL },
};
