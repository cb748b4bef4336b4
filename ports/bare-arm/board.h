/* board.h: what main.c has of this board instead of an operating system: files, text out, measures.
 *
 *   start.c, board.ld, model.s --these names--> main.c
 *
 * Not here: what is done with them (main.c). */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* The model's files where they lie; the last has no path. */
typedef struct model_file { const char *path; const void *bytes; size_t size; } model_file;
extern const model_file model_files[];

void     board_say(const char *text);       /* to the console */
uint64_t board_instructions(void);          /* so many were executed until now */

/* Bytes: of code and model, which are only read; of data, placed by the linker; the most that the C library's
 * heap and the stack have had until now. */
typedef struct board_memory { size_t code, model, data, heap, stack; } board_memory;
board_memory board_measure(void);

#endif
