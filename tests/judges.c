/* judges.c: a tiny classifier in memory, the tiny model with two of them on the disk (judges.h). */
#include "judges.h"
#include "test.h"
#include "arithmetic/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void judges_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words)
{
    const bool good = code == wanted && e->code == wanted && test_holds(e->text, words) &&
                      !strchr(e->text, '\n') && strlen(e->text) > 8;
    CHECK(good, "%s: code %d (wanted %d), \"%s\" should hold %s", what, code, wanted, e->text, words);
}

/* ---- a classifier in memory ---- */

tiny judge_files;
const char *const judge_names[TINY_CLASSES] = { "Cats", "Dogs", "Sea", "Flame", "\xC3\x84pfel" };

void judge_make(void)
{
    memset(&judge_files, 0, sizeof judge_files);
    tiny_add_classifier(&judge_files, "judge", TINY_CLASSES, judge_names);
}

saeuron_classifier *judge_opened_on(const saeuron_host *host)
{
    saeuron_classifier *k = NULL;
    saeuron_error e = { 0 };
    CHECK(saeuron_classifier_open(&k, host, "tiny/judge", &e) == SAEURON_OK, "%s", e.text);
    return k;
}

saeuron_classifier *judge_opened(const char *isa, int threads, size_t pack)
{
    saeuron_host host = tiny_host(&judge_files);
    host.isa = isa;
    host.threads = threads;
    host.pack = pack;
    return judge_opened_on(&host);
}

void judge_done(saeuron_classifier *k)
{
    saeuron_classifier_close(k);
    CHECK(judge_files.live == 0 && judge_files.mapped == 0 && judge_files.torn == 0,
          "%ld blocks and %ld maps are left, %ld blocks torn", judge_files.live, judge_files.mapped,
          judge_files.torn);
    tiny_free(&judge_files);
}

void judge_open_fails(const char *what, int wanted, const char *words)
{
    saeuron_classifier *k = (saeuron_classifier *)(void *)&judge_files;
    saeuron_error e = { 0 };
    const saeuron_host host = tiny_host(&judge_files);
    const int code = saeuron_classifier_open(&k, &host, "tiny/judge", &e);
    judges_error(what, code, wanted, &e, words);
    CHECK(code == SAEURON_OK || (!k && judge_files.live == 0 && judge_files.mapped == 0),
          "%s: %ld blocks and %ld maps are left", what, judge_files.live, judge_files.mapped);
    if (!code)
        saeuron_classifier_close(k);
}

const unsigned char *judge_pictures(void)
{
    static unsigned char rgb[MOST * PICTURE];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (unsigned char)(rng_value(3, 5, i) >> 56);
    return rgb;
}

void judge_must(saeuron_classifier *k, size_t first, size_t count, verdict *v)
{
    saeuron_error e = { 0 };
    memset(v, 0, sizeof *v);
    if (k)
        CHECK(saeuron_classify(k, judge_pictures() + first * PICTURE, count, WIDE, HIGH, v->logits, &e) ==
                  SAEURON_OK,
              "%s", e.text);
}

bool judge_same(const verdict *a, const verdict *b) { return !memcmp(a, b, sizeof *a); }

/* ---- on the disk ---- */

const char *judges_at(const char *name)
{
    static char paths[8][1200];
    static int  next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/eval/%s", test_tmp(), name);
    return path;
}

int judges_shell(const char *format, const char *a, const char *b)
{
    char line[4096];
    snprintf(line, sizeof line, format, a, b);
    return system(line);
}

bool judges_same(const char *a, const char *b)
{
    return judges_shell("diff -r '%s' '%s' >/dev/null", judges_at(a), judges_at(b)) == 0;
}

void judges_prepare(void)
{
    static bool ready;
    static tiny t;
    if (ready)
        return;
    ready = true;
    tiny_make(&t);
    tiny_add_judges(&t);
    tiny_write(&t, judges_at("model"));
    tiny_free(&t);
}

int count_calls(void *user, const char *stage, size_t done, size_t total)
{
    stop *s = user;
    (void)stage, (void)done, (void)total;
    return ++s->calls == s->at;
}

void bench_open(bench *b, const char *named, int threads)
{
    const saeuron_host host = { .user = &b->stop, .progress = count_calls, .threads = threads };
    judges_prepare();
    bench_open_at(b, "model", named, &host);
}

void bench_open_at(bench *b, const char *model, const char *named, const saeuron_host *host)
{
    saeuron_error e = { 0 };
    char dir[64];
    memset(b, 0, sizeof *b);
    b->host = *host;
    CHECK(saeuron_open(&b->x, &b->host, judges_at(model), &e) == SAEURON_OK, "%s", e.text);
    for (int d = 0; d < DOMAINS; d++) {
        snprintf(dir, sizeof dir, "%s/classifier/%s", model, domain_names[d]);
        CHECK(saeuron_classifier_open(&b->k[d], &b->host, judges_at(dir), &e) == SAEURON_OK, "%s", e.text);
    }
    CHECK(protocol_open(&b->p, b->x, b->k, named, &e) == SAEURON_OK, "%s", e.text);
}

void bench_close(bench *b)
{
    protocol_close(&b->p);
    saeuron_classifier_close(b->k[STYLE]);
    saeuron_classifier_close(b->k[OBJECT]);
    saeuron_close(b->x);
}
