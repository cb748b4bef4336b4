/* counting.h: a set of kernels that counts and times what it hands on to another: what a pass is made of.
 *
 *   start_counting --> each operation is counted, and computed by the kernels of before --> stop_counting
 *
 * Not here: what is run, and how the numbers are shown (bench.c). */
#ifndef SAEURON_COUNTING_H
#define SAEURON_COUNTING_H

#include "arithmetic/nn.h"

enum {
    OP_CONV3, OP_CONV1, OP_LINEAR, OP_SELF, OP_CROSS, OP_GROUP_NORM, OP_LAYER_NORM, OP_GEGLU, OP_SILU, OPS
};
extern const char *const op_names[OPS];

/* table comes first: an operation is given an nn that points at it, and finds the counts behind it. */
typedef struct counted {
    nn_kernels table;
    const nn_kernels *real;
    double seconds[OPS], multiply_adds[OPS]; /* seconds of all threads together */
    size_t calls[OPS];
} counted;

void   start_counting(nn *c, counted *k);       /* puts k in place of c's kernels; k from 0 */
void   stop_counting(nn *c, const counted *k);  /* puts them back */
double total_multiply_adds(const counted *k);

#endif
