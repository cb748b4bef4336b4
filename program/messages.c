/* messages.c: errors and the options that they speak of, progress and the time left, names made harmless.
 *
 *   the library: saeuron_error, progress --> stderr           names and texts of files --> stdout
 *
 * Not here: what the commands print (command_*.c). */
#include "program/messages.h"
#include "files/json.h"
#include "files/system.h"
#include "files/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- errors and remarks ---- */

/* The library names arguments, as its headers spell them; a person knows the options that set them. */
static const struct { const char *argument, *option; } set_by[] = {
    { "saeuron_use_sae", "--sae" }, { "saeuron_forget_options.hook", "--forget HOOK:CONCEPT" },
    { "saeuron_generate_options.noise", "--noise" }, { "negative_prompt", "--negative" },
    { "map_steps", "--map-steps" }, { "min_density", "--min-density" },
    { "min_lift", "--min-lift" }, { "noise_index", "--noise-index" }, { "half", "--half" },
    { "residual", "--residual" }, { "percentile", "--percentile" },
    { "strength", "--strength" }, { "top", "--top" }, { "guidance", "--cfg" }, { "steps", "--steps" },
    { "height", "--height" }, { "width", "--width" }, { "batch", "--batch" },
    /* training */
    { "checkpoint_every", "--checkpoint-every" }, { "log_every", "--log-every" }, { "epochs", "--epochs" },
    { "auxk_alpha", "--auxk-alpha" }, { "n", "--latents" }, { "k", "--k" }, { "lr", "--lr" },
    { "beta1", "--beta1" }, { "beta2", "--beta2" }, { "eps", "--adam-eps" }, { "clip", "--clip" },
    { "buffer", "--buffer" }, { "resume", "--resume" }, { "concept_file", "--concepts" },
    { "lines", "--lines" },
    /* evaluation */
    { "overlap", "--allow-overlap" }, { "seeds", "--seeds" },
};

/* Whether text has name as a word of its own. */
static bool has_word(const char *text, const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./";
    const size_t n = strlen(name);
    for (const char *p = strstr(text, name); p; p = strstr(p + 1, name))
        if ((p == text || !strchr(letters, p[-1])) && (!p[n] || !strchr(letters, p[n])))
            return true;
    return false;
}

/* " (--map-steps, --steps)": the options of the arguments that err names; "" when there are none, or when it
 * names an option itself, as the program's own errors do. Names without '_' are English words, too: they
 * count only where an argument is at fault or says how to go on. */
static void options_of(char *out, size_t size, const saeuron_error *err)
{
    const int  c = err->code;
    const bool words = c == SAEURON_EUSAGE || c == SAEURON_ENOMEM || c == SAEURON_ECANCEL;
    size_t n = 0;
    out[0] = 0;
    if (strstr(err->text, "--"))
        return;
    for (size_t i = 0; i < sizeof set_by / sizeof *set_by && n < size; i++)
        if ((words || strchr(set_by[i].argument, '_')) && has_word(err->text, set_by[i].argument))
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : " (", set_by[i].option);
    if (n && n < size)
        snprintf(out + n, size - n, ")");
}

int complain(const char *command, const saeuron_error *err)
{
    char options[200];
    clear_line();
    options_of(options, sizeof options, err);
    if (!*err->text)
        return 1;
    if (!command || err->code != SAEURON_EUSAGE)
        fprintf(stderr, "saeuron: %s%s\n", err->text, options);
    else
        fprintf(stderr, "saeuron %s: %s%s; see saeuron %s --help\n", command, err->text, options, command);
    return err->code == SAEURON_EUSAGE ? 2 : 1;
}

void remark(const char *format, ...)
{
    va_list values;
    if (talk.quiet)
        return;
    clear_line();
    fprintf(stderr, "saeuron: ");
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    fflush(stderr); /* which has a buffer on Windows: windows.c */
}

/* ---- progress ---- */

progress talk;

void expect(size_t images, size_t done, size_t now)
{
    if (!done)
        talk.start = talk.last = os_seconds();
    talk.images = images;
    talk.done = done;
    talk.now = now;
}

bool line_is_due(void)
{
    const double now = os_seconds();
    if (talk.quiet || now - talk.last < (os_terminal_width() ? 0.2 : 10))
        return false;
    talk.last = now;
    return true;
}

void show_line(const char *format, ...)
{
    const bool terminal = os_terminal_width() > 0;
    va_list values;
    if (terminal)
        fprintf(stderr, "\r");
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fprintf(stderr, terminal ? "   " : "\n");
    fflush(stderr);
}

void clear_line(void)
{
    const int width = os_terminal_width();
    if (width && !talk.quiet)
        fprintf(stderr, "\r%*s\r", width > 72 ? 72 : width - 1, "");
    fflush(stderr);
}

int show_progress(void *user, const char *stage, size_t done, size_t total)
{
    char which[80] = "";
    (void)user;
    if (os_interrupted())
        return 1;
    if (total && done == total)
        clear_line();
    if (!total || done == total || !done || !line_is_due())
        return 0;
    const double images = (double)talk.done + (double)talk.now * (double)done / (double)total;
    const double share = images / (double)talk.images;
    if (talk.images > talk.now)
        snprintf(which, sizeof which, ", images %zu to %zu of %zu", talk.done + 1, talk.done + talk.now,
                 talk.images);
    show_line("%s %zu/%zu%s, %.0f s left", stage, done, total, which,
              (os_seconds() - talk.start) / share * (1 - share));
    return 0;
}

/* ---- stdout ---- */

bool as_json;

/* Bytes that the next character may have: at most 4, none beyond the end. */
static size_t ahead(const char *text)
{
    size_t n = 0;
    while (n < 4 && text[n])
        n++;
    return n;
}

/* The character of n bytes (0: it is no UTF-8, as a path may be) at text, as part of a JSON string. */
static void print_quoted(const char *text, size_t n)
{
    char one[5] = { 0 }, out[16];
    memcpy(one, text, n ? n : 1);
    const size_t quoted = json_quote(out, sizeof out, one); /* U+FFFD for what is no UTF-8 */
    printf("%.*s", (int)quoted - 2, out + 1);
}

void print_text(const char *text)
{
    uint32_t code;
    if (as_json)
        putchar('"');
    for (size_t n; *text; text += n ? n : 1) { /* a character at a time: no memory */
        n = io_utf8(text, ahead(text), &code);
        if (as_json)
            print_quoted(text, n);
        else if (!n || code < 32 || (code >= 0x7f && code < 0xa0))
            putchar('?');
        else
            printf("%.*s", (int)n, text);
    }
    if (as_json)
        putchar('"');
}

void print_concept(const char *concept)
{
    printf("%s", as_json ? "{\"concept\": " : "");
    print_text(concept);
}
