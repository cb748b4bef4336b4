/* measure.c: an SAE on activations of a source, map by map, and its densities as a histogram.
 *
 *   maps (activations.c) --blocks--> measure_add (train.c) --> FVU, L0, dead latents; fired --> latents by density
 *
 * Not here: the sums (train.c), where maps come from (activations.c), printing (command_train.c).
 * Letters: N tokens a map, d width, n latents. */
#include "training/measure.h"

#include <string.h>

/* ---- densities ---- */

/* Powers of 10^(1/2) from 10^-8 to 1; no function whose bits differ is asked for them. */
static const double ends[DENSITY_BINS - 1] = { 1e-8, 3.1622776601683795e-8, 1e-7, 3.1622776601683795e-7, 1e-6, 3.1622776601683795e-6, 1e-5, 3.1622776601683795e-5, 1e-4,
                                               3.1622776601683795e-4, 1e-3, 3.1622776601683795e-3, 1e-2, 3.1622776601683795e-2, 1e-1, 3.1622776601683795e-1, 1 };

void density_bin(size_t i, double *low, double *high)
{
    *low = i < 2 ? 0 : ends[i - 2];
    *high = i ? ends[i - 1] : 0;
}

static void fill_bins(measurement *m, const uint64_t *fired)
{
    memset(m->bin, 0, sizeof m->bin);
    for (size_t i = 0; i < m->n; i++) {
        const double share = (double)fired[i] / (double)m->tokens;
        size_t bin = fired[i] ? 1 : 0;
        while (bin && bin + 1 < DENSITY_BINS && share >= ends[bin - 1])
            bin++;
        m->bin[bin]++;
    }
}

void density_table(const measurement *m, text_out *t)
{
    double low, high;
    text_add(t, "low\thigh\tlatents\n");
    for (size_t i = 0; i < DENSITY_BINS; i++) {
        density_bin(i, &low, &high);
        text_real(t, low);
        text_add(t, "\t");
        text_real(t, high);
        text_add(t, "\t%zu\n", m->bin[i]);
    }
}

static void add_real(text_out *t, const char *name, double x)
{
    text_add(t, ", \"%s\": ", name);
    text_real(t, x);
}

void measurement_json(const measurement *m, text_out *t)
{
    double low, high;
    text_add(t, "\"maps\": %zu, \"tokens\": %zu, \"latents\": %zu, \"k\": %zu", m->maps, m->tokens, m->n, m->k);
    add_real(t, "fvu", m->fvu);
    add_real(t, "l0", m->l0);
    text_add(t, ", \"dead\": %zu", m->dead);
    add_real(t, "dead_share", (double)m->dead / (double)m->n);
    text_add(t, ", \"density\": [");
    for (size_t i = 0; i < DENSITY_BINS; i++) {
        density_bin(i, &low, &high);
        text_add(t, i ? ", [" : "[");
        text_real(t, low);
        text_add(t, ", ");
        text_real(t, high);
        text_add(t, ", %zu]", m->bin[i]);
    }
    text_add(t, "]");
}

/* ---- measuring ---- */

/* x [block N,d]: maps by the block through the measure. */
static int add_maps(measure *m, map_source *s, const saeuron_host *host, const measure_options *o, float *x, size_t block, saeuron_error *err)
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

static int measure_loaded(measurement *r, const sae *net, map_source *s, const saeuron_host *host, const measure_options *o, saeuron_error *err)
{
    const size_t block = 1024 / s->N ? 1024 / s->N : 1;
    measure_report found;
    measure *m = NULL;
    size_t   values;
    float   *x;
    int      code;
    if (net->d != s->d)
        return fail(err, SAEURON_EFORMAT, "%s: is for activations %zu wide, but these are %zu wide: name activations of its own hook", net->file.path, net->d, s->d);
    if (!nn_mul(block, s->N * s->d, &values) || !(x = io_alloc(host, values, sizeof *x)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu maps at a time", block);
    code = measure_open(&m, host, net, o->threads, o->isa, err);
    if (!code)
        code = add_maps(m, s, host, o, x, block, err);
    if (!code && (code = measure_result(m, &found, err)) == SAEURON_OK) {
        *r = (measurement){ .maps = o->count, .tokens = found.tokens, .n = net->n, .k = net->k, .fvu = found.fvu, .l0 = found.l0, .dead = found.dead };
        fill_bins(r, found.fired);
    }
    measure_close(m);
    io_free(host, x);
    return code;
}

int measure_sae(measurement *r, map_source *s, const saeuron_host *host, const measure_options *o, saeuron_error *err)
{
    sae net;
    int code = sae_load(&net, host, NULL, o->dir, err);
    if (code)
        return code;
    code = measure_loaded(r, &net, s, host, o, err);
    sae_unload(&net, host);
    return code;
}
