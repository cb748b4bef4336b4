/* test_equations.c: what docs/ says of the sources and what their comments say of docs/.
 *
 *   docs/method.md:  | EQ 8 | x' = ... | `ddim.c` | `ddim_step` | ... |   <-->   ddim.c: EQ 8, in a comment
 *   docs/audit.md:   | A5 | ... |                                         <---   AUDIT A5, in a comment
 *
 * Not here: whether the lines below a tag compute the equation (the tests of its file). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EQUATIONS = 100, COLUMNS = 5, SOURCES = 400 };

/* A row of docs/method.md: the file that it names, and the function in it. */
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
    CHECK(text, "%s cannot be read: tests run in the root of the tree", path);
    return text;
}

/* The sources of the root and the rooms: ends "c" those named *.c, "ch" the headers too. Returns how many. */
static size_t list_sources(char path[SOURCES][96], const char *ends)
{
    static const char *const rooms[] = { ".", "arithmetic", "files", "layers", "training", "evaluation",
                                         "gradients", "rivals", "program" };
    size_t count = 0;
    for (size_t room = 0; room < sizeof rooms / sizeof *rooms; room++) {
        DIR *dir = opendir(rooms[room]);
        CHECK(dir, "the folder %s cannot be read", rooms[room]);
        for (struct dirent *e; dir && (e = readdir(dir)) != NULL && count < SOURCES;) {
            const size_t n = strlen(e->d_name);
            if (n < 3 || n > 64 || e->d_name[n - 2] != '.' || !strchr(ends, e->d_name[n - 1]))
                continue;
            snprintf(path[count++], 96, "%s%s%.64s", room ? rooms[room] : "", room ? "/" : "", e->d_name);
        }
        if (dir)
            closedir(dir);
    }
    CHECK(count > 30, "only %zu sources", count);
    return count;
}

/* The number behind the next KEY of text, which moves on behind it; 0 when there is no more. */
static size_t next_number(const char **text, const char *key)
{
    for (const char *at = *text; (at = strstr(at, key)) != NULL;) {
        char *end;
        at += strlen(key);
        if (*at < '1' || *at > '9')
            continue;
        const size_t n = (size_t)strtoul(at, &end, 10);
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

/* The rows of docs/method.md into of, by number; returns the largest number. */
static size_t read_document(equation of[EQUATIONS])
{
    const char *cell[COLUMNS];
    size_t length[COLUMNS], largest = 0;
    char  *text = read_text("docs/method.md");
    memset(of, 0, EQUATIONS * sizeof *of);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, "| EQ ", 5))
            continue;
        const char *at = line;
        const size_t n = next_number(&at, "| EQ ");
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
static void check_tags(const char *path, const equation of[EQUATIONS], bool there[EQUATIONS])
{
    char *text = read_text(path), *end;
    for (char *at = text; at && (at = strstr(at, "/*")) != NULL; at = end) {
        if (!(end = strstr(at, "*/")))
            break;
        *end++ = 0;
        const char *comment = at;
        for (size_t n; (n = next_number(&comment, "EQ ")) != 0;) {
            const bool known = n < EQUATIONS && *of[n].file, here = known && !strcmp(of[n].file, path);
            CHECK(known, "%s: EQ %zu is in no row of docs/method.md", path, n);
            CHECK(!known || here, "%s: EQ %zu, which docs/method.md has in %s", path, n, of[n].file);
            if (here)
                there[n] = true;
        }
    }
    free(text);
}

/* Fails on a tag in the wrong file, on a number that only one side knows, on a row whose function is gone. */
static void both_ways(void)
{
    static equation of[EQUATIONS];
    static char path[SOURCES][96];
    bool there[EQUATIONS] = { false };
    const size_t largest = read_document(of), sources = list_sources(path, "c");
    for (size_t i = 0; i < sources; i++)
        check_tags(path[i], of, there);
    for (size_t n = 1; n <= largest; n++) {
        char *text = *of[n].file ? read_text(of[n].file) : NULL;
        CHECK(*of[n].file, "docs/method.md: EQ %zu has no row, but EQ %zu has", n, largest);
        CHECK(!text || there[n], "%s: no comment says EQ %zu, as docs/method.md does", of[n].file, n);
        CHECK(!text || strstr(text, of[n].function), "%s: it has no %s, in which docs/method.md has EQ %zu",
              of[n].file, of[n].function, n);
        free(text);
    }
    CHECK(largest > 30, "only %zu equations", largest);
    test_note("%zu equations, %zu sources", largest, sources);
}

/* A comment that says AUDIT A5 sends its reader to a row that is not there. */
static void audit(void)
{
    static char path[SOURCES][96];
    const size_t sources = list_sources(path, "ch");
    char  *rows = read_text("docs/audit.md"), key[40];
    size_t tags = 0;
    for (size_t i = 0; i < sources; i++) {
        char *text = read_text(path[i]);
        const char *at = text;
        for (size_t n; at && (n = next_number(&at, "AUDIT A")) != 0; tags++) {
            snprintf(key, sizeof key, "\n| A%zu |", n);
            CHECK(rows && strstr(rows, key), "%s: AUDIT A%zu is in no row of docs/audit.md", path[i], n);
        }
        free(text);
    }
    free(rows);
    CHECK(tags > 15, "only %zu tags", tags);
}

const test_case equations_tests[] = { { "both_ways", both_ways }, { "audit", audit }, { NULL, NULL } };
