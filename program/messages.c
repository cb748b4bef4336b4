/* messages.c: what the program says: errors and progress on stderr, names on stdout. */
#include "files/utf8.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages ---- */

int complain(const saeuron_error *err)
{
    fprintf(stderr, "saeuron: %s\n", err->text);
    return err->code == SAEURON_EUSAGE ? 2 : 1;
}

int usage(const char *command, const char *format, const char *what)
{
    saeuron_error err;
    fail(&err, SAEURON_EUSAGE, format, what); /* cleans control characters out of what */
    fprintf(stderr, "saeuron %s: %s; see saeuron %s --help\n", command, err.text, command);
    return 2;
}

/* Bytes that the next character may have: at most 4, none beyond the end. */
static size_t ahead(const char *text)
{
    size_t n = 0;
    while (n < 4 && text[n])
        n++;
    return n;
}

/* text on stdout as a JSON string. What is not UTF-8 (a path may be) becomes U+FFFD. */
void print_json_string(const char *text)
{
    char out[16];
    putchar('"');
    while (*text) { /* a character at a time: no memory */
        uint32_t code;
        char     one[5] = { 0 };
        const size_t length = io_utf8(text, ahead(text), &code), n = length ? length : 1;
        memcpy(one, text, n);
        const size_t quoted = json_quote(out, sizeof out, one);
        printf("%.*s", (int)quoted - 2, out + 1);
        text += n;
    }
    putchar('"');
}

/* text on stdout as it is, but for control characters: names from a file must neither end the line nor talk to the terminal. */
void print_name(const char *text)
{
    while (*text) {
        uint32_t code;
        const size_t length = io_utf8(text, ahead(text), &code);
        if (!length || code < 32 || (code >= 0x7f && code < 0xa0))
            putchar('?');
        else
            printf("%.*s", (int)length, text);
        text += length ? length : 1;
    }
}

/* ---- progress ---- */

/* Takes the progress off a terminal, so that a message stands alone on its line. */
void clear_line(void)
{
    const int width = os_terminal_width();
    if (width)
        fprintf(stderr, "\r%*s\r", width > 72 ? 72 : width - 1, "");
}

int show_progress(void *user, const char *stage, size_t done, size_t total)
{
    talk *t = user;
    const double now = os_seconds();
    const int width = os_terminal_width();
    if (os_interrupted())
        return 1;
    if (t->quiet || !total)
        return 0;
    const double share = ((double)t->done + (double)t->now * (double)done / (double)total) / (double)t->images;
    const double left = (now - t->start) / share * (1 - share);
    if (width) {
        if (done == total || now - t->last > 0.1) {
            fprintf(stderr, "\r%s %zu/%zu", stage, done, total);
            if (t->images > t->now && t->now == 1)
                fprintf(stderr, ", image %zu of %zu", t->done + 1, t->images);
            else if (t->images > t->now)
                fprintf(stderr, ", images %zu to %zu of %zu", t->done + 1, t->done + t->now, t->images);
            fprintf(stderr, ", %.0f s left   ", left);
            t->last = now;
        }
        if (done == total)
            clear_line();
    } else if (now - t->last > 10) { /* a log: a line now and then */
        fprintf(stderr, "%.0f %% of %zu images, %.0f s left\n", 100 * share, t->images, left);
        t->last = now;
    }
    return 0;
}

/* The first column, or the first member of a JSON object. */
void print_concept(const char *concept, bool as_json)
{
    if (!as_json) {
        print_name(concept);
        return;
    }
    printf("{\"concept\": ");
    print_json_string(concept);
}
