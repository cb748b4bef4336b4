/* error.h: how every function of the library fails: one line for a person, a code for the program.
 *
 *   return fail(err, CODE, "FILE: what is wrong: what to do", ...) --> saeuron_error --> the caller
 *
 * Not here: the codes (saeuron_host.h), how a message is shown (program/messages.c). */
#ifndef SAEURON_ERROR_H
#define SAEURON_ERROR_H

#include "files/print.h"
#include "saeuron_host.h"

/* Writes the message into err (which may be NULL) and returns code. Control characters become '?': the
 * name of a hostile file can neither end the line nor send commands to the terminal. The format is
 * print_into's. */
int fail(saeuron_error *err, int code, const char *format, ...) PRINTS(3, 4);
/* SAEURON_EUSAGE, naming the argument, if pointer is NULL; else SAEURON_OK. */
int need(const void *pointer, const char *argument, saeuron_error *err);

#endif
