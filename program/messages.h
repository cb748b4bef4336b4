/* messages.h: what the program says: errors, remarks and progress on stderr, names on stdout.
 *
 *   saeuron_error --complain--> one line for a person, and the exit code
 *
 * Not here: the texts of errors (where each arises), tables and JSON as a whole (the commands). */
#ifndef SAEURON_MESSAGES_H
#define SAEURON_MESSAGES_H

#include <stdbool.h>

#include "files/print.h"
#include "saeuron_host.h"

/* ---- errors and remarks ---- */

/* Tells an error; command: its name, or NULL when none runs. Returns the exit code: 2 when the command
 * line is wrong, else 1. */
int complain(const char *command, const saeuron_error *err);
/* A line on stderr that is no error, unless --quiet. */
void remark(const char *format, ...) PRINTS(1, 2);

/* ---- progress: one line on a terminal, a line now and then in a log ---- */

/* Of `images` in all `done` are made, and the call of the library that runs makes `now`; start: when the
 * first began. */
typedef struct progress { bool quiet; double start, last; size_t images, done, now; } progress;
extern progress talk;

/* Before a call of the library: what it makes of how much. done == 0 starts the clock. */
void expect(size_t images, size_t done, size_t now);
/* saeuron_host.progress: shows the step and the time left; stops the library after Ctrl-C. */
int  show_progress(void *user, const char *stage, size_t done, size_t total);
/* Whether the line may be shown again; then show_line shows it. */
bool line_is_due(void);
void show_line(const char *format, ...) PRINTS(1, 2);
/* Takes the line off a terminal, so that what is printed next stands alone. */
void clear_line(void);

/* ---- stdout: texts from files can neither end a line nor talk to the terminal ---- */

extern bool as_json;                        /* --json */
void print_text(const char *text);          /* as a JSON string, or plain with '?' for control characters */
void print_concept(const char *concept);    /* the first column, or the first member of a JSON object */

#endif
