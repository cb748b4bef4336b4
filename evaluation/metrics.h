/* metrics.h: predictions to UA, IRA and CRA, each with its interval.
 * Not here: what a rule counts (protocol.h), where predictions come from (drawing.h). */
#ifndef SAEURON_METRICS_H
#define SAEURON_METRICS_H

#include "evaluation/protocol.h"

/* A classifier's answer to an image: the class of the largest logit and its softmax. label NO_LABEL: not asked. */
typedef struct prediction { uint32_t label[DOMAINS]; float probability[DOMAINS]; } prediction;

/* A share with its 95 % interval; images == 0: nothing counts, and the rest means nothing. */
typedef struct rate { double value, low, high; size_t images, right; double effective; } rate; /* effective: metrics.c, rate_sum */

/* Wilson's interval of right out of n. */
rate rate_of(size_t right, size_t n);
/* The mean of s with weights c, and its interval (metrics.c); skips those without images. */
rate rate_sum(const rate *s, const double *c, size_t n);
/* One number of one forgotten concept. prediction [seeds,entries], of which those with an answer count; use [seeds,entries] (or NULL):
 * only these. right, n: how many images were counted, whatever their weight. */
int  rate_rule(rate *out, const protocol *p, const rule *r, int domain, uint32_t concept, const prediction *made, const bool *use, saeuron_error *err);
rate rate_opposite(rate s);         /* 1 - s */
/* Per cent with four digits after the point: enough to tell one image among a million. */
double per_cent(double x);

#endif
