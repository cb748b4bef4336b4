/* main.c: runs the suites.
 *
 *     tests/run [-v] [SUITE[.TEST]...]      the last line is "N passed, N failed[, N skipped]" */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "evaluation/vit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUITES(X) \
    X(memory) X(number) X(rng) X(order) X(reference) X(kernels) X(nn) X(utf8) X(sort) X(error) X(decimal) \
    X(print) X(json) X(system) X(text) X(metadata) X(tensors) X(npy) X(deflate) X(png) X(unicode) X(machine) \
    X(config) X(bind) X(forward) X(tokenizer) X(ddim) X(clip) X(unet) X(vae) X(sae) X(train) X(stats) \
    X(select) X(context) X(forget) X(saeuron) X(source) X(collect) X(concepts) X(statistics) X(merge) \
    X(run) X(measure) X(vit) X(classifier) X(picture) X(protocol) X(metrics) X(drawing) X(sweep) \
    X(eval) X(backward) X(unet_backward) X(clip_backward) X(ablation_backward) \
    X(gradient) X(optimizer) X(attack) X(uce) X(esd) X(safree) X(itd) X(equations) X(cli) X(faults)

#define DECLARE(name) extern const test_case name##_tests[];
SUITES(DECLARE)

static const struct { const char *name; const test_case *tests; } suites[] = {
#define LIST(name) { #name, name##_tests },
    SUITES(LIST)
};

static int  failures_here, skipped_here;
static bool verbose;
static char tmp[64];

void test_failed(const char *file, int line, const char *format, ...)
{
    if (++failures_here > 8)
        return;
    va_list args;
    va_start(args, format);
    printf("    %s:%d: ", file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void test_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("    SKIPPED: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    skipped_here = 1;
}

void test_note(const char *format, ...)
{
    if (!verbose)
        return;
    va_list args;
    va_start(args, format);
    printf("    ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

const char *test_tmp(void) { return tmp; }

bool test_holds(const char *text, const char *words)
{
    char word[128];
    for (size_t n; *words; words += n + (words[n] == '|')) {
        n = strcspn(words, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, words);
        if (!strstr(text, word))
            return false;
    }
    return true;
}

void test_write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n, "cannot write %s", path);
    if (f)
        fclose(f);
}

static bool wanted(const char *suite, const char *test, int argc, char **argv)
{
    bool any = false;
    for (int i = 1; i < argc; i++) {
        const size_t n = strlen(suite);
        if (argv[i][0] == '-')
            continue;
        any = true;
        const char *rest = argv[i] + n;
        if (!strncmp(argv[i], suite, n) && (!*rest || (*rest == '.' && !strcmp(rest + 1, test))))
            return true;
    }
    return !any;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0, skipped = 0;
    for (int i = 1; i < argc; i++)
        verbose |= !strcmp(argv[i], "-v");
    snprintf(tmp, sizeof tmp, "%s", "/tmp/saeuron-test-XXXXXX");
    if (!mkdtemp(tmp)) {
        perror("mkdtemp");
        return 1;
    }
    for (size_t s = 0; s < sizeof suites / sizeof *suites; s++)
        for (const test_case *t = suites[s].tests; t->name; t++) {
            if (!wanted(suites[s].name, t->name, argc, argv))
                continue;
            failures_here = skipped_here = 0;
            t->run();
            if (failures_here)
                failed++;
            else if (skipped_here)
                skipped++;
            else
                passed++;
            if (verbose || failures_here || skipped_here)
                printf("%s %s.%s\n", failures_here ? "FAIL" : skipped_here ? "skip" : "ok  ", suites[s].name,
                       t->name);
            fflush(stdout);
        }
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", tmp);
    if (system(command) != 0)
        printf("could not remove %s\n", tmp);
    printf("%d passed, %d failed", passed, failed);
    if (skipped)
        printf(", %d skipped", skipped);
    printf("\n");
    return failed ? 1 : 0;
}
