/* test_eval.c: evaluations, however they are stopped, split or threaded, end in the same bytes; damaged and
 * foreign pictures are named.
 *
 * Not here: the options (test_cli.c), what is counted (test_metrics.c), the same counts by other hands
 * (check_eval.py). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "judges.h"
#include "evaluation/eval.h"
#include "rivals/safree.h"
#include "rivals/uce.h"
#include "files/png.h"
#include "said.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct how {
    int    threads;
    size_t batch, shard, shards, steps, height;
    bool   quick, overlap, together, conditional, negative;
    const char *rivals;
    double strength, safree;        /* safree: alpha; 0: SAEs forget */
    long   stop_at;
    uint64_t seed;
} how;

/* The pairs of the tiny model's forget.json, as folders. */
#define SKETCH_PAIR   "top_24_strength_-4"
#define VAN_GOGH_PAIR "percentile_99.999_strength_-1"
#define CATS_PAIR     "percentile_80.1_strength_-5.5"

/* eval of Sketch, Van Gogh and Cats, two seeds, into dir; *left and *calls may be NULL. */
static int eval_into(const char *dir, how h, size_t *left, long *calls, saeuron_error *e)
{
    bench  b;
    eval_outcome outcome;
    safree *s = NULL;
    bench_open(&b, "emojicanvas", h.threads ? h.threads : 1);
    CHECK(!(h.safree > 0) || !safree_open(&s, b.x, h.safree, e), "%s", e->text);
    const text_editor editor = safree_editor(s);
    b.p.seeds = h.quick ? 1 : 2;
    if (h.seed)
        b.p.seed[1] = h.seed - 1;
    b.concept[STYLE][SKETCH] = b.concept[STYLE][VAN_GOGH] = b.concept[OBJECT][CATS] = true;
    b.stop.at = h.stop_at;
    const eval_options o = {
        .p = &b.p, .k = { b.k[STYLE], b.k[OBJECT] }, .concept = { b.concept[STYLE], b.concept[OBJECT] },
        .dir = judges_at(dir), .overlap = h.overlap,
        .sampling = { .batch = h.batch, .steps = h.steps, .height = h.height },
        .shard = h.shard, .shards = h.shards, .quick = h.quick,
        .together = h.together, .by = { h.rivals ? judges_at(h.rivals) : NULL, h.negative,
                                       h.safree > 0 ? &editor : NULL },
        .how = { .strength = h.strength, .has_strength = h.strength < 0,
                 .half = SAEURON_HALF_CONDITIONAL, .has_half = h.conditional },
    };
    const int code = eval_run(b.x, &o, &outcome, e);
    safree_close(s);
    if (left)
        *left = outcome.left;
    if (calls)
        *calls = b.stop.calls;
    bench_close(&b);
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
    snprintf(line, sizeof line, "find '%s' -name '*.png' | wc -l", judges_at(dir));
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
    CHECK(judges_same("whole", "threads"), "2 threads and batches of 3 change bytes");
    for (size_t i = 3; i-- > 0;) {
        const how h = { .shard = i, .shards = 3, .batch = 5 };
        CHECK(eval_into("shards", h, &left, NULL, &e) == SAEURON_OK, "%s", e.text);
        CHECK(left == 28 * i && images_below("shards") == (long)(84 - 28 * i),
              "after shard %zu: %zu images left, %ld there", i, left, images_below("shards"));
    }
    must_eval("shards", (how){ .threads = 1 });
    CHECK(judges_same("whole", "shards"), "shards change bytes");
    long all, none, one; /* calls of progress while all images, none, one are drawn */
    CHECK(eval_into("again", (how){ 0 }, &left, &all, &e) == SAEURON_OK && !left, "%s", e.text);
    CHECK(eval_into("again", (how){ 0 }, &left, &none, &e) == SAEURON_OK && !left, "%s", e.text);
    judges_shell("rm '%s/images/none/188-00003.png' %s", judges_at("again"), "");
    CHECK(eval_into("again", (how){ .batch = 1 }, &left, &one, &e) == SAEURON_OK && !left, "%s", e.text);
    CHECK(judges_same("whole", "again"), "runs over the first change bytes");
    CHECK(none < all / 2 && one > none && one < none + 12, "progress: %ld, %ld, %ld calls", all, none, one);
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
    CHECK(judges_same("whole", "stopped"), "a run stopped %ld times ends in other bytes", stops - 1);
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
    CHECK(saeuron_open(&x, NULL, judges_at("model"), &e) == SAEURON_OK, "%s", e.text);
    const saeuron_forget_options f = { .name = "Sketch" };
    CHECK(saeuron_forget(x, &f, &e) == SAEURON_OK, "%s", e.text);
    const saeuron_generate_options o = { .prompts = &prompt, .count = 1, .seed = 288, .noise_index = 6 };
    CHECK(saeuron_generate(x, &o, alone, &e) == SAEURON_OK, "%s", e.text);
    snprintf(path, sizeof path, "%s/images/Sketch/" SKETCH_PAIR "/288-00006.png", judges_at("whole"));
    CHECK(png_load(NULL, path, &rgb, &W, &H, &e) == SAEURON_OK && !memcmp(rgb, alone, sizeof alone),
          "%s is not what saeuron_generate draws: %s", path, e.text);
    CHECK(said_of(NULL, path, "noise_index", said, sizeof said, &e) == SAEURON_OK && !strcmp(said, "6"),
          "it says noise index %s", said);
    CHECK(said_of(NULL, path, "seed", said, sizeof said, &e) == SAEURON_OK && !strcmp(said, "288"),
          "it says seed %s", said);
    CHECK(said_of(NULL, path, "noise", said, sizeof said, &e) == SAEURON_ENOENT, "it names a noise of %s",
          said);
    io_free(NULL, rgb);
    saeuron_close(x);
}

/* Each answer of predictions.tsv for pictures with nothing forgotten is the classifier's own of that file,
 * and eval.json's accuracies count them. */
static void answers(void)
{
    char line[4096], path[1300], *field[11];
    size_t rows = 0, right[DOMAINS] = { 0 };
    bench b;
    whole();
    bench_open(&b, "emojicanvas", 1);
    FILE *f = fopen(judges_at("whole/predictions.tsv"), "r");
    CHECK(f, "no predictions");
    while (f && fgets(line, sizeof line, f)) {
        size_t n = 0, W, H;
        unsigned char *rgb = NULL;
        saeuron_error e = { 0 };
        for (char *at = strtok(line, "\t\n"); at && n < 11; at = strtok(NULL, "\t\n"))
            field[n++] = at;
        if (n != 11 || strcmp(field[0], "none"))
            continue;
        snprintf(path, sizeof path, "%s/images/none/%s-%05ld.png", judges_at("whole"), field[2],
                 strtol(field[3], NULL, 10));
        CHECK(!png_load(NULL, path, &rgb, &W, &H, &e), "%s", e.text);
        for (int d = 0; rgb && d < DOMAINS; d++) {
            const char *truth = field[d == STYLE ? 6 : 5], *said = field[d == STYLE ? 9 : 7];
            float  logits[LABELS];
            size_t best = 0;
            CHECK(!saeuron_classify(b.k[d], rgb, 1, W, H, logits, &e), "%s", e.text);
            for (size_t i = 1; i < saeuron_classes(b.k[d]); i++)
                best = logits[i] > logits[best] ? i : best;
            CHECK(!strcmp(said, saeuron_class_name(b.k[d], best)), "%s: %s, not %s", path, said,
                  saeuron_class_name(b.k[d], best));
            right[d] += !strcmp(said, truth);
        }
        io_free(NULL, rgb);
        rows++;
    }
    if (f)
        fclose(f);
    bench_close(&b);
    CHECK(rows == 24, "%zu rows", rows);
    f = fopen(judges_at("whole/eval.json"), "r");
    line[f ? fread(line, 1, sizeof line - 1, f) : 0] = 0;
    if (f)
        fclose(f);
    for (int d = 0; d < DOMAINS; d++) {
        const char *name = d == STYLE ? "\"style_accuracy\": " : "\"object_accuracy\": ";
        const char *at = strstr(line, name);
        CHECK(at && fabs(strtod(at + strlen(name), NULL) - 100.0 * (double)right[d] / (double)rows) < 1e-4,
              "%s is not %zu of %zu", name, right[d], rows);
    }
}

/* A picture of the folder is what saeuron_generate draws with these options. */
static void must_be_drawn(saeuron_context *x, saeuron_generate_options o, const char *path)
{
    static unsigned char alone[TINY_PIXELS];
    unsigned char *rgb = NULL;
    size_t W, H;
    saeuron_error e = { 0 };
    o.count = 1;
    CHECK(!saeuron_generate(x, &o, alone, &e) && !png_load(NULL, judges_at(path), &rgb, &W, &H, &e), "%s",
          e.text);
    CHECK(rgb && !memcmp(rgb, alone, sizeof alone), "%s is not what saeuron_generate draws", path);
    io_free(NULL, rgb);
}

/* Other methods' models, and the negative prompt, in place of SAEs: the same pictures as by hand; stopped and
 * sharded as ever; results in folders of their names; what is not forgotten is the model's and drawn once. */
static void by_others(void)
{
    static const char *const names[] = { "Sketch", "Van Gogh", "Cats" };
    const char *prompt = "An image of Dogs in Van Gogh style.", *text = "Sketch style";
    saeuron_error e = { 0 };
    char dir[64];
    size_t left;
    whole();
    judges_shell("cp -r '%s' '%s'", judges_at("whole"), judges_at("others"));
    saeuron_context *x;
    CHECK(!saeuron_open(&x, NULL, judges_at("model"), &e), "%s", e.text);
    for (size_t i = 0; i < 3; i++) {
        const uce_options u = { &names[i], 1, "", NULL, 0, 100, 0.1, 0.5, false };
        snprintf(dir, sizeof dir, "r/uce/%s", names[i]);
        CHECK(!uce(x, &u, judges_at(dir), &e), "%s", e.text);
    }
    saeuron_generate_options o = { .prompts = &prompt, .seed = 288, .noise_index = 6,
                                   .negative_prompt = text };
    must_eval("others", (how){ .negative = true });
    must_be_drawn(x, o, "others/images/Sketch/negative/288-00006.png");
    saeuron_close(x);
    CHECK(eval_into("others", (how){ .rivals = "r/uce", .shard = 1, .shards = 2 }, &left, NULL, &e) == 0 &&
          left == 30, "%s, %zu left", e.text, left);
    must_eval("others", (how){ .rivals = "r/uce", .threads = 2 });
    CHECK(!saeuron_open(&x, NULL, judges_at("r/uce/Sketch"), &e), "%s", e.text);
    o.negative_prompt = NULL;
    must_be_drawn(x, o, "others/images/Sketch/uce/288-00006.png");
    CHECK(!said_of(NULL, judges_at("others/images/Sketch/uce/288-00006.png"), "model", dir, sizeof dir, &e) &&
          strtoull(dir, NULL, 16) == saeuron_model_digest(x), "it says model %s", dir);
    saeuron_close(x);
    must_eval("alone", (how){ .rivals = "r/uce" });
    CHECK(judges_same("others/uce", "alone/uce") && judges_same("others/images/none", "alone/images/none"),
          "results beside others are not those alone");
    CHECK(!judges_shell("grep -q 'uce model [0-9a-f]*\t' '%s/uce/eval.tsv'%s", judges_at("others"), ""),
          "eval.tsv does not name the rival");
    judges_shell("sed -i 's/\"sample_size\": 8/\"sample_size\": 16/' '%s/unet/config.json'%s",
                 judges_at("r/uce/Cats"), "");
    judges_error("a rival draws wider", eval_into("others", (how){ .rivals = "r/uce", .height = 16 }, NULL,
                 NULL, &e), SAEURON_EFORMAT, &e, "r/uce/Cats: is not of the model in");
    judges_shell("rm -r '%s'%s", judges_at("r/uce/Cats"), "");
    judges_error("a rival is missing", eval_into("others", (how){ .rivals = "r/uce" }, NULL, NULL, &e),
                 SAEURON_ENOENT, &e, "r/uce/Cats/");
}

/* A method that changes the states of texts: its pictures are those of the states, those of nothing forgotten
 * stay the model's; another alpha is another picture. */
static void by_an_editor(void)
{
    static float states[16 * 16];
    const char *prompt = "An image of Dogs in Van Gogh style.";
    static const char *const names[] = { "Sketch style" };
    saeuron_error e = { 0 };
    saeuron_context *x = NULL;
    safree *s = NULL;
    char    said[256];
    size_t  left;
    concept_texts t = { .erased = 1 };
    text_out told = { .host = NULL };
    whole();
    judges_shell("cp -r '%s' '%s'", judges_at("whole"), judges_at("edited"));
    CHECK(eval_into("edited", (how){ .safree = 0.01, .shard = 1, .shards = 2 }, &left, NULL, &e) == 0 &&
          left == 30, "%s, %zu left", e.text, left);
    must_eval("edited", (how){ .safree = 0.01, .threads = 2 });
    must_eval("edited2", (how){ .safree = 0.01 });
    CHECK(judges_same("edited/safree", "edited2/safree") &&
          judges_same("edited/images/none", "edited2/images/none") &&
          judges_same("edited/images/Sketch/safree", "edited2/images/Sketch/safree"),
          "results beside others are not those alone");
    t.erase = (const char **)(void *)names;
    CHECK(!saeuron_open(&x, NULL, judges_at("model"), &e) && !safree_open(&s, x, 0.01, &e), "%s", e.text);
    const text_editor editor = safree_editor(s);
    CHECK(!editor.forget(s, NULL, NULL, &t, &told, &e) && !edited_text(x, &editor, prompt, states, &e), "%s",
          e.text);
    const saeuron_generate_options o = { .prompts = &prompt, .seed = 288, .noise_index = 6,
                                         .prompt_embeds = states };
    must_be_drawn(x, o, "edited/images/Sketch/safree/288-00006.png");
    CHECK(!said_of(NULL, judges_at("edited/images/Sketch/safree/288-00006.png"), "forget", said, sizeof said,
                   &e) && !strcmp(said, told.at) && !strcmp(said, "safree alpha 0.01: Sketch style"),
          "it says \"%s\"", said);
    CHECK(!judges_shell("grep -q 'safree alpha 0.01: Sketch style\t' '%s/safree/eval.tsv'%s",
                        judges_at("edited"), ""), "eval.tsv does not say what forgets");
    judges_error("another alpha", eval_into("edited", (how){ .safree = 0.5 }, NULL, NULL, &e),
                 SAEURON_EFORMAT, &e, "/Sketch/safree/|forget|safree alpha 0.5: Sketch style|another folder");
    text_free(&told);
    safree_close(s);
    saeuron_close(x);
}

/* eval.tsv's row of averages: each metric is the mean of the concepts' above it. */
static void averages(void)
{
    whole();
    CHECK(judges_shell("awk -F'\t' '$2 == \"average\" { for (i = 4; i <= 19; i += 5) { d = $i - sum[i] / "
                       "rows; wrong += d * d > 1e-6 || $i == \"-\"; seen++; sum[i] = 0 }; rows = 0; next } "
                       "NR > 1 { rows++; for (i = 4; i <= 19; i += 5) sum[i] += $i } "
                       "END { exit wrong || seen != 8 }' '%s/eval.tsv'%s", judges_at("whole"), "") == 0,
          "an average is no mean");
}

/* A list's confusion matrices: each of its pictures is counted once, in the row of what is in it and the
 * column of what was seen, as predictions.tsv has them. */
static void confusions(void)
{
    static const char *const lists[] = { "none", "Sketch", "Cats" }, *const domains[] = { "style", "object" };
    char line[1024];
    whole();
    for (size_t i = 0; i < 6; i++) {
        snprintf(line, sizeof line, "awk -F'\t' -v list=%s -v d=%s '"
                 "FNR == NR && FNR == 1 { for (i = 1; i <= NF; i++) column[$i] = i } "
                 "FNR == NR { if ($1 == list) n[$(column[d]), $(column[\"predicted_\" d])]++; next } "
                 "FNR == 1 { for (i = 2; i <= NF; i++) seen[i] = $i; next } "
                 "{ for (i = 2; i <= NF; i++) { sum += $i; wrong += $i != n[$1, seen[i]] + 0 } } "
                 "END { exit wrong || !sum }' predictions.tsv confusion/%s.%s.tsv", lists[i / 2],
                 domains[i % 2], lists[i / 2], domains[i % 2]);
        CHECK(judges_shell("cd '%s' && %s", judges_at("whole"), line) == 0, "confusion/%s.%s.tsv",
              lists[i / 2], domains[i % 2]);
    }
}

/* Deletes the file that an error's message begins with. */
static void delete_named(const saeuron_error *e)
{
    char path[sizeof e->text];
    const char *end = strstr(e->text, ": ");
    snprintf(path, sizeof path, "%.*s", end ? (int)(end - e->text) : 0, e->text);
    CHECK(!remove(path), "no file %s", path);
}

/* Damaged, foreign and contradicting files are named, and nothing is written over them. Whoever does what the
 * message says has the run's own bytes again. */
static void refuses(void)
{
    static const struct { const char *damage; how h; int code; const char *words; } cases[] = {
        { "printf x | dd of='%s/images/Van Gogh/" VAN_GOGH_PAIR "/188-00007.png' bs=1 seek=200 conv=notrunc "
          "2>/dev/null", { 0 },
          SAEURON_EFORMAT, "/Van Gogh/" VAN_GOGH_PAIR "/188-00007.png|delete this file" },
        { "truncate -s 60 '%s/images/none/288-00011.png'", { 0 },
          SAEURON_EFORMAT, "/none/288-00011.png|delete this file" },
        { ": >'%s/images/none/288-00011.png'", { 0 },
          SAEURON_EFORMAT, "/none/288-00011.png: is no PNG file: delete this file" },
        { "printf GIF89a >'%s/images/none/188-00000.png'", { 0 },
          SAEURON_EFORMAT, "/none/188-00000.png: is no PNG file: delete this file" },
        { "echo version https://git-lfs.github.com/spec/v1 >'%s/images/none/188-00000.png'", { 0 },
          SAEURON_EFORMAT, "/none/188-00000.png: is a Git LFS pointer|: delete this file" },
        { "echo '<!doctype html>' >'%s/images/none/188-00000.png'", { 0 },
          SAEURON_EFORMAT, "/none/188-00000.png: is a web page|: delete this file" },
        { "cd '%s/images' && cp none/188-00001.png none/188-00002.png", { 0 },
          SAEURON_EFORMAT, "188-00002.png|noise_index \"1\"|\"2\"" },
        { "cd '%s/images' && cp none/188-00005.png Sketch/" SKETCH_PAIR "/188-00005.png", { 0 },
          SAEURON_EFORMAT, "Sketch/" SKETCH_PAIR "/188-00005.png|forget" },
        { "cd '%s/images' && cp Sketch/" SKETCH_PAIR "/188-00005.png none/188-00005.png", { 0 },
          SAEURON_EFORMAT, "none/188-00005.png|forget|has none" },
        { "true '%s'", { .steps = 3 }, SAEURON_EFORMAT, "steps \"4\"|\"3\"|another folder" },
        { "true '%s'", { .seed = 1 }, SAEURON_EUSAGE, "seed 0, which is a test seed|overlap" },
    };
    whole();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        saeuron_error e = { 0 };
        judges_shell("cp -r '%s' '%s'", judges_at("whole"), judges_at("bad"));
        judges_shell(cases[i].damage, judges_at("bad"), "");
        judges_shell("cp -r '%s' '%s'", judges_at("bad"), judges_at("bad2"));
        const int code = eval_into("bad", cases[i].h, NULL, NULL, &e);
        judges_error(cases[i].damage, code, cases[i].code, &e, cases[i].words);
        CHECK(judges_same("bad", "bad2"), "%s: the folder was changed", cases[i].damage);
        if (strstr(e.text, "delete this file")) {
            CHECK(!strstr(e.text, "fetch") && !strstr(e.text, "convert") && !strstr(e.text, "lfs pull") &&
                      !strstr(e.text, "download"), "two remedies: %s", e.text);
            delete_named(&e);
            must_eval("bad", cases[i].h);
            CHECK(judges_same("whole", "bad"), "%s: the image is not made again", cases[i].damage);
        } else if (strstr(cases[i].words, "noise_index")) { /* "use another folder, or delete this one" */
            judges_shell("rm -r '%s' %s", judges_at("bad"), "");
            must_eval("bad", cases[i].h);
        }
        judges_shell("rm -rf '%s' '%s'", judges_at("bad"), judges_at("bad2"));
    }
    must_eval("overlap", (how){ .seed = 1, .overlap = true, .quick = true });
}

/* A third of the places of the first seed, those with (style + object) % 3 == 0: each object and style keeps
 * some. Of 12 places, object * 4 + style, these are 0, 3, 6 and 9; Sketch and Van Gogh do not count the
 * unstyled one, 0, and Cats count all. */
static void quick(void)
{
    static const struct { const char *list; bool there[12]; } cases[] = {
        { "none", { [0] = true, [3] = true, [6] = true, [9] = true } },
        { "Cats/" CATS_PAIR, { [0] = true, [3] = true, [6] = true, [9] = true } },
        { "Sketch/" SKETCH_PAIR, { [3] = true, [6] = true, [9] = true } },
        { "Van Gogh/" VAN_GOGH_PAIR, { [3] = true, [6] = true, [9] = true } },
    };
    char path[1300];
    must_eval("quick", (how){ .quick = true });
    CHECK(images_below("quick") == 4 + 3 + 3 + 4, "%ld images", images_below("quick"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t place = 0; place < 12; place++) {
            snprintf(path, sizeof path, "%s/images/%s/188-%05zu.png", judges_at("quick"), cases[i].list,
                     place);
            CHECK(io_exists(NULL, path) == cases[i].there[place], "%s is %s", path,
                  cases[i].there[place] ? "missing" : "there");
        }
}

/* Pictures of several pairs lie side by side, those of none are drawn once, and each pair has results of its
 * own; the first pair's change by no byte. */
static void several_pairs(void)
{
    whole();
    judges_shell("cp -r '%s' '%s'", judges_at("whole"), judges_at("pairs"));
    judges_shell("find '%s/images/none' -type f -exec chmod a-w {} + %s", judges_at("pairs"), "");
    must_eval("pairs", (how){ .strength = -2 });
    CHECK(images_below("pairs") == 2 * (12 + 2 * (9 + 9 + 12)), "%ld images", images_below("pairs"));
    CHECK(!judges_shell("grep -q 'Sketch top 24 strength -2 ' '%s/strength_-2/eval.tsv' %s",
                        judges_at("pairs"), ""), "there is no table of the other pair");
    CHECK(judges_shell("cmp -s '%s/eval.tsv' '%s/strength_-2/eval.tsv'", judges_at("pairs"),
                       judges_at("pairs")), "both pairs have the same results");
    must_eval("pairs", (how){ .strength = -2, .conditional = true, .quick = true });
    CHECK(!judges_shell("grep -q 'Sketch top 24 half conditional strength -2 ' "
                        "'%s/half_conditional_strength_-2/eval.tsv' %s", judges_at("pairs"), ""),
          "there is no table of the half");
    judges_shell("cd '%s' && rm -r *strength_-2 images/Sketch/top_24_*-2 'images/Van Gogh/'*-2 "
                 "images/Cats/*-2 %s", judges_at("pairs"), "");
    CHECK(judges_same("whole", "pairs"), "another pair changes the first one's files");
}

/* All concepts at once: one list, with a row in each domain. */
static void together(void)
{
    must_eval("together", (how){ .together = true });
    CHECK(images_below("together") == 2 * (12 + 12), "%ld images", images_below("together"));
    CHECK(!judges_shell("cd '%s' && test $(cut -f1,2 eval.tsv | grep -c 'Sketch+Van Gogh+Cats$') = 2 && "
                        "test $(cut -f1,2 predictions.tsv | grep -c 'Cats.style+object$') = 24 %s",
                        judges_at("together"), ""), "the tables lack the list");
    CHECK(!judges_shell("cd '%s' && ls images/Sketch+Van?Gogh+Cats/pairs_*/288-00011.png >/dev/null %s",
                        judges_at("together"), ""), "the pictures are not in their folder");
}

/* Rolls every mean of a statistics file by so many latents: the same SAE, names and steps, and other
 * concepts' latents. */
static void roll_means(const char *path, size_t by)
{
    enum { LATENTS = 128 };
    io_file f;
    saeuron_error e = { 0 };
    CHECK(io_open(&f, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    const size_t head = 8 + f.data[0] + 256u * f.data[1]; /* a length of eight bytes, the header */
    const size_t one = sizeof(float), row = LATENTS * one;
    unsigned char *rolled = malloc(f.size);
    memcpy(rolled, f.data, head);
    for (size_t at = head; at + row <= f.size; at += row)
        for (size_t i = 0; i < LATENTS; i++)
            memcpy(rolled + at + (i + by) % LATENTS * one, f.data + at + i * one, one);
    const size_t size = f.size;
    io_close(&f);
    test_write_file(path, rolled, size);
    free(rolled);
}

/* Statistics are no less part of a forgotten picture than the SAE: with others, a folder is refused, not
 * counted again. */
static void other_statistics(void)
{
    saeuron_error e = { 0 };
    char path[1300], said[256];
    whole();
    must_eval("first", (how){ .quick = true });
    snprintf(path, sizeof path, "%s/sae/" TINY_STYLES "/stats.safetensors", judges_at("model"));
    judges_shell("cp '%s' '%s'", path, judges_at("stats.safetensors"));
    roll_means(path, 7);
    judges_shell("cp -r '%s' '%s'", judges_at("whole"), judges_at("whole2"));
    judges_error("other statistics", eval_into("whole", (how){ 0 }, NULL, NULL, &e), SAEURON_EFORMAT, &e,
                 "/Sketch/" SKETCH_PAIR "/188-00001.png|forget|statistics|another folder");
    CHECK(judges_same("whole", "whole2"), "the folder of other statistics was changed");
    must_eval("second", (how){ .quick = true });
    CHECK(judges_same("first/images/none", "second/images/none"),
          "statistics change what is drawn without them");
    CHECK(judges_same("first/images/Cats", "second/images/Cats"),
          "statistics of one hook change what another forgets");
    for (int i = 0; i < 2; i++) {
        static unsigned char rgb[2][TINY_PIXELS];
        unsigned char *pixels = NULL;
        size_t w, h;
        snprintf(path, sizeof path, "%s/images/Sketch/" SKETCH_PAIR "/188-00009.png",
                 judges_at(i ? "second" : "first"));
        CHECK(png_load(NULL, path, &pixels, &w, &h, &e) == SAEURON_OK, "%s", e.text);
        if (pixels)
            memcpy(rgb[i], pixels, TINY_PIXELS);
        io_free(NULL, pixels);
        CHECK(!i || memcmp(rgb[0], rgb[1], TINY_PIXELS), "other means draw the same picture");
        const int code = said_of(NULL, path, "forget", said, sizeof said, &e);
        CHECK(code == SAEURON_OK && strstr(said, " statistics "), "%s says %s", path, said);
        CHECK(!judges_shell("grep -qF '%s' '%s/eval.json'", said, judges_at(i ? "second" : "first")),
              "eval.json lacks \"%s\"", said);
    }
    snprintf(path, sizeof path, "%s/sae/" TINY_STYLES "/stats.safetensors", judges_at("model"));
    judges_shell("cp '%s' '%s'", judges_at("stats.safetensors"), path);
    must_eval("whole", (how){ 0 });
    CHECK(judges_same("whole", "whole2"), "the first statistics end in other bytes");
}

const test_case eval_tests[] = {
    { "same_bytes", same_bytes }, { "interrupted", interrupted }, { "images", images },
    { "answers", answers }, { "averages", averages }, { "confusions", confusions },
    { "by_others", by_others }, { "by_an_editor", by_an_editor },
    { "refuses", refuses }, { "quick", quick },
    { "several_pairs", several_pairs }, { "together", together },
    { "other_statistics", other_statistics }, { NULL, NULL },
};
