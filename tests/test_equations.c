/* test_equations.c: docs/method.md's numbered equations and the sources' "EQ n" name each other.
 *
 *   docs/method.md:  | EQ 8 | x' = ... | `ddim.c` | `ddim_step` | ... |   <-->   ddim.c: EQ 8, in a comment
 *
 * Not here: whether the lines below a tag compute the equation (test_golden.c and its kin). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EQUATIONS = 100, COLUMNS = 5 };
static const char *const rooms[] = { ".", "arithmetic", "files", "layers", "training", "evaluation",
                                     "program" };

/* A row of the document: the file that it names, and the function in it. */
typedef struct equation { char file[96], function[64]; } equation;

/* The whole file as a string, to be freed; NULL where there is none. */
static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    const long n = f && !fseek(f, 0, SEEK_END) ? ftell(f) : -1;
    char *text = n >= 0 ? calloc(1, (size_t)n + 1) : NULL;
    if (text) {
        rewind(f);
        text[fread(text, 1, (size_t)n, f)] = 0;
    }
    if (f)
        fclose(f);
    return text;
}

/* The number behind the next "EQ " of text, which moves on behind it; 0 when there is no more. */
static size_t next_number(const char **text)
{
    const char *at = strstr(*text, "EQ ");
    for (; at; at = strstr(at + 3, "EQ "))
        if (at[3] >= '1' && at[3] <= '9') {
            char *end;
            const size_t n = (size_t)strtoul(at + 3, &end, 10);
            *text = end;
            return n;
        }
    return 0;
}

/* What a cell of a row holds between backticks, when it holds nothing else. */
static bool quoted(char *out, size_t size, const char *cell, size_t n)
{
    while (n && *cell == ' ')
        cell++, n--;
    while (n && cell[n - 1] == ' ')
        n--;
    if (n < 3 || n - 2 >= size || cell[0] != '`' || cell[n - 1] != '`')
        return false;
    memcpy(out, cell + 1, n - 2);
    out[n - 2] = 0;
    return !strchr(out, '`');
}

/* The cells of the row "| a | b |" at line: their starts and lengths. */
static size_t cut(const char *line, const char *cell[COLUMNS], size_t length[COLUMNS])
{
    size_t cells = 0;
    for (const char *at = line + 1; *line == '|' && cells < COLUMNS; cells++) {
        const size_t n = strcspn(at, "|\n");
        if (at[n] != '|')
            break;
        cell[cells] = at;
        length[cells] = n;
        at += n + 1;
    }
    return cells;
}

/* The document's rows into of, by number; returns the largest number. */
static size_t read_document(equation of[EQUATIONS])
{
    const char *cell[COLUMNS];
    size_t length[COLUMNS], largest = 0;
    char  *text = read_text("docs/method.md");
    CHECK(text, "docs/method.md cannot be read: tests run in the root of the tree");
    memset(of, 0, EQUATIONS * sizeof *of);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, "| EQ ", 5))
            continue;
        const char *at = line;
        const size_t n = next_number(&at);
        CHECK(n && n < EQUATIONS && *at == ' ', "docs/method.md: a row with no number: %.40s", line);
        if (!n || n >= EQUATIONS)
            continue;
        CHECK(!*of[n].file, "docs/method.md: EQ %zu has two rows", n);
        const bool ok = cut(line, cell, length) == COLUMNS &&
                        quoted(of[n].file, sizeof of[n].file, cell[2], length[2]) &&
                        quoted(of[n].function, sizeof of[n].function, cell[3], length[3]);
        CHECK(ok, "docs/method.md: EQ %zu is not | EQ n | equation | `file.c` | `function` | paper |", n);
        largest = n > largest ? n : largest;
    }
    free(text);
    return largest;
}

/* The tags in one source's comments are the document's, in the file that it names. Marks them in there. */
static void check_source(const char *path, const equation of[EQUATIONS], bool there[EQUATIONS])
{
    char *text = read_text(path), *end = text;
    CHECK(text, "%s cannot be read", path);
    for (char *at = text; at && (at = strstr(at, "/*")) != NULL; at = end + 1) {
        end = strstr(at, "*/") ? strstr(at, "*/") : at + strlen(at) - 1;
        const char saved = *end;
        const char *comment = at;
        *end = 0;
        for (size_t n; (n = next_number(&comment)) != 0;) {
            const bool known = n < EQUATIONS && *of[n].file;
            CHECK(known, "%s: EQ %zu is in no row of docs/method.md", path, n);
            if (!known)
                continue;
            const bool here = !strcmp(of[n].file, path);
            CHECK(here, "%s: EQ %zu, which docs/method.md has in %s", path, n, of[n].file);
            there[n] |= here;
        }
        *end = saved;
    }
    free(text);
}

/* Fails on a tag in the wrong file, on a number that only one side knows, on a row whose function was renamed. */
static void both_ways(void)
{
    static equation of[EQUATIONS];
    bool   there[EQUATIONS] = { false };
    size_t sources = 0, room = 0;
    const size_t largest = read_document(of);
    for (; room < sizeof rooms / sizeof *rooms; room++) {
        DIR *dir = opendir(rooms[room]);
        CHECK(dir, "the folder %s cannot be read", rooms[room]);
        for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
            const size_t n = strlen(e->d_name);
            char path[400];
            if (n < 3 || strcmp(e->d_name + n - 2, ".c"))
                continue;
            snprintf(path, sizeof path, "%s%s%s", room ? rooms[room] : "", room ? "/" : "", e->d_name);
            check_source(path, of, there);
            sources++;
        }
        if (dir)
            closedir(dir);
    }
    for (size_t n = 1; n <= largest; n++) {
        char *text = *of[n].file ? read_text(of[n].file) : NULL;
        CHECK(*of[n].file, "docs/method.md: EQ %zu has no row, but EQ %zu has", n, largest);
        CHECK(!*of[n].file || text, "docs/method.md: EQ %zu is in %s, which is not there", n, of[n].file);
        CHECK(!text || there[n], "%s: no comment says EQ %zu, as docs/method.md does", of[n].file, n);
        CHECK(!text || strstr(text, of[n].function), "%s: it has no %s, in which docs/method.md has EQ %zu",
              of[n].file, of[n].function, n);
        free(text);
    }
    CHECK(largest > 30 && sources > 30, "only %zu equations, %zu sources", largest, sources);
    test_note("%zu equations, %zu sources", largest, sources);
}

const test_case equations_tests[] = { { "both_ways", both_ways }, { NULL, NULL } };
