/* frechet.h: how far apart two sets of feature vectors lie.
 * Not here: whose features they are (classifier.h), which pictures are compared (drawing.h). */
#ifndef SAEURON_FRECHET_H
#define SAEURON_FRECHET_H

#include "files/error.h"

/* *out = |mx - my|^2 + tr(Sx + Sy - 2 (Sx Sy)^(1/2)): the squared Frechet distance of the normal
 * distributions fitted to x [n,d] and y [m,d] (frechet.c). n, m at least 2. Memory is the host's: about
 * 8 (n m + (n + m) d) bytes; SAEURON_ENOMEM. */
int frechet_distance(double *out, const saeuron_host *host, const float *x, size_t n, const float *y,
                     size_t m, size_t d, saeuron_error *err);

#endif
