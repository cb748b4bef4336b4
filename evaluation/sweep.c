/* sweep.c: which top K or percentile, and which strength, forgets a concept best.
 *
 *   mildest: selections --strengths, weak to strong; bisection; own places, one seed--> a pair of each
 *   paper:   every pair of the grid; own places and 40 others, one seed
 *            --the best three, at the other seeds--> the best --> forget.json
 *
 * What is best is sweep_choose's. Every pair measured is a row of results.tsv, so a sweep that was stopped
 * goes on behind its last row.
 *
 * Not here: drawing and judging (drawing.c), what UA, IRA, CRA count (protocol.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released code scripts/sweep_cls_distr.py and
 * find_best_params_cls_sweep.py, which take the best (UA + IRA) / 2, the first of equal ones, percentiles
 * outermost. AUDIT A12: the command in the released README leaves out strength -25; the script's default and
 * the paper have it, and so has the grid here. AUDIT A11: since its commit d0876ef (October 2025)
 * the released sweep divides its sum of right answers, after each batch, by the images seen so far, and goes
 * on with the quotient; here each image counts once. The mildest rule is this program's own: the paper's does
 * not look at what is left of the forgotten concept's pictures. */
#include "evaluation/sweep.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"
#include "files/print.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { STAGES = 2 };

const char *const number_names[NUMBERS] = { "UA", "IRA", "CRA", "CRA_own", "FD", "without_IRA", "without_CRA",
                                            "without_CRA_own", "without_FD" };

/* A row of results.tsv. concept: its place in sweep.concept. */
typedef struct row { size_t concept; int stage; choice c; result r; } row;

typedef struct sweep {
    const sweep_options *o;
    const protocol *p;
    maker      m;
    image_list none;
    uint32_t  *order;               /* [entries]: sweep_order */
    uint32_t  *concept;             /* [concepts] */
    size_t     concepts;
    row       *rows;                /* [room], rows_known of them in use */
    size_t     rows_known, room;
    text_out   table;               /* results.tsv */
    char       digest[24];          /* of all that a row depends on */
    tally      drawn;
} sweep;

static const char *concept_name(const sweep *s, size_t concept)
{
    return s->p->label[s->o->domain].name[s->concept[concept]];
}

/* ---- what is drawn ---- */

/* Stage one looks at the first seed, stage two at the others. */
static bool seed_is_of(size_t seed, int stage) { return (seed > 0) == (stage > 0); }

/* The images of a stage, into wanted [seeds,entries]: the concept's own places, and of the others that count
 * the first in the shuffled order: by the paper's rule `retained` in stage one and all in stage two, by the
 * mildest none and then `retained`. Returns how many they are. */
static size_t want(const sweep *s, bool *wanted, uint32_t concept, int stage)
{
    const protocol *p = s->p;
    const int  d = s->o->domain;
    const forgotten what = forgotten_one(d, concept);
    const bool paper = s->o->rule.kind == SWEEP_PAPER;
    const size_t most = paper && stage ? p->entries : paper || stage ? s->o->retained : 0;
    size_t others = 0, n = 0;
    memset(wanted, 0, p->seeds * p->entries * sizeof *wanted);
    for (size_t i = 0; i < p->entries; i++) {
        const size_t place = s->order[i];
        const entry *e = &p->entry[place];
        if (!place_counts(p, e, d, &what) || (!place_is_own(e, d, &what) && others++ >= most))
            continue;
        for (size_t seed = 0; seed < p->seeds; seed++)
            if (seed_is_of(seed, stage)) {
                wanted[seed * p->entries + place] = true;
                n++;
            }
    }
    return n;
}

/* ---- results.tsv ---- */

static bool same_choice(const choice *a, const choice *b)
{
    return a->top == b->top && a->first == b->first && a->end == b->end && a->half == b->half &&
           !(a->percentile < b->percentile) && !(a->percentile > b->percentile) &&
           !(a->min_lift < b->min_lift) && !(a->min_lift > b->min_lift) &&
           !(a->strength < b->strength) && !(a->strength > b->strength);
}

/* The row of a pair, or NULL. */
static const row *find_row(const sweep *s, size_t concept, int stage, const choice *c)
{
    for (size_t i = 0; i < s->rows_known; i++)
        if (s->rows[i].concept == concept && s->rows[i].stage == stage && same_choice(&s->rows[i].c, c))
            return &s->rows[i];
    return NULL;
}

static int keep_row(sweep *s, const row *r, saeuron_error *err)
{
    if (s->rows_known == s->room) {
        const size_t room = 2 * s->room + 64;
        row *more = io_alloc(s->p->host, room, sizeof *more);
        if (!more)
            return fail(err, SAEURON_ENOMEM, "no memory for a sweep's %zu results", room);
        if (s->rows_known)
            memcpy(more, s->rows, s->rows_known * sizeof *more);
        io_free(s->p->host, s->rows);
        s->rows = more;
        s->room = room;
    }
    s->rows[s->rows_known++] = *r;
    return SAEURON_OK;
}

static int table_path(char path[1024], const sweep *s, const char *name, saeuron_error *err)
{
    if (io_join(path, 1024, s->o->e.dir, name))
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", s->o->e.dir);
}

/* The table as it stands, and one more row; the file is always whole. */
static int save_row(sweep *s, const row *r, size_t images, saeuron_error *err)
{
    const choice *c = &r->c;
    char select[160], strength[32], path[1024];
    int  code = table_path(path, s, "results.tsv", err);
    if (code)
        return code;
    describe_selection(select, c);
    io_format_float(strength, sizeof strength, c->strength);
    text_add(&s->table, "%d\t%s\t%s\t%s", r->stage + 1, concept_name(s, r->concept), select, strength);
    for (int i = 0; i < NUMBERS; i++)
        if (r->r.known[i])
            text_add(&s->table, "\t%g", r->r.at[i]);
        else
            text_add(&s->table, "\t-");
    text_add(&s->table, "\t%zu\t%s\n", images, s->digest);
    if (s->table.failed)
        return fail(err, SAEURON_ENOMEM, "%s: no memory to write it", path);
    return io_write_file(path, s->table.at, s->table.n, err);
}

/* The sweep's selection of these words (describe_selection), into c; false: it has none. */
static bool find_selection(const sweep *s, choice *c, const char *select)
{
    char known[160];
    for (size_t i = 0; i < s->o->selections; i++) {
        describe_selection(known, &s->o->selection[i]);
        if (!strcmp(select, known)) {
            *c = s->o->selection[i];
            return true;
        }
    }
    return false;
}

enum { COLUMNS = 4 + NUMBERS + 2 };
/* Reads one line of the table, cutting it at its tabs; false when it is no row. r->concept: s->concepts if
 * the sweep has no such concept or selection. *other: the row depends on something else than this run. */
static bool read_row(const sweep *s, char *line, row *r, bool *other)
{
    char  *cell[COLUMNS];
    double strength;
    size_t n = 0;
    bool   more = true;
    for (char *at = line; more && n < COLUMNS; at++) {
        cell[n++] = at;
        at += strcspn(at, "\t");
        more = *at;
        *at = 0;
    }
    if (n != COLUMNS || more || strlen(cell[0]) != 1 || cell[0][0] < '1' || cell[0][0] > '0' + STAGES ||
        !io_parse_double(cell[3], &strength) || !(strength >= -1e6 && strength <= 1e6))
        return false;
    *other = strcmp(cell[COLUMNS - 1], s->digest) != 0;
    r->stage = cell[0][0] - '1';
    for (r->concept = 0; r->concept < s->concepts; r->concept++)
        if (!strcmp(cell[1], concept_name(s, r->concept)))
            break;
    if (!find_selection(s, &r->c, cell[2]))
        r->concept = s->concepts;
    r->c.strength = (float)strength;
    for (int i = 0; i < NUMBERS; i++) {
        r->r.known[i] = strcmp(cell[4 + i], "-") != 0;
        if (r->r.known[i] && !io_parse_double(cell[4 + i], &r->r.at[i]))
            return false;
    }
    return true;
}

static void add_head(text_out *t)
{
    text_add(t, "stage\tconcept\tselect\tstrength");
    for (int i = 0; i < NUMBERS; i++)
        text_add(t, "\t%s", number_names[i]);
    text_add(t, "\timages\trun\n");
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
    add_head(&s->table);
    if (!io_exists(&s->m.x->host, path))
        return SAEURON_OK;
    if ((code = io_open(&f, &s->m.x->host, path, err)) != SAEURON_OK)
        return code;
    for (size_t at = 0; at < f.size && !code; number++) {
        row r = { .concept = s->concepts };
        const unsigned char *end = memchr(f.data + at, '\n', f.size - at);
        const size_t n = end ? (size_t)(end - f.data) - at : f.size - at;
        print_into(line, sizeof line, "%.*s", (int)(n < 1000 ? n : 1000), (const char *)f.data + at);
        const bool head = number == 1, whole = end && n < 1000 && strlen(line) == n && !s->table.failed;
        if (!head)
            text_add(&s->table, "%s\n", line);
        if (!whole || (head ? n + 1 != s->table.n || memcmp(line, s->table.at, n)
                            : !read_row(s, line, &r, &other)))
            code = fail(err, SAEURON_EFORMAT, "%s: line %zu is no row of a sweep: it is damaged; use another "
                        "folder, or delete this file", path, number);
        else if (other)
            code = fail(err, SAEURON_EFORMAT, "%s: line %zu was measured with another model, SAE, "
                        "statistics, classifier, protocol, seed, rule or option: use another folder", path,
                        number);
        else if (r.concept < s->concepts)
            code = keep_row(s, &r, err);
        at += n + 1;
    }
    io_close(&f);
    return code;
}

/* ---- one pair ---- */

static void set_number(result *r, int i, bool known, double value)
{
    r->known[i] = known;
    r->at[i] = known ? value : 0;
}

/* What a pair came to. without: the same images with nothing forgotten. */
static result result_of(const figures *with, const figures *without)
{
    result r = { .may_win = true };
    for (int m = 0; m < METRICS; m++)
        set_number(&r, m, with->at[m].images, per_cent(with->at[m].value));
    for (int m = IRA; m < METRICS; m++)
        set_number(&r, WITHOUT_IRA + m - IRA, without->at[m].images, per_cent(without->at[m].value));
    set_number(&r, DISTANCE, with->distance >= 0, per_cent(with->distance / 100));
    set_number(&r, WITHOUT_DISTANCE, without->distance >= 0, per_cent(without->distance / 100));
    return r;
}

/* Draws, judges and counts a pair, unless results.tsv has it; nothing is kept but the row. */
static int measure_pair(sweep *s, image_list *l, size_t concept, int stage, const choice *c, result *out,
                        saeuron_error *err)
{
    const saeuron_forget_options how = { .top = c->top, .percentile = c->percentile,
                                         .strength = (double)c->strength, .has_strength = 1,
                                         .min_lift = c->min_lift,
                                         .has_window = 1, .first_step = c->first, .end_step = c->end,
                                         .has_half = 1, .half = c->half };
    const row *known = find_row(s, concept, stage, c);
    const int    d = s->o->domain;
    const size_t images = want(s, l->wanted, s->concept[concept], stage);
    row     r = { .concept = concept, .stage = stage, .c = *c };
    figures with, without;
    int     code;
    if (known) {
        *out = known->r;
        out->may_win = true;
        return SAEURON_OK;
    }
    places_like(l->like[d], s->p, d, &l->what);
    for (size_t j = s->p->seeds * s->p->entries; j-- > 0;) { /* downwards: places_like fills the first seed */
        l->like[d][j] = l->wanted[j] && l->like[d][j % s->p->entries];
        l->there[j] = false;
        l->made[j] = (prediction){ .label = { NO_LABEL, NO_LABEL } };
    }
    if ((code = list_enter(l, &s->m, &how, err)) != SAEURON_OK ||
        (code = list_draw(l, &s->m, NULL, &s->drawn, err)) != SAEURON_OK ||
        (code = list_measure(&with, l, d, l, &s->none, s->p, err)) != SAEURON_OK ||
        (code = list_measure(&without, l, d, &s->none, &s->none, s->p, err)) != SAEURON_OK)
        return code;
    *out = r.r = result_of(&with, &without);
    code = keep_row(s, &r, err);
    return code ? code : save_row(s, &r, images, err);
}

/* ---- choosing ---- */

bool sweep_keeps(const sweep_rule *by, const result *r)
{
    if (by->kind == SWEEP_MILDEST)
        return r->known[UA] && r->at[UA] >= by->target;
    return !r->known[CRA] || !r->known[WITHOUT_CRA] || r->at[CRA] >= r->at[WITHOUT_CRA] - (double)KEPT_WITHIN;
}

/* The mean of those numbers that are known; 0: none is. */
static double mean_of(const result *r, const int *numbers, size_t n)
{
    double sum = 0, known = 0;
    for (size_t i = 0; i < n; i++)
        if (r->known[numbers[i]]) {
            sum += r->at[numbers[i]];
            known++;
        }
    return known > 0 ? sum / known : 0;
}

/* EQ 37, EQ 39: those that keep what the rule asks come first, by its score; then the others, by what they
 * miss it by, then alike. */
static bool better(const sweep_rule *by, const result *a, const result *b)
{
    static const int forgets[] = { UA, IRA }, kept[] = { IRA, CRA, CRA_OWN };
    const bool paper = by->kind == SWEEP_PAPER, keeps = sweep_keeps(by, a);
    const int  missed = paper ? CRA : UA;
    if (keeps != sweep_keeps(by, b))
        return keeps;
    if (!keeps && (a->at[missed] > b->at[missed] || a->at[missed] < b->at[missed]))
        return a->at[missed] > b->at[missed];
    if (paper)
        return mean_of(a, forgets, 2) > mean_of(b, forgets, 2);
    return mean_of(a, kept, 3) > mean_of(b, kept, 3);
}

size_t sweep_choose(const sweep_rule *by, const result *r, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (r[i].may_win && (best == n || better(by, &r[i], &r[best])))
            best = i;
    return best;
}

float sweep_between(float weak, float strong)
{
    const double a = fabs((double)weak), b = fabs((double)strong);
    double x = a > 0 ? sqrt(a * b) : b / 2, scale = 1;
    for (; x > 0 && x < 10; x *= 10)
        scale *= 10;
    for (; x >= 100; x /= 10)
        scale /= 10;
    const double rounded = (double)(int)(x + 0.5);
    return (float)((strong < 0 ? -rounded : rounded) / scale);
}

void sweep_order(uint32_t *order, size_t entries) { rng_shuffle(order, entries, 0, nn_hash(0, "sweep", 5)); }

/* The pairs of a concept that stage one leaves. */
typedef struct candidates { choice *c; result *r; size_t n; } candidates;

static int try_pair(sweep *s, image_list *l, size_t concept, candidates *all, choice c, saeuron_error *err)
{
    all->c[all->n] = c;
    return measure_pair(s, l, concept, 0, &c, &all->r[all->n++], err);
}

/* The mildest pair of a selection that forgets: the strengths from the weakest on, until one does; then
 * between it and the last that does not. Where none does, the one with the largest UA. One more of all. */
static int search(sweep *s, image_list *l, size_t concept, choice c, candidates *all, saeuron_error *err)
{
    const sweep_options *o = s->o;
    const size_t first = all->n, none = SIZE_MAX;
    size_t mildest = none; /* the place of the weakest that forgets so far */
    float  weak = 0, strong = 0;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < o->strengths && mildest == none && !code; i++) {
        weak = strong;
        c.strength = strong = o->strength[i];
        code = try_pair(s, l, concept, all, c, err);
        if (!code && sweep_keeps(&o->rule, &all->r[all->n - 1]))
            mildest = all->n - 1;
    }
    for (size_t i = 0; i < o->bisections && mildest != none && !code; i++) {
        c.strength = sweep_between(weak, strong);
        if (!(c.strength > weak || c.strength < weak) || !(c.strength > strong || c.strength < strong))
            break;
        code = try_pair(s, l, concept, all, c, err);
        const bool forgets = !code && sweep_keeps(&o->rule, &all->r[all->n - 1]);
        *(forgets ? &strong : &weak) = c.strength;
        mildest = forgets ? all->n - 1 : mildest;
    }
    if (code)
        return code;
    const size_t best = mildest != none ? mildest
                                        : first + sweep_choose(&o->rule, all->r + first, all->n - first);
    all->c[first] = all->c[best];
    all->r[first] = all->r[best];
    all->n = first + 1;
    return SAEURON_OK;
}

/* Stage one: the candidates, in order of preference where they tie. */
static int find_candidates(sweep *s, image_list *l, size_t concept, candidates *all, saeuron_error *err)
{
    const sweep_options *o = s->o;
    int code = SAEURON_OK;
    for (size_t i = 0; i < o->selections && !code; i++) {
        choice c = o->selection[i];
        if (o->rule.kind == SWEEP_MILDEST)
            code = search(s, l, concept, c, all, err);
        for (size_t j = 0; o->rule.kind == SWEEP_PAPER && j < o->strengths && !code; j++) {
            c.strength = o->strength[j];
            code = try_pair(s, l, concept, all, c, err);
        }
    }
    return code;
}

/* Stage two of a candidate: what it comes to at the other seeds. Mildest: where it does not forget there, the
 * next stronger strengths, until one does; of those tried the best. */
static int validate(sweep *s, image_list *l, size_t concept, choice *c, result *r, saeuron_error *err)
{
    const sweep_options *o = s->o;
    choice more = *c;
    result then;
    int    code = measure_pair(s, l, concept, 1, c, r, err);
    for (size_t i = 0; o->rule.kind == SWEEP_MILDEST && i < o->strengths && !code; i++) {
        if (sweep_keeps(&o->rule, r) || !(fabsf(o->strength[i]) > fabsf(more.strength)))
            continue;
        more.strength = o->strength[i];
        code = measure_pair(s, l, concept, 1, &more, &then, err);
        if (!code && better(&o->rule, &then, r)) {
            *c = more;
            *r = then;
        }
    }
    return code;
}

/* Stage two: the best candidates at the other seeds; *chosen: the best of these, *won: what it came to. */
static int choose(sweep *s, image_list *l, size_t concept, candidates *all, choice *chosen, result *won,
                  saeuron_error *err)
{
    const sweep_rule *by = &s->o->rule;
    const size_t finalists = least(s->o->finalists, all->n);
    int code = SAEURON_OK;
    for (size_t i = 0; i < finalists; i++)
        all->r[sweep_choose(by, all->r, all->n)].may_win = false;
    size_t n = 0;
    for (size_t i = 0; i < all->n && !code; i++)
        if (!all->r[i].may_win) {
            all->c[n] = all->c[i];
            code = validate(s, l, concept, &all->c[n], &all->r[n], err);
            n++;
        }
    if (code)
        return code;
    const size_t best = sweep_choose(by, all->r, n);
    *chosen = all->c[best];
    *won = all->r[best];
    return SAEURON_OK;
}

/* Pairs that stage one may measure. */
static size_t most_pairs(const sweep_options *o)
{
    return o->selections * (o->strengths + (o->rule.kind == SWEEP_MILDEST ? o->bisections : 0));
}

/* How many images a concept's stage has still to draw, at most; those that results.tsv spares it are added to
 * *there (or NULL). wanted [seeds,entries]: what the stage wants of each pair. */
static size_t images_left(const sweep *s, size_t concept, int stage, bool *wanted, size_t *there)
{
    const size_t images = want(s, wanted, s->concept[concept], stage), pairs = most_pairs(s->o);
    const size_t through = s->o->rule.kind == SWEEP_PAPER ? least(s->o->finalists, pairs)
                                                          : s->o->selections * s->o->strengths;
    const size_t all = stage ? through : pairs;
    size_t done = 0;
    for (size_t i = 0; i < s->rows_known; i++)
        done += s->rows[i].concept == concept && s->rows[i].stage == stage;
    if (there)
        *there += images * done;
    return images * (done < all ? all - done : 0);
}

/* Both stages of a concept. */
static int run_concept(sweep *s, size_t concept, choice *chosen, result *won, saeuron_error *err)
{
    const size_t most = most_pairs(s->o);
    candidates all = { .c = io_alloc(s->p->host, most, sizeof *all.c),
                       .r = io_alloc(s->p->host, most, sizeof *all.r) };
    image_list l;
    const forgotten what = forgotten_one(s->o->domain, s->concept[concept]);
    int code = list_open(&l, s->p, NULL, &what, err);
    if (!code && !(all.c && all.r))
        code = fail(err, SAEURON_ENOMEM, "no memory for a sweep of %zu pairs", most);
    if (!code)
        code = list_keep_features(&l, &s->m, other_domain(s->o->domain), err);
    const size_t done = s->drawn.done, left = code ? 0 : images_left(s, concept, 0, l.wanted, NULL) +
                                                         images_left(s, concept, 1, l.wanted, NULL);
    if (!code)
        code = find_candidates(s, &l, concept, &all, err);
    if (!code)
        code = choose(s, &l, concept, &all, chosen, won, err);
    s->drawn.images -= code ? 0 : left - (s->drawn.done - done); /* what an early end has spared */
    list_close(&l, s->p);
    io_free(s->p->host, all.c);
    io_free(s->p->host, all.r);
    return code;
}

/* ---- forget.json ---- */

static void add_choice(text_out *t, const char *name, const choice *c, bool first)
{
    char strength[32];
    text_add(t, "%s ", first ? "" : ",\n");
    text_quote(t, name);
    if (c->top)
        text_add(t, ": {\"top\": %zu", c->top);
    else
        text_add(t, ": {\"percentile\": %g", c->percentile);
    if (c->min_lift > 0)
        text_add(t, ", \"min_lift\": %g", c->min_lift);
    if (c->end)
        text_add(t, ", \"window\": [%zu, %zu]", c->first, c->end);
    if (c->half != SAEURON_HALF_BOTH)
        text_add(t, ", \"half\": \"%s\"", half_name[c->half]);
    io_format_float(strength, sizeof strength, c->strength);
    text_add(t, ", \"strength\": %s}", strength);
}

static bool is_swept(const sweep *s, json name)
{
    bool found = false;
    for (size_t i = 0; i < s->concepts; i++)
        found |= json_equals(name, concept_name(s, i));
    return found;
}

/* forget.json at path, if there is one, as *object; f is for io_close, if f->data. */
static int open_choices(io_file *f, json *object, const saeuron_host *host, const char *path,
                        saeuron_error *err)
{
    saeuron_error why;
    *f = (io_file){ .data = NULL };
    *object = (json){ NULL, NULL };
    if (!io_exists(host, path))
        return SAEURON_OK;
    const int code = io_open(f, host, path, err);
    if (code)
        return code;
    if (json_open_object(object, (const char *)f->data, f->size, path, &why))
        return fail(err, SAEURON_EFORMAT, "%s: is no JSON object: delete it, and it is made anew", path);
    return SAEURON_OK;
}

/* What is there is looked at before hours are spent on what shall stand beside it. */
static int check_choices(const sweep *s, saeuron_error *err)
{
    char    path[1024];
    io_file f;
    json    object;
    int     code = table_path(path, s, "forget.json", err);
    if (code)
        return code;
    code = open_choices(&f, &object, s->p->host, path, err);
    if (f.data)
        io_close(&f);
    return code;
}

/* Writes path. The entries that it has for other concepts stay, letter by letter, in front of the chosen
 * ones. */
static int save_choices(const sweep *s, const char *path, const choice *chosen, saeuron_error *err)
{
    text_out t = { .host = s->p->host };
    io_file  f;
    json     object, name;
    size_t   entries = 0;
    int      code = open_choices(&f, &object, s->p->host, path, err);
    text_add(&t, "{\n");
    for (json_iter it = json_begin(object); !code && json_next(&it, &name, NULL);)
        if (!is_swept(s, name)) /* it.at.at: where the member ends */
            text_add(&t, "%s %.*s", entries++ ? ",\n" : "", (int)(it.at.at - name.at), name.at);
    for (size_t i = 0; i < s->concepts; i++)
        add_choice(&t, concept_name(s, i), &chosen[i], !entries++);
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
    text_add(&t, "%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %zu %s %zux%zu %d %d %d %zu ", s->m.digest,
             saeuron_classifier_digest(s->o->e.k[STYLE]), saeuron_classifier_digest(s->o->e.k[OBJECT]),
             g->steps ? g->steps : x->default_steps, guidance, s->m.W, s->m.H, g->residual, g->map_steps,
             s->o->rule.kind, s->o->retained);
    text_quote(&t, g->negative_prompt ? g->negative_prompt : "");
    for (size_t i = 0; i < x->hooks; i++)
        text_add(&t, " %016" PRIx64 " %016" PRIx64, x->hook[i]->sae.digest, x->hook[i]->stats.digest);
    h = nn_hash(0, t.at ? t.at : "", t.n);
    const bool failed = t.failed;
    text_free(&t);
    print_into(s->digest, sizeof s->digest, "%016" PRIx64, h);
    return failed ? fail(err, SAEURON_ENOMEM, "no memory for a digest") : SAEURON_OK;
}

/* Loads the SAE and the statistics by forgetting the first concept; path: that of forget.json beside the
 * SAE. */
static int load_hook(sweep *s, char path[1024], saeuron_error *err)
{
    image_list l;
    const forgotten what = forgotten_one(s->o->domain, s->concept[0]);
    int code = list_open(&l, s->p, NULL, &what, err);
    if (!code)
        code = list_enter(&l, &s->m, NULL, err);
    for (size_t i = 0; i < s->m.x->hooks && !code; i++) {
        const char *file = s->m.x->hook[i]->sae.file.path;
        if (s->m.x->hook[i]->count &&
            print_into(path, 1024, "%.*sforget.json", (int)io_folder(file), file) >= 1024)
            code = fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", file);
    }
    list_close(&l, s->p);
    return code;
}

static int open_sweep(sweep *s, saeuron_context *x, char path[1024], saeuron_error *err)
{
    const eval_options *e = &s->o->e;
    const labels *names = &s->p->label[s->o->domain];
    int code = maker_open(&s->m, x, s->p, e->k, &e->sampling, err);
    if (code)
        return code;
    s->order = io_alloc(&x->host, s->p->entries, sizeof *s->order);
    s->concept = io_alloc(&x->host, names->count, sizeof *s->concept);
    for (uint32_t c = 0; s->concept && c < names->count; c++)
        if (e->concept[s->o->domain][c])
            s->concept[s->concepts++] = c;
    if (!s->order || !s->concept)
        return fail(err, SAEURON_ENOMEM, "no memory for a sweep");
    if (!s->concepts || !most_pairs(s->o))
        return fail(err, SAEURON_EUSAGE, "there is no concept to forget, or no grid");
    sweep_order(s->order, s->p->entries);
    if ((code = load_hook(s, path, err)) != SAEURON_OK || (code = check_seeds(s, err)) != SAEURON_OK ||
        (code = digest_run(s, err)) != SAEURON_OK)
        return code;
    if ((code = io_make_dir(e->dir, err)) != SAEURON_OK || (code = check_choices(s, err)) != SAEURON_OK)
        return code;
    return open_table(s, err);
}

/* Without forgetting: every image that any concept's stage wants. They are kept as files: all concepts share
 * them. */
static int run_none(sweep *s, saeuron_error *err)
{
    const size_t n = s->p->seeds * s->p->entries;
    const watcher *w = s->drawn.watch;
    size_t there = 0;
    const forgotten nothing = { { { false } } };
    int    code = list_open(&s->none, s->p, s->o->e.dir, &nothing, err);
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
    if (!code)
        code = list_keep_features(&s->none, &s->m, other_domain(s->o->domain), err);
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
    io_free(host, s->rows);
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
    choice *chosen = NULL;
    int     code = open_sweep(&s, x, beside, err);
    if (!code && !(chosen = io_alloc(&x->host, s.concepts, sizeof *chosen)))
        code = fail(err, SAEURON_ENOMEM, "no memory for a sweep");
    if (!code)
        code = run_none(&s, err);
    for (size_t c = 0; c < s.concepts && !code; c++) {
        result won;
        code = run_concept(&s, c, &chosen[c], &won, err);
        if (!code && o->chose)
            o->chose(o->e.watch.user, concept_name(&s, c), &chosen[c], &won, sweep_keeps(&o->rule, &won));
    }
    if (!code && (code = table_path(path, &s, "forget.json", err)) == SAEURON_OK)
        code = save_choices(&s, path, chosen, err);
    if (!code && o->install && (code = save_choices(&s, beside, chosen, err)) == SAEURON_OK && installed)
        print_into(installed, 1024, "%s", beside);
    io_free(&x->host, chosen);
    return close_sweep(&s, code);
}
