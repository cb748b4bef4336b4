/* sweep.c: which top K or percentile, and which strength, forgets a concept best.
 *
 *   grid --stage one: own places and 40 others, one seed--> the best three
 *        --stage two: all places, the other seeds--> the best --> forget.json
 *
 * Best is the largest (UA + IRA) / 2 whose CRA stays within 5 points of no forgetting: sweep_choose. Every
 * point measured is a row of results.tsv, so a sweep that was stopped goes on behind its last row.
 *
 * Not here: drawing and judging (drawing.c), what UA, IRA, CRA count (protocol.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released code scripts/sweep_cls_distr.py and
 * find_best_params_cls_sweep.py, which take the best (UA + IRA) / 2, the first of equal ones, percentiles
 * outermost. AUDIT A12: the command in the released README leaves out strength -25; the script's default and
 * the paper have it, and so has the grid here. AUDIT A11: since its commit d0876ef (October 2025)
 * the released sweep divides its sum of right answers, after each batch, by the images seen so far, and goes
 * on with the quotient; here each image counts once. */
#include "evaluation/sweep.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { STAGES = 2, NUMBERS = 4, WITHOUT_CRA = 3 }; /* of a result: UA, IRA, CRA, CRA without forgetting */

typedef struct sweep {
    const sweep_options *o;
    const protocol *p;
    maker      m;
    image_list none;
    uint32_t  *order;               /* [entries]: sweep_order */
    uint32_t  *concept;             /* [concepts] */
    size_t     concepts;
    result    *results;             /* [concepts,STAGES,points] */
    text_out   table;               /* results.tsv */
    char       digest[24];          /* of all that a row depends on */
    tally      drawn;
} sweep;

/* ---- what is drawn ---- */

/* The images of a stage, into wanted [seeds,entries]. Stage one: at the first seed, the concept's own places
 * and the first `retained` others of the shuffled order. Stage two: at the other seeds, every place that
 * counts. Returns how many they are. */
static size_t want(const sweep *s, bool *wanted, uint32_t concept, int stage)
{
    const protocol *p = s->p;
    const int d = s->o->domain;
    size_t kept = 0, n = 0;
    memset(wanted, 0, p->seeds * p->entries * sizeof *wanted);
    for (size_t i = 0; i < p->entries; i++) {
        const size_t place = s->order[i];
        const entry *e = &p->entry[place];
        const bool own = (d == STYLE ? e->style : e->object) == concept;
        if (!place_counts(p, e, d, concept) || (!stage && !own && kept++ >= s->o->retained))
            continue;
        for (size_t seed = stage ? 1 : 0; seed < (stage ? p->seeds : 1); seed++, n++)
            wanted[seed * p->entries + place] = true;
    }
    return n;
}

/* ---- results.tsv ---- */

static result *result_of(const sweep *s, size_t concept, int stage, size_t point)
{
    return &s->results[(concept * STAGES + (size_t)stage) * s->o->points + point];
}

/* "top 2" or "percentile 99.99". */
static void choice_text(char *out, size_t size, const choice *c)
{
    char number[32];
    io_format_double(number, sizeof number, c->top ? (double)c->top : c->percentile);
    snprintf(out, size, "%s %s", c->top ? "top" : "percentile", number);
}

static int table_path(char path[1024], const sweep *s, const char *name, saeuron_error *err)
{
    if (io_join(path, 1024, s->o->e.dir, name))
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", s->o->e.dir);
}

/* The table as it stands, and one more row; the file is always whole. */
static int save_row(sweep *s, size_t concept, int stage, size_t point, size_t images, saeuron_error *err)
{
    const result *r = result_of(s, concept, stage, point);
    const choice *c = &s->o->grid[point];
    char select[64], strength[32], path[1024];
    int  code = table_path(path, s, "results.tsv", err);
    if (code)
        return code;
    choice_text(select, sizeof select, c);
    io_format_float(strength, sizeof strength, c->strength);
    text_add(&s->table, "%d\t%s\t%s\t%s", stage + 1, s->p->label[s->o->domain].name[s->concept[concept]],
             select, strength);
    for (int m = 0; m < NUMBERS; m++) {
        text_add(&s->table, "\t");
        if (r->known[m])
            text_real(&s->table, r->at[m]);
        else
            text_add(&s->table, "-");
    }
    text_add(&s->table, "\t%zu\t%s\n", images, s->digest);
    if (s->table.failed)
        return fail(err, SAEURON_ENOMEM, "%s: no memory to write it", path);
    return io_write_file(path, s->table.at, s->table.n, err);
}

#define COLUMNS 10
/* Reads one line of the table, cutting it at its tabs; false when it is no row. Rows of concepts or points
 * that this sweep does not have are skipped. *other: the row depends on something else than this run. */
static bool read_row(sweep *s, char *line, bool *other)
{
    char  *cell[COLUMNS], select[64], strength[32];
    size_t n = 0;
    for (char *at = line; n < COLUMNS; at++) {
        cell[n++] = at;
        at += strcspn(at, "\t");
        if (!*at)
            break;
        *at = 0;
    }
    if (n != COLUMNS || strlen(cell[0]) != 1 || cell[0][0] < '1' || cell[0][0] > '0' + STAGES)
        return false;
    *other = strcmp(cell[COLUMNS - 1], s->digest) != 0;
    for (size_t c = 0; c < s->concepts; c++)
        for (size_t point = 0; point < s->o->points; point++) {
            choice_text(select, sizeof select, &s->o->grid[point]);
            io_format_float(strength, sizeof strength, s->o->grid[point].strength);
            if (strcmp(cell[1], s->p->label[s->o->domain].name[s->concept[c]]) || strcmp(cell[2], select) ||
                strcmp(cell[3], strength))
                continue;
            result *r = result_of(s, c, cell[0][0] - '1', point);
            r->done = true;
            for (int m = 0; m < NUMBERS; m++) {
                r->known[m] = strcmp(cell[4 + m], "-") != 0;
                if (r->known[m] && !io_parse_double(cell[4 + m], &r->at[m]))
                    return false;
            }
        }
    return true;
}

/* The table of an earlier run, if there is one. */
static int open_table(sweep *s, saeuron_error *err)
{
    char    path[1024], line[1024];
    io_file f;
    bool    other = false;
    size_t  number = 1;
    int     code = table_path(path, s, "results.tsv", err);
    if (code)
        return code;
    s->table = (text_out){ .host = &s->m.x->host };
    if (!io_exists(&s->m.x->host, path)) {
        text_add(&s->table, "stage\tconcept\tselect\tstrength\tUA\tIRA\tCRA\twithout_CRA\timages\trun\n");
        return SAEURON_OK;
    }
    if ((code = io_open(&f, &s->m.x->host, path, err)) != SAEURON_OK)
        return code;
    for (size_t at = 0; at < f.size && !code; number++) {
        const unsigned char *end = memchr(f.data + at, '\n', f.size - at);
        const size_t n = end ? (size_t)(end - f.data) - at : f.size - at;
        snprintf(line, sizeof line, "%.*s", (int)(n < 1000 ? n : 1000), (const char *)f.data + at);
        text_add(&s->table, "%s\n", line);
        if (!end || n >= 1000 || strlen(line) != n ||
            (number > 1 ? !read_row(s, line, &other) : strncmp(line, "stage\tconcept\t", 14)))
            code = fail(err, SAEURON_EFORMAT, "%s: line %zu is no row of a sweep: it is damaged; use another "
                        "folder, or delete this file", path, number);
        else if (other)
            code = fail(err, SAEURON_EFORMAT, "%s: line %zu was measured with another model, SAE, "
                        "statistics, classifier, protocol, seed or option: use another folder", path, number);
        at += n + 1;
    }
    io_close(&f);
    return code;
}

/* ---- one point of the grid ---- */

/* Draws, judges and counts; nothing is kept but the row. */
static int run_point(sweep *s, image_list *l, size_t concept, int stage, size_t point, saeuron_error *err)
{
    const choice *c = &s->o->grid[point];
    const saeuron_forget_options how = { .top = c->top, .percentile = c->percentile,
                                         .strength = (double)c->strength, .has_strength = 1 };
    const size_t images = want(s, l->wanted, l->concept, stage);
    result *r = result_of(s, concept, stage, point);
    rate    with[METRICS], without[METRICS];
    int     code;
    for (size_t j = 0; j < s->p->seeds * s->p->entries; j++) {
        l->there[j] = false;
        l->made[j] = (prediction){ .label = { NO_LABEL, NO_LABEL } };
    }
    if ((code = list_enter(l, &s->m, &how, err)) != SAEURON_OK ||
        (code = list_draw(l, &s->m, NULL, &s->drawn, err)) != SAEURON_OK ||
        (code = list_measure(with, l, s->p, l->made, err)) != SAEURON_OK ||
        (code = list_measure(without, l, s->p, s->none.made, err)) != SAEURON_OK)
        return code;
    const rate *all[NUMBERS] = { &with[UA], &with[IRA], &with[CRA], &without[CRA] };
    for (int m = 0; m < NUMBERS; m++) {
        r->known[m] = all[m]->images > 0;
        r->at[m] = per_cent(all[m]->value);
    }
    r->done = true;
    return save_row(s, concept, stage, point, images, err);
}

/* ---- choosing ---- */

bool sweep_keeps(const result *r)
{
    return !r->known[CRA] || !r->known[WITHOUT_CRA] || r->at[CRA] >= r->at[WITHOUT_CRA] - KEPT_WITHIN;
}

static double score(const result *r)
{
    if (r->known[UA] && r->known[IRA])
        return (r->at[UA] + r->at[IRA]) / 2;
    return r->known[UA] ? r->at[UA] : r->known[IRA] ? r->at[IRA] : 0;
}

/* EQ 37: those that keep CRA come first, by (UA + IRA)/2; then the others, by CRA. */
static bool better(const result *a, const result *b)
{
    const bool keeps = sweep_keeps(a);
    if (keeps != sweep_keeps(b))
        return keeps;
    if (!keeps && (a->at[CRA] > b->at[CRA] || a->at[CRA] < b->at[CRA]))
        return a->at[CRA] > b->at[CRA];
    return score(a) > score(b);
}

size_t sweep_choose(const result *r, const bool *may_win, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (may_win[i] && (best == n || better(&r[i], &r[best])))
            best = i;
    return best;
}

void sweep_order(uint32_t *order, size_t entries) { rng_shuffle(order, entries, 0, nn_hash(0, "sweep", 5)); }

/* Both stages of a concept; *chosen: the point that won. */
static int run_concept(sweep *s, size_t concept, size_t *chosen, saeuron_error *err)
{
    const size_t points = s->o->points;
    bool       left[GRID], finalist[GRID] = { false }; /* left: not chosen for stage two yet */
    image_list l;
    int        code = list_open(&l, s->p, NULL, s->o->domain, s->concept[concept], err);
    if (code)
        return code;
    for (size_t i = 0; i < points && !code; i++) {
        left[i] = true;
        if (!result_of(s, concept, 0, i)->done)
            code = run_point(s, &l, concept, 0, i, err);
    }
    for (size_t n = 0; n < s->o->finalists && n < points && !code; n++) {
        const size_t i = sweep_choose(result_of(s, concept, 0, 0), left, points);
        left[i] = false;
        finalist[i] = true;
        if (!result_of(s, concept, 1, i)->done)
            code = run_point(s, &l, concept, 1, i, err);
    }
    if (!code)
        *chosen = sweep_choose(result_of(s, concept, 1, 0), finalist, points);
    list_close(&l, s->p);
    return code;
}

/* ---- forget.json ---- */

static void add_choice(text_out *t, const char *name, const choice *c, bool first)
{
    char strength[32];
    text_add(t, "%s ", first ? "" : ",\n");
    text_quote(t, name);
    text_add(t, c->top ? ": {\"top\": " : ": {\"percentile\": ");
    text_real(t, c->top ? (double)c->top : c->percentile);
    io_format_float(strength, sizeof strength, c->strength);
    text_add(t, ", \"strength\": %s}", strength);
}

static bool is_swept(const sweep *s, json name)
{
    bool found = false;
    for (size_t i = 0; i < s->concepts; i++)
        found |= json_equals(name, s->p->label[s->o->domain].name[s->concept[i]]);
    return found;
}

/* Writes path. The entries that it has for other concepts stay, letter by letter, in front of the chosen
 * ones. */
static int save_choices(const sweep *s, const char *path, const size_t *chosen, saeuron_error *err)
{
    text_out t = { .host = s->p->host };
    io_file  f = { .data = NULL };
    json     object = { NULL, NULL }, name;
    size_t   entries = 0;
    int      code = SAEURON_OK;
    if (io_exists(s->p->host, path) && (code = io_open(&f, s->p->host, path, err)) == SAEURON_OK)
        code = json_open(&object, (const char *)f.data, f.size, f.path, err);
    if (!code && object.at && json_kind(object) != '{')
        code = fail(err, SAEURON_EFORMAT, "%s: it is no JSON object: delete it, and it is made anew", path);
    text_add(&t, "{\n");
    for (json_iter it = json_begin(object); !code && json_next(&it, &name, NULL);)
        if (!is_swept(s, name)) /* it.at.at: where the member ends */
            text_add(&t, "%s %.*s", entries++ ? ",\n" : "", (int)(it.at.at - name.at), name.at);
    for (size_t i = 0; i < s->concepts; i++)
        add_choice(&t, s->p->label[s->o->domain].name[s->concept[i]], &s->o->grid[chosen[i]], !entries++);
    text_add(&t, "\n}\n");
    if (f.data)
        io_close(&f);
    if (!code)
        return text_save(&t, path, err);
    text_free(&t);
    return code;
}

/* ---- a sweep ---- */

/* Statistics, sweep and test must have no seed in common (AUDIT A22). */
static int check_seeds(const sweep *s, saeuron_error *err)
{
    const sweep_options *o = s->o;
    uint64_t of_statistics = 0;
    const bool known = statistics_seed(s->m.x, &of_statistics);
    if (s->p->seeds < 2)
        return fail(err, SAEURON_EUSAGE, "a sweep needs two seeds at least, one a stage");
    for (size_t i = 0; i < s->p->seeds; i++) {
        for (size_t j = 0; j < o->test_seeds; j++)
            if (s->p->seed[i] == o->test_seed[j])
                return fail(err, SAEURON_EUSAGE, "seed %" PRIu64 " of the sweep is a test seed of "
                            "protocol %s: name other seeds", s->p->seed[i], s->p->name);
        if (known && s->p->seed[i] == of_statistics)
            return fail(err, SAEURON_EUSAGE, "seed %" PRIu64 " of the sweep is that of the statistics: "
                        "name other seeds", of_statistics);
    }
    for (size_t j = 0; known && s->p->disjoint && !o->e.overlap && j < o->test_seeds; j++)
        if (o->test_seed[j] == of_statistics)
            return fail(err, SAEURON_EUSAGE, "the statistics were made with seed %" PRIu64 ", which is a "
                        "test seed of protocol %s: make them with another, or allow the overlap",
                        of_statistics, s->p->name);
    return SAEURON_OK;
}

/* The digest of all that a number of the table depends on. The context must forget a concept of the domain,
 * so that the SAE and the statistics are there. */
static int digest_run(sweep *s, saeuron_error *err)
{
    const saeuron_context *x = s->m.x;
    const saeuron_generate_options *g = &s->m.options;
    char     guidance[32];
    text_out t = { .host = s->p->host };
    uint64_t h;
    protocol_print(s->p, &t);
    io_format_float(guidance, sizeof guidance, g->has_guidance ? (float)g->guidance : x->default_guidance);
    text_add(&t, "%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %zu %s %zux%zu %d %d %zu ", s->m.digest,
             saeuron_classifier_digest(s->o->e.k[STYLE]), saeuron_classifier_digest(s->o->e.k[OBJECT]),
             g->steps ? g->steps : x->default_steps, guidance, s->m.W, s->m.H, g->residual, g->map_steps,
             s->o->retained);
    text_quote(&t, g->negative_prompt ? g->negative_prompt : "");
    for (size_t i = 0; i < x->hooks; i++)
        text_add(&t, " %016" PRIx64 " %016" PRIx64, x->hook[i]->sae.digest, x->hook[i]->stats.digest);
    h = nn_hash(0, t.at ? t.at : "", t.n);
    const bool failed = t.failed;
    text_free(&t);
    snprintf(s->digest, sizeof s->digest, "%016" PRIx64, h);
    return failed ? fail(err, SAEURON_ENOMEM, "no memory for a digest") : SAEURON_OK;
}

/* Loads the SAE and the statistics by forgetting the first concept; path: that of forget.json beside the
 * SAE. */
static int load_hook(sweep *s, char path[1024], saeuron_error *err)
{
    image_list l;
    int code = list_open(&l, s->p, NULL, s->o->domain, s->concept[0], err);
    if (!code)
        code = list_enter(&l, &s->m, NULL, err);
    for (size_t i = 0; i < s->m.x->hooks && !code; i++) {
        const char *file = s->m.x->hook[i]->sae.file.path, *slash = strrchr(file, '/');
        if (s->m.x->hook[i]->count &&
            snprintf(path, 1024, "%.*sforget.json", slash ? (int)(slash + 1 - file) : 0, file) >= 1024)
            code = fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", file);
    }
    list_close(&l, s->p);
    return code;
}

static int open_sweep(sweep *s, saeuron_context *x, char path[1024], saeuron_error *err)
{
    const eval_options *e = &s->o->e;
    const labels *names = &s->p->label[s->o->domain];
    size_t n;
    int    code = maker_open(&s->m, x, s->p, e->k, &e->sampling, err);
    if (code)
        return code;
    s->order = io_alloc(&x->host, s->p->entries, sizeof *s->order);
    s->concept = io_alloc(&x->host, names->count, sizeof *s->concept);
    for (uint32_t c = 0; s->concept && c < names->count; c++)
        if (e->concept[s->o->domain][c])
            s->concept[s->concepts++] = c;
    if (!s->concepts || !s->o->points)
        return fail(err, SAEURON_EUSAGE, "there is no concept to forget, or no grid");
    n = s->concepts * STAGES * s->o->points;
    if (!s->order || !s->concept || !(s->results = io_alloc(&x->host, n, sizeof *s->results)))
        return fail(err, SAEURON_ENOMEM, "no memory for a sweep");
    memset(s->results, 0, n * sizeof *s->results);
    sweep_order(s->order, s->p->entries);
    if ((code = load_hook(s, path, err)) != SAEURON_OK || (code = check_seeds(s, err)) != SAEURON_OK ||
        (code = digest_run(s, err)) != SAEURON_OK)
        return code;
    return (code = io_make_dir(e->dir, err)) != SAEURON_OK ? code : open_table(s, err);
}

/* How many images a concept's stage still has to draw; those that results.tsv spares it are added to *there.
 * wanted [seeds,entries]: what the stage wants of each point. */
static size_t images_left(const sweep *s, size_t concept, int stage, bool *wanted, size_t *there)
{
    const size_t images = want(s, wanted, s->concept[concept], stage), points = s->o->points;
    const size_t all = stage && s->o->finalists < points ? s->o->finalists : points;
    size_t done = 0;
    for (size_t i = 0; i < points; i++)
        done += result_of(s, concept, stage, i)->done;
    *there += images * done;
    return images * (done < all ? all - done : 0);
}

/* Without forgetting: every image that any concept's stage wants. They are kept as files: all concepts share
 * them. */
static int run_none(sweep *s, saeuron_error *err)
{
    const size_t n = s->p->seeds * s->p->entries;
    const watcher *w = s->drawn.watch;
    size_t there = 0;
    int    code = list_open(&s->none, s->p, s->o->e.dir, 0, NO_LABEL, err);
    bool  *one = code ? NULL : io_alloc(s->p->host, n, sizeof *one);
    if (!code && !one)
        code = fail(err, SAEURON_ENOMEM, "no memory for a list of %zu images", n);
    for (size_t c = 0; c < s->concepts && !code; c++)
        for (int stage = 0; stage < STAGES; stage++) {
            s->drawn.images += images_left(s, c, stage, one, &there);
            for (size_t j = 0; j < n; j++)
                s->none.wanted[j] |= one[j];
        }
    io_free(s->p->host, one);
    if (!code && (code = list_enter(&s->none, &s->m, NULL, err)) == SAEURON_OK)
        code = list_check(&s->none, &s->m, err);
    for (size_t j = 0; j < n && !code; j++)
        if (s->none.wanted[j])
            *(s->none.there[j] ? &there : &s->drawn.images) += 1;
    if (!code && w->plan && w->plan(w->user, s->drawn.images + there, there))
        code = fail(err, SAEURON_ECANCEL, "stopped before anything was drawn");
    if (!code)
        code = list_draw(&s->none, &s->m, NULL, &s->drawn, err);
    return code ? code : list_classify(&s->none, &s->m, err);
}

static int close_sweep(sweep *s, int code)
{
    const saeuron_host *host = s->p->host;
    list_close(&s->none, s->p);
    text_free(&s->table);
    io_free(host, s->results);
    io_free(host, s->concept);
    io_free(host, s->order);
    if (s->m.embeds)
        maker_close(&s->m);
    return code;
}

int sweep_run(saeuron_context *x, const sweep_options *o, char installed[1024], saeuron_error *err)
{
    sweep   s = { .o = o, .p = o->e.p, .table = { .host = &x->host }, .drawn = { .watch = &o->e.watch } };
    char    beside[1024] = "", path[1024];
    size_t *chosen = NULL;
    int     code = open_sweep(&s, x, beside, err);
    if (!code && !(chosen = io_alloc(&x->host, s.concepts, sizeof *chosen)))
        code = fail(err, SAEURON_ENOMEM, "no memory for a sweep");
    if (!code)
        code = run_none(&s, err);
    for (size_t c = 0; c < s.concepts && !code; c++) {
        code = run_concept(&s, c, &chosen[c], err);
        if (!code && o->chose) {
            const result *r = result_of(&s, c, 1, chosen[c]);
            const char   *name = s.p->label[o->domain].name[s.concept[c]];
            o->chose(o->e.watch.user, name, &o->grid[chosen[c]], r->at, sweep_keeps(r));
        }
    }
    if (!code && (code = table_path(path, &s, "forget.json", err)) == SAEURON_OK)
        code = save_choices(&s, path, chosen, err);
    if (!code && o->install && (code = save_choices(&s, beside, chosen, err)) == SAEURON_OK && installed)
        snprintf(installed, 1024, "%s", beside);
    io_free(&x->host, chosen);
    return close_sweep(&s, code);
}
