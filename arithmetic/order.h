/* order.h: the largest of many values or of each group, and quantiles (contract 5, "Order"). NaN never
 * occurs; -0 and +0 are equal. Not here: who keeps which latents (sae.c, select.c), BatchTopK over a whole
 * batch (train.c). */
#ifndef SAEURON_ORDER_H
#define SAEURON_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* The k largest of z[0..n): larger values first, between equal values the lower index; their indices
 * ascending in idx, their values in val. Returns how many: the lesser of k and n. idx and val have that much
 * room. */
size_t nn_topk(uint32_t *idx, float *val, const float *z, size_t n, size_t k);
/* The largest of each of k groups of n / k neighbours in z[0..n), of equal values the first; indices into z
 * in idx [k], ascending, their values in val [k]. k divides n. */
void nn_groupmax(uint32_t *idx, float *val, const float *z, size_t n, size_t k);
/* Quantile of x [n], n > 0, at q in [0,1], linear between neighbours, in double (numpy.quantile); scratch
 * [n]. */
double nn_quantile(const float *x, size_t n, double q, float *scratch);

#endif
