/* eval.c: one evaluation: its lists, its shards, and the files that hold what was counted.
 *
 *   protocol --lists (a forgotten concept, or none) x places x seeds--> DIR/images/LIST/PAIR/SEED-PLACE.png
 *            --classifiers--> predictions.tsv --rules--> eval.json, eval.tsv, confusion/
 *
 * A list's pictures lie under the pair that it is forgotten by, so those of several pairs lie side by side.
 * Where the caller names a pair, the results lie in DIR/PAIR, else in DIR.
 *
 * A run can be stopped anywhere and goes on with what is there. A picture says how it was made (picture.c),
 * so one that was made otherwise is refused, not counted. No interruption, shard, batch or thread changes a
 * byte.
 *
 * Not here: what is counted (protocol.c, metrics.c), how a list is drawn and judged (drawing.c), the choice
 * of top K and strength (sweep.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released code scripts/sample_unlearning_*.py,
 * accuracy_unlearncanvas_*.py. */
#include "evaluation/eval.h"
#include "files/decimal.h"
#include "files/print.h"

#include <inttypes.h>
#include <string.h>

/* ---- a run ---- */

typedef struct run {
    const eval_options *o;
    maker  m;
    image_list *list;       /* the first forgets nothing */
    size_t lists;
    size_t jobs;            /* of a list: seeds * entries */
    bool  *mine;            /* [lists,jobs]: the shard's; NULL: all are */
    figures *with[DOMAINS], *without[DOMAINS]; /* [lists]: entry i is list i's, entry 0 the averages */
    eval_outcome *out;
} run;

/* How many lists forget something: one a concept, or one for all together. */
static size_t lists_to_forget(const eval_options *o)
{
    size_t count = 0;
    for (int d = 0; d < DOMAINS; d++)
        for (size_t c = 0; c < o->p->label[d].count; c++)
            count += o->concept[d] && o->concept[d][c];
    return o->together && count ? 1 : count;
}

/* A list wants the places that count for what it forgets (quick: a third of them). The first list, which
 * forgets nothing, wants what any other wants, and what others liken their own images to. */
static int open_list(run *r, const forgotten *what, saeuron_error *err)
{
    const protocol *p = r->o->p;
    image_list *l = &r->list[r->lists];
    const int code = list_open(l, p, r->o->dir, what, err);
    if (code)
        return code;
    r->lists++;
    for (int d = 0; d < DOMAINS; d++) {
        const size_t jobs = forgotten_any(what, d) ? r->jobs : 0;
        for (size_t j = 0; j < jobs; j++) {
            const entry *e = &p->entry[j % p->entries];
            const bool asked = !r->o->quick || place_is_quick(p, e);
            l->wanted[j] |= asked && place_counts(p, e, d, what);
            l->like[d][j] &= asked;
            r->list[0].wanted[j] |= l->wanted[j] || l->like[d][j];
        }
    }
    return SAEURON_OK;
}

static int open_lists(run *r, saeuron_error *err)
{
    const eval_options *o = r->o;
    const size_t lists = lists_to_forget(o);
    forgotten what = { { { false } } };
    int code;
    if (!lists)
        return fail(err, SAEURON_EUSAGE, "there is no concept to forget");
    if (!(r->list = io_alloc(o->p->host, lists + 1, sizeof *r->list)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu lists", lists + 1);
    code = open_list(r, &what, err);
    for (int d = 0; d < DOMAINS; d++)
        for (uint32_t c = 0; c < o->p->label[d].count && !code; c++)
            if (o->concept[d] && o->concept[d][c]) {
                what.has[d][c] = true;
                if (!o->together) {
                    code = open_list(r, &what, err);
                    what.has[d][c] = false;
                }
            }
    return code || !o->together ? code : open_list(r, &what, err);
}

/* Image number n of the whole run, in the order of lists, seeds and places, belongs to shard n % shards. */
static int open_shard(run *r, saeuron_error *err)
{
    size_t n = 0;
    if (!r->o->shards)
        return SAEURON_OK;
    if (!(r->mine = io_alloc(r->o->p->host, r->lists * r->jobs, sizeof *r->mine)))
        return fail(err, SAEURON_ENOMEM, "no memory for a shard");
    for (size_t i = 0; i < r->lists; i++)
        for (size_t j = 0; j < r->jobs; j++)
            r->mine[i * r->jobs + j] = r->list[i].wanted[j] && n++ % r->o->shards == r->o->shard;
    return SAEURON_OK;
}

static void close_run(run *r)
{
    const protocol *p = r->o->p;
    for (size_t i = 0; i < r->lists; i++)
        list_close(&r->list[i], p);
    io_free(p->host, r->list);
    io_free(p->host, r->mine);
    for (int d = 0; d < DOMAINS; d++) {
        io_free(p->host, r->with[d]);
        io_free(p->host, r->without[d]);
    }
    if (r->m.embeds)
        maker_close(&r->m);
}

/* How many images the run (mine: this shard of it) wants; *there: how many of them are there. */
static size_t count_images(const run *r, bool mine, size_t *there)
{
    size_t n = 0;
    *there = 0;
    for (size_t i = 0; i < r->lists; i++)
        for (size_t j = 0; j < r->jobs; j++)
            if (r->list[i].wanted[j] && (!mine || !r->mine || r->mine[i * r->jobs + j])) {
                n++;
                *there += r->list[i].there[j];
            }
    return n;
}

/* Looks at every list before anything is drawn: can its concept be forgotten, which images are there? */
static int check_lists(run *r, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (size_t i = 0; i < r->lists && !code; i++) {
        code = list_enter(&r->list[i], &r->m, &r->o->how, err);
        if (!code && i)
            code = refuse_overlap(r->m.x, r->o->p, r->o->overlap, err);
        if (!code)
            code = list_check(&r->list[i], &r->m, err);
    }
    return code;
}

static int draw_lists(run *r, size_t missing, saeuron_error *err)
{
    tally s = { .watch = &r->o->watch, .images = missing };
    int code = SAEURON_OK;
    for (size_t i = 0; i < r->lists && !code && s.done < missing; i++) {
        code = list_enter(&r->list[i], &r->m, &r->o->how, err);
        if (!code)
            code = list_draw(&r->list[i], &r->m, r->mine ? r->mine + i * r->jobs : NULL, &s, err);
    }
    return code;
}

/* Judges list i, and counts what it came to. Features of what is not forgotten are kept, the others are
 * dropped at once. */
static int classify_list(run *r, size_t i, saeuron_error *err)
{
    const protocol *p = r->o->p;
    image_list *l = &r->list[i], *none = &r->list[0];
    int code = list_enter(l, &r->m, &r->o->how, err);
    for (int d = 0; d < DOMAINS && !code; d++)
        if (!i || forgotten_any(&l->what, other_domain(d)))
            code = list_keep_features(l, &r->m, d, err);
    if (!code)
        code = list_classify(l, &r->m, err);
    for (int d = 0; d < DOMAINS && !code; d++)
        if (forgotten_any(&l->what, d) &&
            (code = list_measure(&r->with[d][i], l, d, l, none, p, err)) == SAEURON_OK)
            code = list_measure(&r->without[d][i], l, d, none, none, p, err);
    if (i)
        list_drop_features(l, p);
    return code;
}

static int classify_lists(run *r, saeuron_error *err)
{
    size_t   there;
    tally s = { .watch = &r->o->watch, .images = count_images(r, false, &there) };
    int      code = SAEURON_OK;
    for (int d = 0; d < DOMAINS && !code; d++) {
        r->with[d] = io_alloc(r->o->p->host, r->lists, sizeof *r->with[d]);
        r->without[d] = io_alloc(r->o->p->host, r->lists, sizeof *r->without[d]);
        if (!r->with[d] || !r->without[d])
            code = fail(err, SAEURON_ENOMEM, "no memory for the results");
    }
    for (size_t i = 0; i < r->lists && !code; i++) {
        size_t now = 0;
        for (size_t j = 0; j < r->jobs; j++)
            now += r->list[i].wanted[j];
        tell_next(&s, now);
        s.done += now;
        code = classify_list(r, i, err);
    }
    return code;
}

/* ---- results ---- */

/* DIR, or DIR/PAIR where the caller names one: "top_4_strength_-0.3", "strength_-1"; or DIR/RIVAL. */
static int name_results(const run *r, saeuron_error *err)
{
    const saeuron_forget_options *how = &r->o->how;
    const struct { const char *name; double value; bool given; } part[] = {
        { "top", (double)how->top, how->top > 0 },
        { "percentile", how->percentile, !how->top && how->percentile > 0 },
        { "min-lift", how->min_lift, how->min_lift > 0 },
        { "strength", how->strength, how->has_strength },
    };
    char   pair[192] = "";
    size_t n = 0;
    if (means_name(&r->o->by))
        n = print_into(pair, sizeof pair, "%.190s", means_name(&r->o->by));
    if (how->has_window)
        n = print_into(pair, sizeof pair, "window_%zu-%zu", how->first_step, how->end_step);
    if (how->has_half)
        n += print_into(pair + n, sizeof pair - n, "%shalf_%s", n ? "_" : "", half_name[how->half]);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (part[i].given)
            n += print_into(pair + n, sizeof pair - n, "%s%s_%g", n ? "_" : "", part[i].name, part[i].value);
    const size_t size = sizeof r->out->results;
    if (n ? io_join(r->out->results, size, r->o->dir, pair)
          : print_into(r->out->results, size, "%s", r->o->dir) < size)
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", r->o->dir);
}

/* RESULTS/NAME, written whole. */
static int save(text_out *t, const run *r, const char *name, saeuron_error *err)
{
    char path[1024];
    if (!io_join(path, sizeof path, r->out->results, name)) {
        text_free(t);
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", r->o->dir);
    }
    return text_save(t, path, err);
}

static const char *class_name(const protocol *p, int d, uint32_t label)
{
    return label == NO_LABEL ? "-" : p->label[d].name[label];
}

/* "style", "object", "style+object"; "-" of none. */
static const char *domain_of(const image_list *l)
{
    const bool style = forgotten_any(&l->what, STYLE), object = forgotten_any(&l->what, OBJECT);
    return style && object ? "style+object" : style ? "style" : object ? "object" : "-";
}

/* predictions.tsv, a row an image: enough to count again by other means. */
static int save_predictions(const run *r, saeuron_error *err)
{
    const protocol *p = r->o->p;
    text_out t = { .host = p->host };
    char number[32];
    text_add(&t, "list\tdomain\tseed\tplace\tprompt\tobject\tstyle");
    text_add(&t, "\tpredicted_object\tprobability_object\tpredicted_style\tprobability_style\n");
    for (size_t i = 0; i < r->lists; i++) {
        const image_list *l = &r->list[i];
        const char *const domain = domain_of(l);
        for (size_t j = 0; j < r->jobs; j++) {
            const entry *e = &p->entry[j % p->entries];
            if (!l->wanted[j])
                continue;
            text_add(&t, "%s\t%s\t%" PRIu64 "\t%zu\t%s\t%s\t%s", l->name, domain,
                     p->seed[j / p->entries], j % p->entries, e->prompt, class_name(p, OBJECT, e->object),
                     class_name(p, STYLE, e->style));
            for (int d = OBJECT; d >= STYLE; d--) {
                io_format_float(number, sizeof number, l->made[j].probability[d]);
                text_add(&t, "\t%s\t%s", class_name(p, d, l->made[j].label[d]), number);
            }
            text_add(&t, "\n");
        }
    }
    return save(&t, r, "predictions.tsv", err);
}

/* A table of counts: its rows are what was asked for, its columns what the classifier sees. */
static int save_confusion(const run *r, const image_list *l, int d, saeuron_error *err)
{
    const protocol *p = r->o->p;
    const labels *names = &p->label[d];
    const size_t n = names->count;
    char   name[160];
    text_out t = { .host = p->host };
    size_t *cell = io_alloc(p->host, n * n, sizeof *cell);
    if (!cell)
        return fail(err, SAEURON_ENOMEM, "no memory for a confusion matrix");
    memset(cell, 0, n * n * sizeof *cell);
    for (size_t j = 0; j < r->jobs; j++) {
        const entry *e = &p->entry[j % p->entries];
        const uint32_t truth = d == STYLE ? e->style : e->object;
        if (l->wanted[j] && truth != NO_LABEL && l->made[j].label[d] != NO_LABEL)
            cell[truth * n + l->made[j].label[d]]++;
    }
    text_add(&t, "%s", domain_names[d]);
    for (size_t c = 0; c < n; c++)
        text_add(&t, "\t%s", names->name[c]);
    for (size_t c = 0; c < n * n; c++) {
        if (c % n == 0)
            text_add(&t, "\n%s", names->name[c / n]);
        text_add(&t, "\t%zu", cell[c]);
    }
    text_add(&t, "\n");
    io_free(p->host, cell);
    print_into(name, sizeof name, "confusion/%s.%s.tsv", l->name, domain_names[d]);
    return save(&t, r, name, err);
}

/* "UA": 96.5, "UA_interval": [91.2, 98.6], "UA_images": 100. */
static void add_share(text_out *t, const char *name, rate s)
{
    if (!s.images) {
        text_add(t, "\"%s\": null, \"%s_interval\": null, \"%s_images\": 0", name, name, name);
        return;
    }
    text_add(t, "\"%s\": %g, \"%s_interval\": [%g, %g], \"%s_images\": %zu", name, per_cent(s.value), name,
             per_cent(s.low), per_cent(s.high), name, s.images);
}

/* The distance with four digits after the point, or what stands for none. */
static void add_distance(text_out *t, const figures *f, const char *none)
{
    if (f->distance < 0)
        text_add(t, "%s", none);
    else
        text_add(t, "%g", per_cent(f->distance / 100));
}

static void add_figures(text_out *t, const figures *f)
{
    for (int m = 0; m < METRICS; m++) {
        add_share(t, metric_names[m], f->at[m]);
        text_add(t, ", ");
    }
    text_add(t, "\"FD\": ");
    add_distance(t, f, "null");
}

static void add_cells(text_out *t, const figures *f)
{
    for (int m = 0; m < METRICS; m++) {
        const rate *s = &f->at[m];
        if (!s->images)
            text_add(t, "\t-\t-\t-\t0\t0");
        else
            text_add(t, "\t%g\t%g\t%g\t%zu\t%zu", per_cent(s->value), per_cent(s->low), per_cent(s->high),
                     s->right, s->images);
    }
    text_add(t, "\t");
    add_distance(t, f, "-");
}

/* Number m of a domain, with or without forgetting: its unweighted mean over concepts. */
static int average(rate *out, const run *r, int d, int m, bool forgetting, saeuron_error *err)
{
    const protocol *p = r->o->p;
    const rule *counted = &p->rules[d][m];
    const size_t most = strata_most(p, counted);
    stratum *s = io_alloc(p->host, r->lists, most * sizeof *s);
    size_t   n = 0;
    if (!s)
        return fail(err, SAEURON_ENOMEM, "no memory for an average");
    for (size_t i = 1; i < r->lists; i++) {
        const image_list *l = &r->list[i];
        if (forgotten_any(&l->what, d))
            n += strata_of(s + n, p, counted, d, &l->what, (forgetting ? l : &r->list[0])->made, l->wanted);
    }
    *out = rate_of(s, n);
    if (m == UA && out->images)
        *out = rate_opposite(*out);
    io_free(p->host, s);
    return SAEURON_OK;
}

/* The mean of the distances f [lists] of a domain's lists that have one; -1: none has. */
static double average_distance(const run *r, int d, const figures *f)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 1; i < r->lists; i++)
        if (forgotten_any(&r->list[i].what, d) && f[i].distance >= 0) {
            sum += f[i].distance;
            n++;
        }
    return n ? sum / (double)n : -1;
}

/* The averages of a domain with and without forgetting, into entry 0 of each. */
static int average_domain(run *r, int d, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (int m = 0; m < METRICS && !code; m++)
        if ((code = average(&r->with[d][0].at[m], r, d, m, true, err)) == SAEURON_OK)
            code = average(&r->without[d][0].at[m], r, d, m, false, err);
    r->with[d][0].distance = average_distance(r, d, r->with[d]);
    r->without[d][0].distance = average_distance(r, d, r->without[d]);
    return code;
}

static void add_domain(const run *r, int d, text_out *json_out, text_out *tsv)
{
    const figures *with = r->with[d], *without = r->without[d];
    const protocol *p = r->o->p;
    bool first = true;
    text_add(json_out, ",\n \"%s\": {\n  \"counts\": {", domain_names[d]);
    for (int m = 0; m < METRICS; m++) {
        text_add(json_out, "%s\"%s\": \"", m ? ", " : "", metric_names[m]);
        rule_print(p, d, m, json_out);
        text_add(json_out, "\"");
    }
    text_add(json_out, "},\n  \"average\": {");
    add_figures(json_out, &with[0]);
    text_add(json_out, "},\n  \"without_forgetting\": {");
    add_figures(json_out, &without[0]);
    text_add(json_out, "},\n  \"concepts\": {");
    for (size_t i = 1; i < r->lists; i++) {
        const image_list *l = &r->list[i];
        if (!forgotten_any(&l->what, d))
            continue;
        text_add(json_out, "%s\n   ", first ? "" : ",");
        first = false;
        text_quote(json_out, l->name);
        text_add(json_out, ": {\"forget\": ");
        text_quote(json_out, l->forget.at);
        text_add(json_out, ", ");
        add_figures(json_out, &with[i]);
        text_add(json_out, ",\n    \"without_forgetting\": {");
        add_figures(json_out, &without[i]);
        text_add(json_out, "}}");
        text_add(tsv, "%s\t%s\t%s", domain_names[d], l->name, l->forget.at);
        add_cells(tsv, &with[i]);
        add_cells(tsv, &without[i]);
        text_add(tsv, "\n");
        if (r->o->watch.result)
            r->o->watch.result(r->o->watch.user, d, l->name, &with[i], &without[i]);
    }
    if (r->o->watch.result)
        r->o->watch.result(r->o->watch.user, d, "average", &with[0], &without[0]);
    text_add(json_out, "}}");
    text_add(tsv, "%s\taverage\t-", domain_names[d]);
    add_cells(tsv, &with[0]);
    add_cells(tsv, &without[0]);
    text_add(tsv, "\n");
}

/* The head of eval.json: what the numbers depend on, and the shares of right answers with nothing
 * forgotten. */
static int add_head(const run *r, text_out *t, saeuron_error *err)
{
    const protocol *p = r->o->p;
    const saeuron_generate_options *g = &r->m.options;
    const float guidance = g->has_guidance ? (float)g->guidance : r->m.model->default_guidance;
    char  text[32];
    int   code = SAEURON_OK;
    text_add(t, "{\"protocol\": ");
    text_quote(t, p->name);
    text_add(t, ", \"quick\": %s", r->o->quick ? "true" : "false");
    text_add(t, ", \"unit\": \"percent\", \"interval\": \"95 %%\",\n");
    text_add(t, " \"model\": \"%016" PRIx64 "\", \"classifiers\": {", r->m.digest);
    for (int d = 0; d < DOMAINS; d++)
        text_add(t, "%s\"%s\": \"%016" PRIx64 "\"", d ? ", " : "", domain_names[d],
                 saeuron_classifier_digest(r->o->k[d]));
    io_format_float(text, sizeof text, guidance);
    text_add(t, "}, \"contract\": %d,\n \"steps\": %zu, \"guidance\": %s", saeuron_contract(),
             g->steps ? g->steps : r->m.model->default_steps, text);
    text_add(t, ", \"size\": \"%zux%zu\", \"seeds\": [", r->m.W, r->m.H);
    for (size_t i = 0; i < p->seeds; i++)
        text_add(t, "%s%" PRIu64, i ? ", " : "", p->seed[i]);
    text_add(t, "],\n \"none\": {");
    for (int d = 0; d < DOMAINS && !code; d++) {
        const rule everything = { d, OF_ALL, MEAN_IMAGES, 1, 1 };
        const forgotten nothing = { { { false } } };
        rate s = { 0 };
        code = rate_rule(&s, p, &everything, d, &nothing, r->list[0].made, NULL, err);
        print_into(text, sizeof text, "%s_accuracy", domain_names[d]);
        text_add(t, d ? ", " : "");
        add_share(t, text, s);
    }
    text_add(t, "}");
    return code;
}

/* The first line of eval.tsv. */
static void add_columns(text_out *tsv)
{
    text_add(tsv, "domain\tconcept\tforget");
    for (int w = 0; w < 2; w++) {
        const char *const z = w ? "without_" : "";
        for (int m = 0; m < METRICS; m++) {
            const char *const n = metric_names[m];
            text_add(tsv, "\t%s%s\t%s%s_low\t%s%s_high", z, n, z, n, z, n);
            text_add(tsv, "\t%s%s_right\t%s%s_images", z, n, z, n);
        }
        text_add(tsv, "\t%sFD", z);
    }
    text_add(tsv, "\n");
}

static int save_results(run *r, saeuron_error *err)
{
    const saeuron_host *host = r->o->p->host;
    text_out t = { .host = host }, tsv = { .host = host };
    char    path[1024];
    int     code = add_head(r, &t, err);
    add_columns(&tsv);
    for (int d = 0; d < DOMAINS && !code; d++) {
        bool any = false;
        for (size_t i = 1; i < r->lists; i++)
            any |= forgotten_any(&r->list[i].what, d);
        if (any && (code = average_domain(r, d, err)) == SAEURON_OK)
            add_domain(r, d, &t, &tsv);
    }
    text_add(&t, "}\n");
    if (!code && !io_join(path, sizeof path, r->out->results, "confusion"))
        code = fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", r->o->dir);
    if (!code)
        code = io_make_dir(path, err);
    for (size_t i = 0; i < r->lists && !code; i++)
        for (int d = 0; d < DOMAINS && !code; d++)
            code = save_confusion(r, &r->list[i], d, err);
    if (!code)
        code = save_predictions(r, err);
    if (!code)
        code = save(&tsv, r, "eval.tsv", err);
    if (!code) /* last: who finds it finds the rest */
        code = save(&t, r, "eval.json", err);
    text_free(&t);
    text_free(&tsv);
    return code;
}

int eval_run(saeuron_context *x, const eval_options *o, eval_outcome *out, saeuron_error *err)
{
    run    r = { .o = o, .out = out, .jobs = o->p->seeds * o->p->entries };
    size_t images, there, all;
    int    code = maker_open(&r.m, x, o->p, o->k, &o->sampling, err);
    r.m.by = o->by;
    out->left = 0;
    if (!code)
        code = name_results(&r, err);
    if (!code)
        code = open_lists(&r, err);
    if (!code)
        code = open_shard(&r, err);
    if (!code)
        code = check_lists(&r, err);
    if (!code && !o->dry)
        code = io_make_dir(o->dir, err);
    if (!code) {
        images = count_images(&r, true, &there);
        if (o->watch.plan && o->watch.plan(o->watch.user, images, there))
            code = fail(err, SAEURON_ECANCEL, "stopped before anything was drawn");
        if (!code && !o->dry)
            code = draw_lists(&r, images - there, err);
        all = count_images(&r, false, &there);
        out->left = all - there;
    }
    if (!code && !o->dry && !o->shards && (code = classify_lists(&r, err)) == SAEURON_OK)
        code = save_results(&r, err);
    close_run(&r);
    return code;
}
