/* text.h: text being built in memory: tables, JSON, headers.
 * Not here: reading (json.h, decimal.h). */
#ifndef SAEURON_TEXT_H
#define SAEURON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "files/error.h"
#include "files/print.h"

/* Begins as { .host = host }. at [n], ended with NUL once something was added. After a failed allocation
 * failed is set and nothing more is added; text_save reports it. */
typedef struct text_out { const saeuron_host *host; char *at; size_t n, size; bool failed; } text_out;

void text_add(text_out *t, const char *format, ...) PRINTS(2, 3);   /* as print_into */
void text_quote(text_out *t, const char *s);            /* as a JSON string */
int  text_save(text_out *t, const char *path, saeuron_error *err);  /* writes it whole, and frees it */
void text_free(text_out *t);

#endif
