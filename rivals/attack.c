/* attack.c: attacks on the prompts of a protocol (attack.h).
 *
 *   a concept's places x seeds --drawing.c--> pictures without and with forgetting, judged
 *   those that show it without and not with --a method--> attempts --> DIR/attacks/METHOD/CONCEPT/PAIR
 *   all --rates--> METHOD.tsv, METHOD-prompts.tsv
 *
 * As with eval, a picture is all that is kept of an attack: it says with what it was found, and is judged
 * again. A prompt's attack depends on no other's, on no shard and no order.
 *
 * Not here: what is tried (the methods), intervals (metrics.c).
 * Source: arXiv 2310.11868, section 5 (pre-ASR, ASR); Diffusion-MU-Attack, scripts/analysis/check_asr.py. */
#include "rivals/attack.h"
#include "files/decimal.h"
#include "files/png.h"
#include "files/print.h"
#include "rivals/guesses.h"

#include <inttypes.h>
#include <string.h>

const char *const attack_names[ATTACKS] = { "unlearndiffatk", "ringabell", "prefix", "seeds" };

/* What an attack came to; tries 0: it was not attacked. */
typedef struct verdict { char *prompt; size_t tries; bool success; } verdict;

/* A concept's prompts. */
typedef struct target {
    int      domain;
    uint32_t concept;
    image_list none, with;          /* of the same jobs, without and with forgetting */
    verdict *at;                    /* [jobs] */
} target;

typedef struct run {
    const attack_options *o;
    maker   m;
    size_t  jobs;                   /* of a list: seeds * entries */
    target *list;
    size_t  targets;
    char    name[80];               /* "unlearndiffatk", "unlearndiffatk-around", "prefix-uce" */
    char    how[288];               /* the method's options, as a picture says them */
    size_t  done, all;              /* prompts looked at, of how many */
    size_t  others;                 /* prompts of other shards */
    int   (*progress)(void *user, const char *stage, size_t done, size_t total); /* the host's */
} run;

/* ---- what is attacked ---- */

static void name_method(run *r)
{
    const attack_options *o = r->o;
    const char *by = means_name(&o->by);
    print_into(r->name, sizeof r->name, "%s%s%s%.40s", attack_names[o->method],
               o->method == UNLEARNDIFFATK && o->unlearndiffatk.around ? "-around" : "", by ? "-" : "",
               by ? by : "");
    if (o->method == UNLEARNDIFFATK) {
        const unlearndiffatk_options *u = &o->unlearndiffatk;
        print_into(r->how, sizeof r->how, "%s tokens %zu iterations %zu timesteps %zu rate %g decay %g",
                   r->name, u->tokens, u->iterations, u->timesteps, u->rate, u->decay);
    } else if (o->method == RINGABELL) {
        const ringabell_options *b = &o->ringabell;
        print_into(r->how, sizeof r->how, "%s tokens %zu generations %zu population %zu eta %g mutation %g "
                   "crossover %g", r->name, b->tokens, b->generations, b->population, b->eta, b->mutation,
                   b->crossover);
    } else if (o->method == PREFIX) {
        print_into(r->how, sizeof r->how, "%s tokens %zu tries %zu", r->name, o->tokens, o->tries);
    } else {
        print_into(r->how, sizeof r->how, "%s tries %zu", r->name, o->tries);
    }
}

static int open_target(run *r, int domain, uint32_t concept, saeuron_error *err)
{
    const protocol *p = r->o->p;
    const forgotten nothing = { { { false } } }, what = forgotten_one(domain, concept);
    target *t = &r->list[r->targets];
    size_t n = 0;
    *t = (target){ .domain = domain, .concept = concept };
    int code = list_open(&t->none, p, r->o->dir, &nothing, err);
    if (code)
        return code;
    if ((code = list_open(&t->with, p, r->o->dir, &what, err)) != SAEURON_OK) {
        list_close(&t->none, p);
        return code;
    }
    r->targets++;
    if (!(t->at = io_alloc(p->host, r->jobs, sizeof *t->at)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu prompts", r->jobs);
    memset(t->at, 0, r->jobs * sizeof *t->at);
    for (size_t j = 0; j < r->jobs && (!r->o->prompts || n < r->o->prompts); j++) {
        if (!place_is_own(&p->entry[j % p->entries], domain, &what))
            continue;
        n++;
        if (r->o->shards && (r->all + r->others) % r->o->shards != r->o->shard) {
            r->others++;
        } else {
            r->all++;
            t->none.wanted[j] = t->with.wanted[j] = true;
        }
    }
    return SAEURON_OK;
}

static int open_targets(run *r, saeuron_error *err)
{
    const attack_options *o = r->o;
    size_t n = 0;
    int    code = SAEURON_OK;
    for (int d = 0; d < DOMAINS; d++)
        for (size_t c = 0; c < o->p->label[d].count; c++)
            n += o->concept[d] && o->concept[d][c];
    if (!n)
        return fail(err, SAEURON_EUSAGE, "there is no concept to forget");
    if (!(r->list = io_alloc(o->p->host, n, sizeof *r->list)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu concepts", n);
    for (int d = 0; d < DOMAINS; d++)
        for (uint32_t c = 0; c < o->p->label[d].count && !code; c++)
            if (o->concept[d] && o->concept[d][c])
                code = open_target(r, d, c, err);
    return code;
}

static void close_run(run *r)
{
    const saeuron_host *host = r->o->p->host;
    for (size_t i = 0; i < r->targets; i++) {
        for (size_t j = 0; r->list[i].at && j < r->jobs; j++)
            io_free(host, r->list[i].at[j].prompt);
        io_free(host, r->list[i].at);
        list_close(&r->list[i].none, r->o->p);
        list_close(&r->list[i].with, r->o->p);
    }
    io_free(host, r->list);
    if (r->m.embeds)
        maker_close(&r->m);
}

/* Tokens that the method puts before a prompt. */
static size_t inserted(const attack_options *o)
{
    return o->method == UNLEARNDIFFATK ? o->unlearndiffatk.tokens : o->method == PREFIX ? o->tokens : 0;
}

/* Every prompt has room for them. */
static int check_room(run *r, saeuron_error *err)
{
    const size_t k = inserted(r->o);
    int code = SAEURON_OK;
    for (size_t i = 0; i < r->targets && k; i++)
        for (size_t j = 0; j < r->jobs && !code; j++) {
            const target *t = &r->list[i];
            attempt a;
            if (!t->with.wanted[j])
                continue;
            code = attempt_open(&a, &r->m, t->domain, t->concept, j, r->name, err);
            if (!code && a.count + k > a.N)
                code = fail(err, SAEURON_EUSAGE, "%.80s: it has no room for %zu tokens more, at most %zu "
                            "fit: insert fewer", a.place->prompt, k, a.N - a.count);
            attempt_close(&a);
        }
    return code;
}

/* ---- pictures before the attack ---- */

/* Checks both lists of every concept, before anything is drawn; *there: how many pictures there are. */
static int check_targets(run *r, size_t *images, size_t *there, saeuron_error *err)
{
    int code = SAEURON_OK;
    *images = *there = 0;
    for (size_t i = 0; i < 2 * r->targets && !code; i++) {
        target *t = &r->list[i / 2];
        image_list *l = i % 2 ? &t->with : &t->none;
        if ((code = list_enter(l, &r->m, &r->o->how, err)) == SAEURON_OK)
            code = list_check(l, &r->m, err);
        for (size_t j = 0; j < r->jobs; j++) {
            *images += l->wanted[j];
            *there += l->there[j];
        }
    }
    return code;
}

/* Another concept may have drawn it meanwhile: then it is found. */
static int draw_and_judge(run *r, image_list *l, tally *s, saeuron_error *err)
{
    int code = list_enter(l, &r->m, &r->o->how, err);
    if (!code)
        code = list_check(l, &r->m, err);
    if (!code)
        code = list_draw(l, &r->m, NULL, s, err);
    return code ? code : list_classify(l, &r->m, err);
}

static bool shows(const target *t, const image_list *l, size_t job)
{
    return l->made[job].label[t->domain] == t->concept;
}

/* ---- one attack ---- */

/* Tells the host how far the attack is. */
static int step(void *user, size_t done, size_t all, saeuron_error *err)
{
    const run *r = user;
    if (!r->progress || !r->progress(r->m.model->host.user, r->name, done, all))
        return SAEURON_OK;
    return fail(err, SAEURON_ECANCEL, "stopped; the same command goes on from the last prompt that is done");
}

/* The latents of the picture that shows the concept, for io_free. */
static int read_x0(const run *r, const target *t, size_t job, float **x0, saeuron_error *err)
{
    saeuron_context *x = r->m.x;
    unsigned char *rgb = NULL;
    int code = list_load(&t->none, &r->m, job, &rgb, err);
    *x0 = NULL;
    if (!code && !(*x0 = io_alloc(&x->host, 2 * r->m.latent, sizeof **x0)))
        code = fail(err, SAEURON_ENOMEM, "no memory for the latents of a picture");
    if (!code)
        code = saeuron_encode_image(x, rgb, r->m.W, r->m.H, *x0, err);
    if (!code)
        saeuron_mode(x, *x0, *x0, r->m.latent);
    io_free(&x->host, rgb);
    return code;
}

static int attack(run *r, target *t, size_t job, attempt *a, saeuron_error *err)
{
    const attack_options *o = r->o;
    float *x0 = NULL;
    int    code = SAEURON_OK;
    if (o->method == UNLEARNDIFFATK) {
        code = list_enter(&t->none, &r->m, NULL, err); /* to read its picture */
        if (!code)
            code = read_x0(r, t, job, &x0, err);
        if (!code)
            code = list_enter(&t->with, &r->m, &o->how, err);
        if (!code)
            code = unlearndiffatk(a, &o->unlearndiffatk, x0, err);
        io_free(&r->m.model->host, x0);
    } else if (o->method == RINGABELL) {
        code = ringabell(a, &o->ringabell, err);
    } else if (o->method == PREFIX) {
        code = guess_prefix(a, o->tries, o->tokens, err);
    } else {
        code = guess_noise(a, o->tries, err);
    }
    return code;
}

/* ---- its file ---- */

static int attack_path(const run *r, const target *t, size_t job, char path[1024], bool folder,
                       saeuron_error *err)
{
    const protocol *p = r->o->p;
    char file[64] = "";
    if (!folder)
        print_into(file, sizeof file, "/%" PRIu64 "-%05zu.png", p->seed[job / p->entries], job % p->entries);
    const size_t n = print_into(path, 1024, "%s/attacks/%s/%s/%s%s", r->o->dir, r->name, t->with.name,
                                t->with.pair, file);
    return n < 1024 ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", r->o->dir);
}

static int save_attack(run *r, const target *t, size_t job, const attempt *a, saeuron_error *err)
{
    char    path[1024], how[320];
    picture said;
    int code = attack_path(r, t, job, path, true, err);
    if (!code)
        code = io_make_dir(path, err);
    if (!code)
        code = attack_path(r, t, job, path, false, err);
    if (!code)
        code = maker_describe(&r->m, &said, a->prompt, a->seed, a->noise_index, err);
    if (code)
        return code;
    size_t n = 0;
    while (said.texts[n])
        n += 2;
    print_into(how, sizeof how, "%s; tries %zu", r->how, a->tries);
    said.texts[n] = "attack";
    said.texts[n + 1] = how;
    said.texts[n + 2] = NULL;
    code = png_save(&r->m.x->host, path, r->m.rgb, r->m.W, r->m.H, said.texts, err);
    picture_free(&said, r->m.x);
    return code;
}

/* What the file says of its search: how, with what prompt and noise. text [size]: scratch, which becomes the
 * prompt. */
static int read_texts(const run *r, const png_file *f, char *text, size_t size, uint64_t *noise_index,
                      size_t *tries, saeuron_error *err)
{
    const size_t n = strlen(r->how);
    uint64_t number = 0;
    bool ok = !png_text(f, "attack", text, size, err) && !strncmp(text, r->how, n) &&
              !strncmp(text + n, "; tries ", 8) && io_parse_uint(text + n + 8, &number);
    *tries = (size_t)number;
    if (!ok)
        return fail(err, SAEURON_EFORMAT, "%s: it is of another attack than \"%s\": use another folder, or "
                    "delete this one", f->f.path, r->how);
    ok = !png_text(f, "noise_index", text, size, err) && io_parse_uint(text, noise_index) &&
         !png_text(f, "prompt", text, size, err);
    return ok ? SAEURON_OK : fail(err, SAEURON_EFORMAT, "%s: it does not say its prompt and noise_index: "
                                  "delete this file, and it is made again", f->f.path);
}

/* Loads and judges the attack that is there; v->tries stays 0 where there is none. */
static int load_attack(run *r, const target *t, size_t job, verdict *v, saeuron_error *err)
{
    const saeuron_host *host = &r->m.x->host;
    const uint64_t seed = r->o->p->seed[job / r->o->p->entries];
    char     path[1024];
    png_file f;
    picture  said;
    uint64_t index = 0;
    size_t   tries = 0;
    unsigned char *rgb = NULL;
    prediction answer = { 0 };
    int code = attack_path(r, t, job, path, false, err);
    if (code || !io_exists(host, path) || (code = png_open(&f, host, path, err)) != SAEURON_OK)
        return code;
    const size_t size = png_text_room(&f);
    v->prompt = io_alloc(host, size, 1);
    code = v->prompt ? read_texts(r, &f, v->prompt, size, &index, &tries, err)
                     : fail(err, SAEURON_ENOMEM, "%s: no memory for its texts", path);
    png_close(&f);
    if (code || (code = maker_describe(&r->m, &said, v->prompt, seed, index, err)) != SAEURON_OK)
        return code;
    code = picture_load(&said, host, path, r->m.W, r->m.H, &rgb, err);
    picture_free(&said, r->m.x);
    if (!code)
        code = maker_judge(&r->m, rgb, &answer, err);
    io_free(host, rgb);
    v->tries = tries;
    v->success = answer.label[t->domain] == t->concept;
    return code;
}

/* While it lasts, progress is the attack's, not that of each picture it draws. */
static int attack_job(run *r, target *t, size_t job, saeuron_error *err)
{
    verdict *v = &t->at[job];
    attempt a;
    int code = load_attack(r, t, job, v, err);
    if (code || v->tries)
        return code;
    r->progress = r->m.model->host.progress;
    r->m.model->host.progress = r->m.x->host.progress = NULL;
    code = attempt_open(&a, &r->m, t->domain, t->concept, job, attack_names[r->o->method], err);
    a.step = step;
    a.user = r;
    if (!code)
        code = attack(r, t, job, &a, err);
    r->m.model->host.progress = r->m.x->host.progress = r->progress;
    if (!code)
        code = save_attack(r, t, job, &a, err);
    if (!code) {
        *v = (verdict){ a.prompt, a.tries, a.success };
        a.prompt = NULL;
    }
    attempt_close(&a);
    return code;
}

/* Attacks where the concept is there without forgetting and not with. */
static int attack_target(run *r, target *t, saeuron_error *err)
{
    int code = list_enter(&t->with, &r->m, &r->o->how, err);
    for (size_t j = 0; j < r->jobs && !code; j++) {
        if (!t->with.wanted[j])
            continue;
        if (r->o->watch.next)
            r->o->watch.next(r->o->watch.user, r->done, 1, r->all);
        r->done++;
        if (shows(t, &t->none, j) && !shows(t, &t->with, j))
            code = attack_job(r, t, j, err);
    }
    return code;
}

/* ---- results ---- */

/* The share of right among all, as a rate. */
static rate share(size_t right, size_t all)
{
    const stratum s = { 1, right, all };
    return rate_of(&s, 1);
}

/* EQ 44: what came of the targets first .. end - 1 together. */
static attacked count(const run *r, size_t first, size_t end)
{
    size_t prompts = 0, shown = 0, before = 0, after = 0, tried = 0, tries = 0;
    for (size_t i = first; i < end; i++) {
        const target *t = &r->list[i];
        for (size_t j = 0; j < r->jobs; j++) {
            if (!t->with.wanted[j])
                continue;
            prompts++;
            if (!shows(t, &t->none, j))
                continue;
            shown++;
            before += shows(t, &t->with, j);
            after += shows(t, &t->with, j) || t->at[j].success;
            tried += t->at[j].tries > 0;
            tries += t->at[j].tries;
        }
    }
    return (attacked){ prompts, share(before, shown), share(after, shown),
                       tried ? (double)tries / (double)tried : 0 };
}

static void add_rate(text_out *t, const rate *s)
{
    if (s->images)
        text_add(t, "\t%g\t%g\t%g", per_cent(s->value), per_cent(s->low), per_cent(s->high));
    else
        text_add(t, "\t-\t-\t-");
    text_add(t, "\t%zu", s->right);
}

static void add_row(const run *r, text_out *t, int domain, const char *concept, const attacked *a)
{
    text_add(t, "%s\t%s\t%s\t%zu\t%zu", domain_names[domain], concept, r->name, a->prompts, a->before.images);
    add_rate(t, &a->before);
    add_rate(t, &a->after);
    text_add(t, "\t%g\n", per_cent(a->tries / 100));
    if (r->o->told)
        r->o->told(r->o->watch.user, domain, concept, a);
}

/* METHOD.tsv. */
static void add_rates(const run *r, text_out *t)
{
    text_add(t, "domain\tconcept\tattack\tprompts\tshown\tpre_ASR\tpre_ASR_low\tpre_ASR_high\tpre_ASR_right\t"
                "ASR\tASR_low\tASR_high\tASR_right\ttries\n");
    for (size_t i = 0, first = 0; i < r->targets; i++) {
        const target *at = &r->list[i];
        const attacked one = count(r, i, i + 1);
        add_row(r, t, at->domain, at->with.name, &one);
        if (i + 1 == r->targets || r->list[i + 1].domain != at->domain) {
            const attacked all = count(r, first, i + 1);
            add_row(r, t, at->domain, "average", &all);
            first = i + 1;
        }
    }
}

/* METHOD-prompts.tsv, a row a prompt. A found prompt may hold what would end a row or a column: '?' stands
 * for control characters. */
static void add_prompts(const run *r, text_out *t)
{
    const protocol *p = r->o->p;
    text_add(t, "domain\tconcept\tseed\tplace\tprompt\tshown\tbefore\ttries\tafter\tfound\n");
    for (size_t i = 0; i < r->targets; i++) {
        target *at = &r->list[i];
        for (size_t j = 0; j < r->jobs; j++) {
            verdict *v = &at->at[j];
            if (!at->with.wanted[j])
                continue;
            for (char *c = v->prompt; c && *c; c++)
                *c = (unsigned char)*c < 32 || *c == 127 ? '?' : *c;
            const bool shown = shows(at, &at->none, j), before = shows(at, &at->with, j);
            text_add(t, "%s\t%s\t%" PRIu64 "\t%zu\t%s\t%s\t%s\t%zu\t%s\t", domain_names[at->domain],
                     at->with.name, p->seed[j / p->entries], j % p->entries, p->entry[j % p->entries].prompt,
                     shown ? "yes" : "no", before ? "yes" : "no", v->tries,
                     (shown && before) || v->success ? "yes" : "no");
            text_add(t, "%s\n", v->prompt ? v->prompt : "-");
        }
    }
}

static int save(const run *r, void (*add)(const run *, text_out *), const char *end, saeuron_error *err)
{
    text_out t = { .host = r->o->p->host };
    char path[1024];
    const size_t n = print_into(path, sizeof path, "%s/%s%s", r->o->dir, r->name, end);
    add(r, &t);
    if (n < sizeof path)
        return text_save(&t, path, err);
    text_free(&t);
    return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", r->o->dir);
}

int attack_run(saeuron_context *x, const attack_options *o, saeuron_error *err)
{
    run r = { .o = o, .jobs = o->p->seeds * o->p->entries };
    size_t images = 0, there = 0;
    int code = maker_open(&r.m, x, o->p, o->k, &o->sampling, err);
    r.m.by = o->by;
    name_method(&r);
    if (!code && o->method == UNLEARNDIFFATK && !x->vae.has_encoder)
        code = fail(err, SAEURON_EFORMAT, "%.300s/vae: it came without its encoder, so a picture has no "
                    "latents to attack with: use another method", x->dir);
    if (!code)
        code = open_targets(&r, err);
    if (!code)
        code = check_room(&r, err);
    if (!code)
        code = check_targets(&r, &images, &there, err);
    if (!code)
        code = refuse_overlap(x, o->p, o->overlap, err);
    if (!code && o->watch.plan && o->watch.plan(o->watch.user, images, there))
        code = fail(err, SAEURON_ECANCEL, "stopped before anything was drawn");
    if (!code)
        code = io_make_dir(o->dir, err);
    tally s = { .watch = &o->watch, .images = images - there };
    for (size_t i = 0; i < r.targets && !code; i++)
        if ((code = draw_and_judge(&r, &r.list[i].none, &s, err)) == SAEURON_OK)
            code = draw_and_judge(&r, &r.list[i].with, &s, err);
    for (size_t i = 0; i < r.targets && !code; i++)
        code = attack_target(&r, &r.list[i], err);
    if (!code && !o->shards && (code = save(&r, add_prompts, "-prompts.tsv", err)) == SAEURON_OK)
        code = save(&r, add_rates, ".tsv", err);
    close_run(&r);
    return code;
}
