/* test_eval.c: what evaluations count, on answers made by hand; and that runs, however stopped, split or threaded, end in the same
 * bytes. On the tiny model of tiny.h with two tiny classifiers, in a folder on the disk: three styles, Seed_Images, three objects.
 *
 * Not here: the commands' options (test_cli.c), the same counts by other hands (check_eval.py), the classifier (test_vit.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "tiny.h"
#include "evaluation/sweep.h"
#include "files/png.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const styles[] = { "Seed_Images", "Sketch", "Van Gogh", "Watercolor" }, *const objects[] = { "Cats", "Dogs", "Sea" };
enum { SEED_IMAGES, SKETCH, VAN_GOGH, WATERCOLOR };
enum { CATS, DOGS, SEA };

/* ---- help ---- */

typedef struct stop { long calls, at; } stop; /* of progress; the call that stops (from 1; 0: none) */

static int count_calls(void *user, const char *stage, size_t done, size_t total)
{
    stop *s = user;
    (void)stage, (void)done, (void)total;
    return ++s->calls == s->at;
}

static const char *at(const char *name)
{
    static char paths[8][1200];
    static int  next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/eval/%s", test_tmp(), name);
    return path;
}

static int shell(const char *format, const char *a, const char *b)
{
    char line[4096];
    snprintf(line, sizeof line, format, a, b);
    return system(line);
}

static bool same_folders(const char *a, const char *b) { return shell("diff -r '%s' '%s' >/dev/null", at(a), at(b)) == 0; }

/* The model on the disk, once a run: "model", with concepts.json's classes and both classifiers. */
static void prepare(void)
{
    static bool ready;
    static tiny t;
    if (ready)
        return;
    ready = true;
    tiny_make(&t);
    tiny_add_judges(&t);
    tiny_write(&t, at("model"));
    tiny_free(&t);
}

/* A model with its classifiers and a protocol. */
typedef struct bench { saeuron_context *x; saeuron_classifier *k[DOMAINS]; protocol p; saeuron_host host; stop stop; bool concept[DOMAINS][LABELS]; } bench;

static void open_bench(bench *b, const char *named, int threads)
{
    saeuron_error e = { 0 };
    prepare();
    memset(b, 0, sizeof *b);
    b->host = (saeuron_host){ .user = &b->stop, .progress = count_calls, .threads = threads };
    CHECK(saeuron_open(&b->x, &b->host, at("model"), &e) == SAEURON_OK, "%s", e.text);
    CHECK(saeuron_classifier_open(&b->k[STYLE], &b->host, at("model/classifier/style"), &e) == SAEURON_OK, "%s", e.text);
    CHECK(saeuron_classifier_open(&b->k[OBJECT], &b->host, at("model/classifier/object"), &e) == SAEURON_OK, "%s", e.text);
    CHECK(protocol_open(&b->p, b->x, b->k, named, &e) == SAEURON_OK, "%s", e.text);
}

static void close_bench(bench *b)
{
    protocol_close(&b->p);
    saeuron_classifier_close(b->k[STYLE]);
    saeuron_classifier_close(b->k[OBJECT]);
    saeuron_close(b->x);
}

static void check_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words)
{
    CHECK(code == wanted && e->code == wanted && test_holds(e->text, words) && !strchr(e->text, '\n'), "%s: code %d (wanted %d), \"%s\" should hold %s", what, code, wanted,
          e->text, words);
}

/* ---- counts ---- */

/* Answers made by hand, right but for these: Sketch is seen at the last seed only; Van Gogh not on Dogs; Seed_Images on Cats only;
 * Cats are not seen in Sketch, and unstyled not at the first seed; the Sea is not seen unstyled. */
static prediction *made_answers(const protocol *p)
{
    prediction *made = calloc(p->seeds * p->entries, sizeof *made);
    for (size_t j = 0; j < p->seeds * p->entries; j++) {
        const entry *e = &p->entry[j % p->entries];
        const size_t seed = j / p->entries;
        const bool style = e->style == SKETCH ? seed + 1 == p->seeds : e->style == VAN_GOGH ? e->object != DOGS : e->style == SEED_IMAGES ? e->object == CATS : true;
        const bool object = e->object == CATS ? e->style != SKETCH && (!e->plain || seed) : e->object == SEA ? !e->plain : true;
        made[j].label[STYLE] = style ? e->style : (e->style + 1) % 4;
        made[j].label[OBJECT] = object ? e->object : (e->object + 1) % 3;
    }
    return made;
}

/* Each protocol's numbers against counts by hand; the comment of a row says how. A place counted twice, the forgotten concept among
 * the others, or Seed_Images among the styles would change one of them. */
static void metrics(void)
{
    static const struct { const char *protocol; int domain; uint32_t concept; double value[METRICS]; size_t images[METRICS]; } cases[] = {
        /* UA 15 Sketch, 3 right; IRA mean of 10/15 and 15/15; CRA objects on 30, all right */
        { "emojicanvas", STYLE, SKETCH, { 0.8, 25 / 30.0, 1 }, { 15, 30, 30 } },
        /* UA 15, all right; IRA mean of 3/15, 10/15; CRA 30, Cats in Sketch wrong */
        { "emojicanvas", STYLE, WATERCOLOR, { 0, 13 / 30.0, 25 / 30.0 }, { 15, 30, 30 } },
        /* UA 20 Cats, 5 in Sketch and 1 unstyled wrong; IRA mean of 20/20, 15/20; CRA styles on 40: 2 + 5 + 10 + 0 */
        { "emojicanvas", OBJECT, CATS, { 0.3, 0.875, 17 / 40.0 }, { 20, 40, 40 } },
        /* CRA objects on the 15 unstyled: 4 + 5 + 0 */
        { "paper", STYLE, SKETCH, { 0.8, 25 / 30.0, 0.6 }, { 15, 30, 15 } },
        /* unstyled weigh 3 each: UA 1 - (10 + 3 x 4) / 30; IRA mean of 1 and 15/30; CRA mean of 3/15, 10/15, 1 over all objects */
        { "paper", OBJECT, CATS, { 8 / 30.0, 0.75, 28 / 45.0 }, { 20, 40, 45 } },
        { "released", STYLE, SKETCH, { 0.8, 25 / 30.0, 0.6 }, { 15, 30, 15 } },
        { "released", OBJECT, CATS, { 0.3, 0.875, 28 / 45.0 }, { 20, 40, 45 } },
        /* CRA objects on the 15 Sketch: Cats wrong */
        { "unlearncanvas", STYLE, SKETCH, { 0.8, 25 / 30.0, 10 / 15.0 }, { 15, 30, 15 } },
        { "unlearncanvas", OBJECT, CATS, { 0.3, 0.875, 28 / 45.0 }, { 20, 40, 45 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        open_bench(&b, cases[i].protocol, 1);
        prediction *made = made_answers(&b.p);
        CHECK(b.p.entries == 12 && b.p.seeds == 5, "%s has %zu places, %zu seeds", cases[i].protocol, b.p.entries, b.p.seeds);
        for (int m = 0; m < METRICS; m++) {
            saeuron_error e = { 0 };
            rate r;
            CHECK(rate_rule(&r, &b.p, &b.p.rules[cases[i].domain][m], cases[i].domain, cases[i].concept, made, NULL, &e) == SAEURON_OK, "%s", e.text);
            if (m == UA)
                r = rate_opposite(r);
            CHECK(fabs(r.value - cases[i].value[m]) < 1e-14 && r.images == cases[i].images[m], "%s, %s: %s is %.17g of %zu images, by hand %.17g of %zu", cases[i].protocol,
                  cases[i].domain ? objects[cases[i].concept] : styles[cases[i].concept], metric_names[m], r.value, r.images, cases[i].value[m], cases[i].images[m]);
            CHECK(r.low >= 0 && r.low <= r.value && r.value <= r.high && r.high <= 1, "its interval is %g to %g", r.low, r.high);
        }
        free(made);
        close_bench(&b);
    }
}

/* Images that were not asked count nowhere, nor do those outside `use`. */
static void metrics_of_some(void)
{
    bench b;
    saeuron_error e = { 0 };
    rate r;
    bool use[60] = { false };
    open_bench(&b, "emojicanvas", 1);
    prediction *made = made_answers(&b.p);
    const rule all = { STYLE, OF_ALL, MEAN_IMAGES, 1, 1 };
    use[48 + 1] = use[1] = use[2] = true; /* Cats in Sketch at the last seed (right) and the first (wrong), in Van Gogh */
    CHECK(rate_rule(&r, &b.p, &all, STYLE, NO_LABEL, made, use, &e) == SAEURON_OK && r.images == 3 && r.right == 2, "%zu of %zu", r.right, r.images);
    made[1].label[STYLE] = NO_LABEL;
    CHECK(rate_rule(&r, &b.p, &all, STYLE, NO_LABEL, made, use, &e) == SAEURON_OK && r.images == 2 && r.right == 2, "%zu of %zu", r.right, r.images);
    memset(use, 0, sizeof use);
    CHECK(rate_rule(&r, &b.p, &all, STYLE, NO_LABEL, made, use, &e) == SAEURON_OK && !r.images, "%zu images of none", r.images);
    free(made);
    close_bench(&b);
}

/* Wilson's ends are scipy.stats.binomtest(right, n).proportion_ci(method="wilson")'s, at 0 and 1 too. Means: one stratum
 * is itself; two alike, and three that weigh as their images do, are all their images. */
static void intervals(void)
{
    static const struct { size_t right, n; double low, high; } cases[] = {
        { 0, 10, 0, 0.277532799862889 }, { 10, 10, 0.722467200137111, 1 }, { 50, 100, 0.403831530365996, 0.596168469634004 }, { 1, 3, 0.0614919447203963, 0.792340399197952 },
        { 97, 100, 0.915480635709472, 0.989745475975961 },
    };
    const double one = 1, alike[2] = { 4, 4 }, as_images[3] = { 2, 7, 10 }, unlike[2] = { 1, 3 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const rate r = rate_of(cases[i].right, cases[i].n), s = rate_sum(&r, &one, 1), pair[2] = { r, r }, t = rate_sum(pair, alike, 2), both = rate_of(2 * r.right, 2 * r.images);
        CHECK(fabs(r.low - cases[i].low) < 1e-12 && fabs(r.high - cases[i].high) < 1e-12, "%zu of %zu: %.15g to %.15g", cases[i].right, cases[i].n, r.low, r.high);
        CHECK(fabs(s.low - r.low) < 1e-15 && fabs(s.high - r.high) < 1e-15 && fabs(s.value - r.value) < 1e-15, "one stratum is not itself");
        CHECK(fabs(t.low - both.low) < 1e-14 && fabs(t.high - both.high) < 1e-14 && t.images == 2 * r.images, "two alike: %g to %g", t.low, t.high);
    }
    const rate three[3] = { rate_of(1, 2), rate_of(0, 0), rate_of(9, 10) }, u = rate_sum(three, as_images, 3), all = rate_of(10, 12);
    CHECK(fabs(u.value - all.value) < 1e-15 && fabs(u.low - all.low) < 1e-14 && u.images == 12, "a stratum without images weighs: %g, from %g", u.value, u.low);
    const rate v = rate_sum((rate[]){ three[0], three[2] }, unlike, 2); /* 1 / (1/16 / 2 + 9/16 / 10) = 80/7 */
    CHECK(fabs(v.value - 0.8) < 1e-15 && fabs(v.effective - 80 / 7.0) < 1e-13, "%g of %g images", v.value, v.effective);
}

/* ---- protocols ---- */

/* A printed protocol is read back as it was, numbers and places alike; places follow objects, then styles. */
static void protocol_files(void)
{
    static const char *const names[] = { "emojicanvas", "paper", "released", "unlearncanvas" };
    for (size_t i = 0; i < 4; i++) {
        bench b;
        protocol q;
        saeuron_error e = { 0 };
        open_bench(&b, names[i], 1);
        text_out t = { .host = &b.host }, u = { .host = &b.host };
        protocol_print(&b.p, &t);
        test_write_file(at("p.json"), t.at, t.n);
        CHECK(protocol_open(&q, b.x, b.k, at("p.json"), &e) == SAEURON_OK, "%s", e.text);
        protocol_print(&q, &u);
        CHECK(t.n == u.n && !memcmp(t.at, u.at, t.n), "%s is read back otherwise", names[i]);
        CHECK(!strcmp(q.entry[0].prompt, "An image of Cats.") && q.entry[0].plain && !strcmp(q.entry[2].prompt, "An image of Cats in Van Gogh style.") &&
                  q.entry[11].style == WATERCOLOR && q.entry[11].object == SEA, "the places of %s are in another order", names[i]);
        CHECK(q.steps == (i ? 100 : 0) && q.disjoint == !i, "%s: %zu steps", names[i], q.steps);
        text_free(&t);
        text_free(&u);
        protocol_close(&q);
        close_bench(&b);
    }
}

#define RULES "\"style\": {\"UA\": {\"judge\": \"style\", \"of\": \"forgotten\", \"mean\": \"images\"}, \"IRA\": {\"judge\": \"style\", \"of\": \"others\", \"mean\": \"styles\"}, " \
              "\"CRA\": {\"judge\": \"object\", \"of\": \"all\", \"mean\": \"images\", \"styled\": 0}}"
#define IMAGES "[{\"prompt\": \"a\", \"object\": \"Cats\", \"style\": \"Sketch\"}, {\"prompt\": \"b\", \"object\": \"Sea\"}]"

static void protocol_errors(void)
{
    static const struct { const char *text, *words; } cases[] = {
        { "", "p.json" }, { "[]", "p.json|object" }, { "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": " IMAGES ", \"imgaes\": 1}", "imgaes" },
        { "{\"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds" }, { "{\"seeds\": [1, 1], \"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds|no two alike" },
        { "{\"seeds\": [-1], \"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds" }, { "{\"seeds\": [1], \"images\": " IMAGES "}", "domains" },
        { "{\"seeds\": [1], \"domains\": {}, \"images\": " IMAGES "}", "domains" }, { "{\"seeds\": [1], \"domains\": {\"style\": {}}, \"images\": " IMAGES "}", "domains.style.UA" },
        { "{\"seeds\": [1], \"domains\": {\"style\": {\"UA\": {\"judge\": \"stile\", \"of\": \"all\", \"mean\": \"images\"}}}, \"images\": " IMAGES "}", "domains.style.UA|judge" },
        { "{\"seeds\": [1], \"domains\": {\"style\": {\"UA\": {\"judge\": \"style\", \"of\": \"all\", \"mean\": \"images\", \"plane\": 0}}}, \"images\": " IMAGES "}", "domains.style.UA|plain" },
        { "{\"seeds\": [1], \"domains\": {\"style\": {\"UA\": {\"judge\": \"style\", \"of\": \"all\", \"mean\": \"images\", \"plain\": 0, \"styled\": 0}}}, \"images\": " IMAGES "}", "weights" },
        { "{\"seeds\": [1], \"domains\": {" RULES "}}", "images" }, { "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": []}", "images" },
        { "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": [{\"object\": \"Cats\"}]}", "image 0|prompt" },
        { "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": [{\"prompt\": \"a\\tb\"}]}", "image 0|control" },
        { "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": [{\"prompt\": \"a\", \"object\": \"Cow\"}]}", "image 0|Cow|object classifier" },
        { "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": [{\"prompt\": \"a\", \"style\": 7}]}", "image 0|style" },
        { "{\"seeds\": [1], \"guidance\": -2, \"domains\": {" RULES "}, \"images\": " IMAGES "}", "guidance" },
        { "{\"seeds\": [1], \"name\": \"../x\", \"domains\": {" RULES "}, \"images\": " IMAGES "}", "name" },
    };
    bench b;
    saeuron_error e = { 0 };
    protocol q;
    open_bench(&b, NULL, 1);
    CHECK(!strcmp(b.p.name, "emojicanvas"), "the default is %s", b.p.name);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_write_file(at("p.json"), cases[i].text, strlen(cases[i].text));
        const int code = protocol_open(&q, b.x, b.k, at("p.json"), &e);
        check_error(cases[i].text, code, SAEURON_EFORMAT, &e, cases[i].words);
    }
    static const char good[] = "{\"seeds\": [7], \"steps\": 3, \"domains\": {" RULES "}, \"images\": " IMAGES "}";
    test_write_file(at("p.json"), good, strlen(good));
    CHECK(protocol_open(&q, b.x, b.k, at("p.json"), &e) == SAEURON_OK && q.measured[STYLE] && !q.measured[OBJECT] && q.steps == 3 && q.entry[1].plain && q.entries == 2, "%s", e.text);
    protocol_close(&q);
    check_error("no such name", protocol_open(&q, b.x, b.k, "papers", &e), SAEURON_EUSAGE, &e, "papers|emojicanvas, paper");
    check_error("no such file", protocol_open(&q, b.x, b.k, at("none.json"), &e), SAEURON_ENOENT, &e, "none.json");
    close_bench(&b);
}

/* Classifiers of another model: too few outputs, other names; concepts.json that contradicts itself; no concepts.json at all. */
static void classes(void)
{
    static const struct { const char *from, *to, *words; } cases[] = {
        { "\"Seed_Images\", \"Sketch\"", "\"Seed_Images\", \"Sketches\"", "Sketch|none of its classes" },
        { "\"Seed_Images\", \"Sketch\"", "\"Sketch\", \"Seed_Images\"", "class 0 of domain style is Sketch|Seed_Images" },
        { "\"Seed_Images\", \"Sketch\"", "\"Sketch\"", "domain style has 3 classes, its classifier 4" }, { "\"Seed_Images\", \"Sketch\"", "\"a/b\", \"Sketch\"", "classes|slashes" },
        { "\"Seed_Images\", \"Sketch\"", "\"Sketch\", \"Sketch\"", "no two alike" }, { "\"classes\": [", "\"classes\": [[], ", "classes" },
        { "{\"steps\"", "{\"protocol\": \"mine\", \"steps\"", "no protocol mine" }, { "{\"steps\"", "{\"protocol\": 3, \"steps\"", "protocol" },
        { "{\"steps\"", "{\"templates\": {\"plain\": 3}, \"steps\"", "template|plain" },
    };
    static tiny t;
    bench b;
    saeuron_error e = { 0 };
    open_bench(&b, NULL, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases + 1; i++) {
        saeuron_context *x;
        protocol q;
        const bool gone = i == sizeof cases / sizeof *cases;
        tiny_make(&t);
        tiny_edit(&t, "concepts.json", "\"concepts\": [\"Sketch\"", "\"classes\": [\"Seed_Images\", \"Sketch\", \"Van Gogh\", \"Watercolor\"], \"concepts\": [\"Sketch\"");
        if (gone)
            tiny_set(&t, "concepts.json", NULL, 0);
        else
            tiny_edit(&t, "concepts.json", cases[i].from, cases[i].to);
        const saeuron_host host = tiny_host(&t);
        CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
        const int code = protocol_open(&q, x, b.k, NULL, &e);
        if (!gone) {
            CHECK(code && test_holds(e.text, cases[i].words), "\"%s\" should hold %s", e.text, cases[i].words);
        } else {
            CHECK(code == SAEURON_OK && q.entries == 12 && !q.label[STYLE].concept[SEED_IMAGES] && q.label[STYLE].concept[SKETCH], "from the classifiers' names: %s", e.text);
            protocol_close(&q);
        }
        saeuron_close(x);
        CHECK(t.live == 0, "%ld blocks are not given back", t.live);
        tiny_free(&t);
    }
    close_bench(&b);
}

/* ---- runs ---- */

typedef struct how { int threads; size_t batch, shard, shards, steps; bool quick, overlap; long stop_at; uint64_t seed; } how;

/* eval of Sketch, Van Gogh and Cats, two seeds, into dir; *left and *calls may be NULL. */
static int eval_into(const char *dir, how h, size_t *left, long *calls, saeuron_error *e)
{
    bench  b;
    size_t still = 0;
    open_bench(&b, "emojicanvas", h.threads ? h.threads : 1);
    b.p.seeds = h.quick ? 1 : 2;
    if (h.seed)
        b.p.seed[1] = h.seed - 1;
    b.concept[STYLE][SKETCH] = b.concept[STYLE][VAN_GOGH] = b.concept[OBJECT][CATS] = true;
    b.stop.at = h.stop_at;
    const eval_options o = { .p = &b.p, .k = { b.k[STYLE], b.k[OBJECT] }, .dir = at(dir), .sampling = { .batch = h.batch, .steps = h.steps }, .overlap = h.overlap,
                             .concept = { b.concept[STYLE], b.concept[OBJECT] }, .shard = h.shard, .shards = h.shards, .quick = h.quick };
    const int code = eval_run(b.x, &o, &still, e);
    if (left)
        *left = still;
    if (calls)
        *calls = b.stop.calls;
    close_bench(&b);
    return code;
}

static void must_eval(const char *dir, how h)
{
    saeuron_error e = { 0 };
    size_t left;
    CHECK(eval_into(dir, h, &left, NULL, &e) == SAEURON_OK && !left, "%s: %s; %zu left", dir, e.text, left);
}

static long images_below(const char *dir)
{
    char line[1400], number[32] = "";
    snprintf(line, sizeof line, "find '%s' -name '*.png' | wc -l", at(dir));
    FILE *f = popen(line, "r");
    if (f && !fgets(number, sizeof number, f))
        number[0] = 0;
    if (f)
        pclose(f);
    return strtol(number, NULL, 10);
}

/* The reference run, once: 2 seeds x (12 places without forgetting, 9 of each style, 12 of the object). */
static void whole(void)
{
    static bool ready;
    if (ready)
        return;
    ready = true;
    must_eval("whole", (how){ .threads = 1 });
    CHECK(images_below("whole") == 2 * (12 + 9 + 9 + 12), "%ld images", images_below("whole"));
}

/* Threads, batches and shards change no byte of any file. */
static void same_bytes(void)
{
    saeuron_error e = { 0 };
    size_t left;
    whole();
    must_eval("threads", (how){ .threads = 2, .batch = 3 });
    CHECK(same_folders("whole", "threads"), "2 threads and batches of 3 change bytes");
    for (size_t i = 3; i-- > 0;) {
        CHECK(eval_into("shards", (how){ .shard = i, .shards = 3, .batch = 5 }, &left, NULL, &e) == SAEURON_OK, "%s", e.text);
        CHECK(left == 28 * i && images_below("shards") == (long)(84 - 28 * i), "after shard %zu: %zu images left, %ld there", i, left, images_below("shards"));
    }
    must_eval("shards", (how){ .threads = 1 });
    CHECK(same_folders("whole", "shards"), "shards change bytes");
    must_eval("whole", (how){ .threads = 1 });
    CHECK(same_folders("whole", "threads"), "a second run over the first changes bytes");
}

/* Stopped at call after call of progress, in whatever stage that is, and gone on with until it is whole. */
static void interrupted(void)
{
    saeuron_error e = { 0 };
    long stops = 0, calls;
    int  code = SAEURON_ECANCEL;
    whole();
    for (; code == SAEURON_ECANCEL && stops < 200; stops++)
        code = eval_into("stopped", (how){ .stop_at = 3 + stops }, NULL, &calls, &e);
    CHECK(code == SAEURON_OK && stops > 8, "%s after %ld stops", e.text, stops);
    CHECK(same_folders("whole", "stopped"), "a run stopped %ld times ends in other bytes", stops - 1);
    test_note("%ld stops", stops - 1);
}

/* Every image can be made again by what it says; one of the first list equals saeuron_generate's own. */
static void images(void)
{
    static unsigned char alone[TINY_PIXELS];
    const char *prompt = "An image of Dogs in Van Gogh style.";
    char path[1300], said[96];
    unsigned char *rgb = NULL;
    size_t W, H;
    saeuron_error e = { 0 };
    saeuron_context *x;
    whole();
    CHECK(saeuron_open(&x, NULL, at("model"), &e) == SAEURON_OK, "%s", e.text);
    const saeuron_forget_options f = { .name = "Sketch" };
    CHECK(saeuron_forget(x, &f, &e) == SAEURON_OK, "%s", e.text);
    const saeuron_generate_options o = { .prompts = &prompt, .count = 1, .seed = 288, .noise_index = 6 };
    CHECK(saeuron_generate(x, &o, alone, &e) == SAEURON_OK, "%s", e.text);
    snprintf(path, sizeof path, "%s/images/Sketch/288-00006.png", at("whole"));
    CHECK(png_load(NULL, path, &rgb, &W, &H, &e) == SAEURON_OK && !memcmp(rgb, alone, sizeof alone), "%s is not what saeuron_generate draws: %s", path, e.text);
    CHECK(png_text(NULL, path, "noise_index", said, sizeof said, &e) == SAEURON_OK && !strcmp(said, "6"), "it says noise index %s", said);
    CHECK(png_text(NULL, path, "seed", said, sizeof said, &e) == SAEURON_OK && !strcmp(said, "288"), "it says seed %s", said);
    CHECK(png_text(NULL, path, "noise", said, sizeof said, &e) == SAEURON_ENOENT, "it names a noise of %s", said);
    io_free(NULL, rgb);
    saeuron_close(x);
}

/* Damaged, foreign and contradicting files are named, and nothing is written over them. */
static void refuses(void)
{
    static const struct { const char *damage; how h; int code; const char *words; } cases[] = {
        { "printf x | dd of='%s/images/Van Gogh/188-00007.png' bs=1 seek=200 conv=notrunc 2>/dev/null", { 0 }, SAEURON_EFORMAT, "/Van Gogh/188-00007.png|delete this file" },
        { "truncate -s 60 '%s/images/none/288-00011.png'", { 0 }, SAEURON_EFORMAT, "/none/288-00011.png|delete this file" },
        { ": >'%s/images/none/288-00011.png'", { 0 }, SAEURON_EFORMAT, "/none/288-00011.png|delete this file" },
        { "cd '%s/images' && cp none/188-00001.png none/188-00002.png", { 0 }, SAEURON_EFORMAT, "188-00002.png|noise_index \"1\"|\"2\"" },
        { "cd '%s/images' && cp none/188-00005.png Sketch/188-00005.png", { 0 }, SAEURON_EFORMAT, "Sketch/188-00005.png|forget" },
        { "cd '%s/images' && cp Sketch/188-00005.png none/188-00005.png", { 0 }, SAEURON_EFORMAT, "none/188-00005.png|forget|has none" },
        { "true '%s'", { .steps = 3 }, SAEURON_EFORMAT, "steps \"4\"|\"3\"|another folder" },
        { "true '%s'", { .seed = 1 }, SAEURON_EUSAGE, "seed 0, which is a test seed|--allow-overlap" },
    };
    whole();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        saeuron_error e = { 0 };
        shell("cp -r '%s' '%s'", at("whole"), at("bad"));
        shell(cases[i].damage, at("bad"), "");
        shell("cp -r '%s' '%s'", at("bad"), at("bad2"));
        const int code = eval_into("bad", cases[i].h, NULL, NULL, &e);
        check_error(cases[i].damage, code, cases[i].code, &e, cases[i].words);
        CHECK(same_folders("bad", "bad2"), "%s: the folder was changed", cases[i].damage);
        if (i == 0) { /* the remedy works */
            shell("rm '%s/images/Van Gogh/188-00007.png'", at("bad"), "");
            must_eval("bad", (how){ 0 });
            CHECK(same_folders("whole", "bad"), "the image is not made again as it was");
        }
        shell("rm -rf '%s' '%s'", at("bad"), at("bad2"));
    }
    must_eval("overlap", (how){ .seed = 1, .overlap = true, .quick = true });
}

/* A third of the places of the first seed: each object and each style keeps some. */
static void quick(void)
{
    must_eval("quick", (how){ .quick = true });
    /* (style + object) % 3 == 0 of 12 places: (0,0) (0,3) (1,2) (2,1); of Sketch and Van Gogh without unstyled: three; of Cats: four */
    CHECK(images_below("quick") == 4 + 3 + 3 + 4, "%ld images", images_below("quick"));
}

/* ---- sweeps ---- */

typedef struct chosen { size_t count; choice c[4]; bool kept[4]; } chosen;
static chosen choices;

static void note_choice(void *user, const char *concept, const choice *c, const double numbers[4], bool kept)
{
    (void)user, (void)concept, (void)numbers;
    if (choices.count < 4) {
        choices.c[choices.count] = *c;
        choices.kept[choices.count++] = kept;
    }
}

typedef struct turn { long stop_at; uint64_t seeds[3]; size_t test; bool install; size_t points; } turn;

static int sweep_into(const char *dir, turn t, saeuron_error *e)
{
    static const uint64_t test_seeds[] = { 188, 0 };
    static sweep_options o;
    bench b;
    char  installed[1024] = "";
    open_bench(&b, "emojicanvas", 1);
    b.concept[STYLE][SKETCH] = b.concept[STYLE][WATERCOLOR] = true;
    b.stop.at = t.stop_at;
    b.p.seeds = 3;
    memcpy(b.p.seed, t.seeds[0] || t.seeds[1] ? t.seeds : (const uint64_t[]){ 1188, 1288, 1588 }, 3 * sizeof *b.p.seed);
    o = (sweep_options){ .e = { .p = &b.p, .k = { b.k[STYLE], b.k[OBJECT] }, .dir = at(dir), .concept = { b.concept[STYLE], b.concept[OBJECT] } }, .domain = STYLE,
                         .test_seed = test_seeds, .test_seeds = t.test ? t.test : 1, .retained = 2, .finalists = 2, .install = t.install, .chose = note_choice,
                         .grid = { { 8, 0, -1 }, { 8, 0, -4 }, { 0, 90, -1 }, { 24, 0, -2 } }, .points = t.points ? t.points : 4 };
    choices.count = 0;
    const int code = sweep_run(b.x, &o, installed, e);
    CHECK(!t.install || code || test_holds(installed, "/sae/" TINY_STYLES "/forget.json"), "written: %s", installed);
    close_bench(&b);
    return code;
}

static void sweeps(void)
{
    saeuron_error e = { 0 };
    long stops = 0;
    int  code = SAEURON_ECANCEL;
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK && choices.count == 2, "%s", e.text);
    /* 1 head, 2 concepts x (4 points + 2 finalists) */
    CHECK(shell("test $(wc -l <'%s/results.tsv') = 13 && test $(grep -c '^2' '%s/results.tsv') = 4", at("sweep"), at("sweep")) == 0, "the table has other rows");
    /* stage one: 3 of the concept at one seed, 2 retained; stage two: 9 places at two seeds */
    CHECK(shell("test $(grep -c '^1.*\t5\t[0-9a-f]*$' '%s/results.tsv') = 8 && test $(grep -c '^2.*\t18\t[0-9a-f]*$' '%s/results.tsv') = 4", at("sweep"), at("sweep")) == 0, "other numbers of images");
    for (; code == SAEURON_ECANCEL && stops < 200; stops++)
        code = sweep_into("swept", (turn){ .stop_at = 3 + stops }, &e);
    CHECK(code == SAEURON_OK && stops > 8, "%s after %ld stops", e.text, stops);
    CHECK(same_folders("sweep", "swept"), "a sweep that was stopped ends in other bytes");
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK && same_folders("sweep", "swept"), "a second sweep changes the first's files: %s", e.text);
}

static void sweep_refuses(void)
{
    saeuron_error e = { 0 };
    check_error("a test seed", sweep_into("no", (turn){ .seeds = { 1188, 188, 5 } }, &e), SAEURON_EUSAGE, &e, "188|test seed|--seeds");
    check_error("the statistics' seed", sweep_into("no", (turn){ .seeds = { 1188, 0, 5 } }, &e), SAEURON_EUSAGE, &e, "seed 0|statistics");
    check_error("the statistics' seed is a test seed", sweep_into("no", (turn){ .test = 2 }, &e), SAEURON_EUSAGE, &e, "seed 0|test seed|--allow-overlap");
    CHECK(shell("test ! -e '%s' %s", at("no"), "") == 0, "a sweep that was refused has made a folder");
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK, "%s", e.text);
    shell("cp -r '%s' '%s'", at("sweep"), at("torn"));
    shell("sed -i '5s/^/x/' '%s/results.tsv' %s", at("torn"), "");
    check_error("a damaged row", sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e, "results.tsv: line 5|damaged");
    shell("cp '%s/results.tsv' '%s'", at("sweep"), at("torn"));
    shell("truncate -s -4 '%s/results.tsv' %s", at("torn"), "");
    check_error("a cut table", sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e, "results.tsv: line 13|damaged");
    shell("cp '%s/results.tsv' '%s'", at("sweep"), at("torn"));
    shell("rm -r '%s/images' %s", at("torn"), "");
    check_error("another seed", sweep_into("torn", (turn){ .seeds = { 1188, 1288, 1589 } }, &e), SAEURON_EFORMAT, &e, "results.tsv: line 2|another");
}

/* forget.json beside the SAE keeps what it says of other concepts, and is what saeuron_forget reads. */
static void sweep_installs(void)
{
    saeuron_error e = { 0 };
    char path[1300], text[1024];
    io_file f;
    json v = { NULL, NULL }, one, top;
    double x = 0;
    prepare();
    snprintf(path, sizeof path, "%s/sae/" TINY_STYLES "/forget.json", at("model"));
    static const char before[] = "{\"Van Gogh\": {\"percentile\": 70.5, \"strength\": -1.5}, \"Sketch\": {\"top\": 99}}\n";
    shell("cp '%s' '%s'", path, at("forget.json"));
    test_write_file(path, before, sizeof before - 1);
    CHECK(sweep_into("sweep", (turn){ .install = true }, &e) == SAEURON_OK && choices.count == 2, "%s", e.text);
    CHECK(io_open(&f, NULL, path, &e) == SAEURON_OK && json_open(&v, (const char *)f.data, f.size, path, &e) == SAEURON_OK, "%s", e.text);
    snprintf(text, sizeof text, "%.*s", (int)f.size, (const char *)f.data);
    CHECK(json_length(v) == 3 && strstr(text, "{\n \"Van Gogh\": {\"percentile\": 70.5, \"strength\": -1.5},\n \"Sketch\": {\""), "%s", text);
    if (choices.c[0].top)
        CHECK(json_get(v, "Sketch", &one) && json_get(one, "top", &top) && json_number(top, &x) && (size_t)x == choices.c[0].top, "%s", text);
    io_close(&f);
    shell("cp '%s' '%s'", at("forget.json"), path);
}

const test_case eval_tests[] = {
    { "metrics", metrics }, { "metrics_of_some", metrics_of_some }, { "intervals", intervals }, { "protocol_files", protocol_files }, { "protocol_errors", protocol_errors },
    { "classes", classes }, { "same_bytes", same_bytes }, { "interrupted", interrupted }, { "images", images }, { "refuses", refuses }, { "quick", quick },
    { "sweeps", sweeps }, { "sweep_refuses", sweep_refuses }, { "sweep_installs", sweep_installs }, { NULL, NULL },
};
