/* goldens.c: the files that tests/golden/make.py wrote, and how a result is compared with them. */
#include "goldens.h"
#include "test.h"
#include "arithmetic/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

static uint64_t little(const unsigned char *p, size_t bytes)
{
    uint64_t u = 0;
    for (size_t i = bytes; i-- > 0;)
        u = u << 8 | p[i];
    return u;
}

double f64_at(const tensor *t, size_t i)
{
    const uint64_t u = little(t->data + 8 * i, 8);
    double x;
    memcpy(&x, &u, 8);
    return x;
}

float f32_at(const tensor *t, size_t i)
{
    const uint32_t u = (uint32_t)little(t->data + 4 * i, 4);
    float x;
    memcpy(&x, &u, 4);
    return x;
}

int64_t i64_at(const tensor *t, size_t i) { return (int64_t)little(t->data + 8 * i, 8); }

bool golden_open(tensors *g, const char *part)
{
    char path[256];
    snprintf(path, sizeof path, GOLDENS "/%s.safetensors", part);
    const int code = tensors_open(g, &host, path, &err);
    CHECK(code == SAEURON_OK, "%s", err.text);
    return code == SAEURON_OK;
}

void golden_close(tensors *g)
{
    for (size_t i = 0; i < g->count; i++)
        CHECK(g->list[i].used, "no test read the golden %s", g->list[i].name);
    tensors_close(g);
}

/* The golden NAME of this type, marked as read; NULL (a failure) when there is none. */
const tensor *golden(tensors *g, dtype type, const char *name)
{
    tensor *t = tensors_find(g, name);
    CHECK(t && t->type == type, "%s: the golden is missing or of another type", name);
    if (!t || t->type != type)
        return NULL;
    t->used = true;
    return t;
}

/* One float32 ulp of the largest magnitude: what a correctly rounded result may miss by, twice over. */
double ulp_of(double largest)
{
    int e;
    frexp(largest, &e);
    return ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

typedef struct distance { double rms, max; } distance;

/* How far y [count] lies from the truth, over the sampled elements, and the truth's largest magnitude. */
static distance distance_of(const tensor *truth, const float *y, size_t count, double *largest)
{
    const uint64_t stream = nn_hash(0, truth->name, strlen(truth->name));
    double sum = 0, max = 0;
    *largest = 0;
    for (size_t j = 0; j < truth->count; j++) {
        const size_t i = truth->count == count ? j : (size_t)(rng_value(0, stream, j) % count);
        const double x = f64_at(truth, j), e = fabs((double)y[i] - x);
        sum += e * e;
        max = e > max || isnan(e) ? e : max;
        *largest = fabs(x) > *largest ? fabs(x) : *largest;
    }
    return (distance){ sqrt(sum / (double)truth->count), max };
}

/* Contract 9: y [count] against the float64 golden NAME and PyTorch's distance to it. */
void check_truth(tensors *g, const char *name, const float *y, size_t count)
{
    char   other[160];
    double largest;
    snprintf(other, sizeof other, "%s.distance", name);
    const tensor *truth = golden(g, DT_F64, name), *torch = golden(g, DT_F64, other);
    if (!truth || !torch)
        return;
    const bool fits = truth->count == count || (truth->count == GOLDEN_SAMPLE && count > GOLDEN_SAMPLE);
    CHECK(fits, "%s: the golden has %zu elements, the tensor %zu", name, truth->count, count);
    if (!fits)
        return;
    const distance ours = distance_of(truth, y, count, &largest),
                   its = { f64_at(torch, 0), f64_at(torch, 1) };
    const double floor = ulp_of(largest);
    distance bar = { 1.5 * its.rms, 2 * its.max };
    if (truth->count < 1000)
        bar = (distance){ floor + 4 * its.rms, floor + 4 * its.max };
    bar.rms = bar.rms > floor ? bar.rms : floor;
    bar.max = bar.max > floor ? bar.max : floor;
    CHECK(ours.rms <= bar.rms && ours.max <= bar.max,
          "%s: rms %.2e, max %.2e from the truth; PyTorch %.2e, %.2e; allowed %.2e, %.2e", name, ours.rms,
          ours.max, its.rms, its.max, bar.rms, bar.max);
    test_note("%s rms %.2f max %.2f", name, its.rms > 0 ? ours.rms / its.rms : ours.rms / floor,
              its.max > 0 ? ours.max / its.max : ours.max / floor);
}

/* Bits: y [count] equals the float32 golden NAME. */
void check_bits(tensors *g, const char *name, const float *y, size_t count)
{
    const tensor *t = golden(g, DT_F32, name);
    size_t wrong = 0, first = 0;
    if (!t)
        return;
    CHECK(t->count == count, "%s: the golden has %zu elements, not %zu", name, t->count, count);
    for (size_t i = 0; t->count == count && i < count; i++) {
        const float x = f32_at(t, i);
        if (memcmp(&x, &y[i], sizeof x) && !wrong++)
            first = i;
    }
    CHECK(!wrong, "%s: %zu of %zu elements differ; the first, %zu, is %a, not %a", name, wrong, count, first,
          (double)y[first], (double)f32_at(t, first));
    if (!wrong)
        test_note("%s equal bits", name);
}

/* ---- configs ---- */

json config_open(io_file *f, const char *name)
{
    char path[256];
    json v = { 0 };
    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, GOLDENS "/configs/%s.json", name);
    if (io_open(f, &host, path, &err) || json_open(&v, (const char *)f->data, f->size, path, &err))
        CHECK(false, "%s", err.text);
    return v;
}

/* The number at KEY, or absent. */
double number(json object, const char *key, double absent)
{
    json v;
    double x;
    return json_get(object, key, &v) && json_number(v, &x) ? x : absent;
}

size_t size_at(json object, const char *key) { return (size_t)number(object, key, 0); }

bool flag(json object, const char *key)
{
    json v;
    bool x;
    return json_get(object, key, &v) && json_bool(v, &x) && x;
}

void text_at(json object, const char *key, char *out, size_t size)
{
    json v;
    out[0] = 0;
    CHECK(json_get(object, key, &v) && json_string(v, out, size, NULL), "a config lacks \"%s\"", key);
}

/* ---- inputs, memory, runs ---- */

/* Input NAME, n elements in +-a; NULL while planning. */
float *input(arena *a, size_t n, float bound, const char *name)
{
    float *y = arena_floats(a, n);
    const uint64_t stream = nn_hash(0, name, strlen(name));
    for (size_t i = 0; y && i < n; i++)
        y[i] = rng_symmetric(GOLDEN_SEED, stream, i, bound);
    return y;
}

float unit(void) { return (float)sqrt(3.0); } /* +-sqrt(3) has variance 1 */

/* The same as a map: drawn as [B,C,P], as PyTorch has it, and turned to [B,P,C]. */
float *input_map(arena *a, size_t B, size_t C, size_t P, const char *name)
{
    float *x = input(a, B * C * P, unit(), name), *y = arena_floats(a, B * C * P);
    if (y)
        nn_from_nchw(y, x, B, C, P);
    return y;
}

int32_t *input_ids(arena *a, size_t n, size_t vocab, const char *network)
{
    char name[64];
    int32_t *ids = arena_bytes(a, n, sizeof *ids);
    snprintf(name, sizeof name, "%s.ids", network);
    const uint64_t stream = nn_hash(0, name, strlen(name));
    for (size_t i = 0; ids && i < n; i++)
        ids[i] = (int32_t)(rng_value(GOLDEN_SEED, stream, i) % vocab);
    return ids;
}

/* Runs once on an arena without memory, then on as much as that planned; `all` of which is used, or at
 * most. */
void planned_for(void (*run)(nn *c, void *user), void *user, bool all)
{
    arena plan = { 0 };
    nn c;
    CHECK(nn_init(&c, NULL, 2, &plan), "nn_init failed");
    run(&c, user);
    arena work = { .base = malloc(plan.peak + 64), .size = plan.peak };
    CHECK(work.base && !plan.failed, "no memory for %zu bytes", plan.peak);
    if (!work.base)
        return;
    void *block = work.base;
    work.base += (64 - (uintptr_t)work.base % 64) % 64;
    CHECK(nn_init(&c, NULL, 2, &work), "nn_init failed");
    run(&c, user);
    CHECK(!work.failed && (all ? work.peak == plan.peak : work.peak <= plan.peak) && !work.used,
          "planned %zu bytes, used %zu, kept %zu", plan.peak, work.peak, work.used);
    free(block);
}

void planned(void (*run)(nn *c, void *user), void *user) { planned_for(run, user, true); }

int watch(void *user, nn *c, const module_output *o)
{
    const watcher *w = user;
    char full[160];
    (void)c;
    snprintf(full, sizeof full, "%s.%s", w->network, o->name);
    if (o->x)
        check_truth(w->g, full, o->x, o->B * o->H * o->W * o->C);
    return 0;
}

/* Bytes of the hash: make.py's picture. */
void fill_picture(unsigned char *rgb, size_t n, const char *name)
{
    const uint64_t stream = nn_hash(0, name, strlen(name));
    for (size_t i = 0; rgb && i < n; i++)
        rgb[i] = (unsigned char)(rng_value(GOLDEN_SEED, stream, i) >> 56);
}

bool sae_open_goldens(sae_run *r)
{
    size_t side;
    memset(r, 0, sizeof *r);
    r->v = config_open(&r->file, "sae");
    if (!golden_open(&r->g, "sae"))
        return false;
    const int code = sae_load(&r->a.sae, &host, NULL, GOLDENS "/sae", &err);
    CHECK(code == SAEURON_OK, "%s", err.text);
    const int more = code ? code : stats_load(&r->a.stats, &host, GOLDENS "/sae/stats.safetensors", &err);
    CHECK(more == SAEURON_OK, "%s", err.text);
    side = size_at(r->v, "side");
    r->M = size_at(r->v, "batch") * side * side;
    return !code && !more;
}

void sae_close_goldens(sae_run *r, const char *prefix)
{
    for (size_t i = 0; i < r->g.count; i++) /* three tests share the file: each answers for its own */
        CHECK(r->g.list[i].used || strncmp(r->g.list[i].name, prefix, strlen(prefix)),
              "no test read the golden %s", r->g.list[i].name);
    stats_unload(&r->a.stats, &host);
    sae_unload(&r->a.sae, &host);
    tensors_close(&r->g);
    io_close(&r->file);
}

/* The activations, [M,d]; NULL while planning. */
float *activations(nn *c, sae_run *r)
{
    float *x = arena_floats(c->work, r->M * r->a.sae.d);
    const tensor *t = golden(&r->g, DT_F32, "sae.x");
    CHECK(t && t->count == r->M * r->a.sae.d, "sae.x has another size");
    for (size_t i = 0; x && t && i < t->count; i++)
        x[i] = f32_at(t, i);
    return x;
}

/* Whether the model is the one that the goldens were made with: it may have been trained again since. */
bool same_model(tensors *g)
{
    for (size_t i = 0; i < g->count; i++) {
        const char *const name = g->list[i].name;
        char path[256];
        io_file f;
        if (strncmp(name, "file.", 5))
            continue;
        snprintf(path, sizeof path, MODEL "/%s", name + 5);
        if (io_open(&f, &host, path, &err)) {
            CHECK(false, "%s", err.text);
            return false;
        }
        const bool same = nn_hash(0, f.data, f.size) == (uint64_t)i64_at(&g->list[i], 0);
        g->list[i].used = true;
        io_close(&f);
        CHECK(same,
              "%s is not the file that the goldens were made with: tests/golden/make.py --only emojicanvas",
              path);
        if (!same)
            return false;
    }
    return true;
}
