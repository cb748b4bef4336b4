/* main.c: EmojiCanvas on a board without an operating system: draws a picture, forgetting a style, and says
 * what that took.
 *
 *   model_files --saeuron_host.map--> saeuron_open, saeuron_forget, saeuron_generate --> pixels --> a digest
 *   malloc --saeuron_host.alloc, counted--> the same
 *
 * Not here: the board (start.c, board.ld), its files (model.s); PROMPT, CONCEPT, STEPS (Makefile). */
#include "arithmetic/rng.h"
#include "files/print.h"
#include "ports/bare-arm/board.h"
#include "saeuron.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64 };
static unsigned char rgb[SIDE][SIDE][3];

/* Bytes of the heap that the library holds, and the most since the phase began. */
typedef struct usage { size_t held, most; } usage;

static void say(const char *format, ...) PRINTS(1, 2);
static void say(const char *format, ...)
{
    char    line[512];
    va_list values;
    va_start(values, format);
    print_values(line, sizeof line, format, values);
    va_end(values);
    board_say(line);
}

static void *counted_alloc(void *user, size_t size)
{
    usage *u = user;
    void  *p = malloc(size);
    if (p)
        u->held += malloc_usable_size(p);
    u->most = u->held > u->most ? u->held : u->most;
    return p;
}

static void counted_free(void *user, void *p)
{
    usage *u = user;
    u->held -= malloc_usable_size(p);
    free(p);
}

static const void *map_file(void *user, const char *path, size_t *size)
{
    (void)user;
    for (const model_file *f = model_files; f->path; f++)
        if (!strcmp(f->path, path)) {
            say("map\t%s\n", path);
            *size = f->size;
            return f->bytes;
        }
    return NULL;
}

static void end_phase(const char *name, usage *u)
{
    static uint64_t begin;
    const uint64_t  end = board_instructions();
    say("%s\t%zu bytes of heap at most, %zu held afterwards, %llu instructions\n", name, u->most, u->held,
        (unsigned long long)(end - begin));
    u->most = u->held;
    begin = end;
}

int main(void)
{
    const char *prompt = PROMPT;
    usage u = { 0, 0 };
    const saeuron_host host = { .user = &u, .alloc = counted_alloc, .free = counted_free, .map = map_file };
    const saeuron_forget_options forget = { .name = CONCEPT };
    const saeuron_generate_options options = {
        .prompts = &prompt, .count = 1, .steps = STEPS, .map_steps = 1, .height = SIDE, .width = SIDE
    };
    saeuron_context *context;
    saeuron_error err;
    size_t work = 0, weights = 0;

    int code = saeuron_open(&context, &host, "emojicanvas", &err);
    end_phase("opening", &u);
    if (code == SAEURON_OK)
        code = saeuron_forget(context, &forget, &err);
    end_phase("forgetting", &u);
    if (code == SAEURON_OK)
        code = saeuron_memory(context, &options, &work, &weights, &err);
    if (code == SAEURON_OK)
        code = saeuron_generate(context, &options, rgb[0][0], &err);
    end_phase("generating", &u);
    saeuron_close(context);
    end_phase("closing", &u);

    const board_memory m = board_measure();
    say("flash\t%zu bytes of code, %zu of model\n", m.code, m.model);
    say("saeuron_memory\t%zu bytes of work, %zu of weights\n", work, weights);
    say("RAM\t%zu bytes of data, %zu of heap, %zu of stack\n", m.data, m.heap, m.stack);
    if (code != SAEURON_OK)
        say("error\t%s\n", err.text);
    else
        say("digest\t%016llx\n", (unsigned long long)nn_hash(0, rgb, sizeof rgb));
    return code != SAEURON_OK;
}
