/* opened.h: the tiny model of tiny.h opened and closed, with every block counted; an error's one line.
 * Not here: the folder itself (tiny.h), what is drawn (shots.h), what is recorded (recorded.h). */
#ifndef SAEURON_OPENED_H
#define SAEURON_OPENED_H

#include "tiny.h"

extern tiny files; /* the folder at hand: each test makes and frees its own */
/* Opens the folder; a failure fails the test, and NULL comes back. */
saeuron_context *opened(const char *isa, int threads);
saeuron_context *opened_packed(const char *isa, int threads, size_t pack); /* as saeuron_host.pack */
/* The tidy folder, opened with one thread. */
saeuron_context *fresh(void);
/* Closes and drops the folder, and checks that nothing stays: no memory, no mapping, nothing written outside
 * its block. */
void done(saeuron_context *x);
/* An error is one line that names what it is about: it holds words, separated by '|'. */
void check_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words);

/* Every allocation of run fails once: SAEURON_ENOMEM, nothing left, and the context goes on. */
void each_allocation_fails(saeuron_context *x, int (*run)(saeuron_context *, saeuron_error *));

#endif
