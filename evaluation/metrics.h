/* metrics.h: predictions to UA, IRA, CRA and CRA_own, each with its interval.
 * Not here: what a rule counts (protocol.h), where predictions come from (drawing.h). */
#ifndef SAEURON_METRICS_H
#define SAEURON_METRICS_H

#include "evaluation/protocol.h"

/* Both classifiers' answers to an image: the class of the largest logit, and its softmax. NO_LABEL: not
 * asked. */
typedef struct prediction { uint32_t label[DOMAINS]; float probability[DOMAINS]; } prediction;

/* Images whose answers weigh alike in a mean, as those of one class; weight: that of their share of right
 * answers. */
typedef struct stratum { double weight; size_t right, images; } stratum;

/* A share with its 95 % interval; images == 0: nothing counts, and the rest means nothing. */
typedef struct rate { double value, low, high; size_t images, right; } rate;

/* All that is counted for one list in a domain. distance: of its own pictures to others (frechet.h); -1:
 * there are too few. */
typedef struct figures { rate at[METRICS]; double distance; } figures;

/* The weighted mean of the strata's shares, and its interval (metrics.c). Strata without images or weight
 * count nothing. right and images are plain sums over the others. */
rate rate_of(const stratum *s, size_t n);
rate rate_opposite(rate s);         /* 1 - s */

/* The share that a rule counts when f is forgotten, by the answers made [seeds,entries]. Images that
 * were not asked about do not count, nor those outside use [seeds,entries] (NULL: all are inside). */
int rate_rule(rate *out, const protocol *p, const rule *r, int domain, const forgotten *f,
              const prediction *made, const bool *use, saeuron_error *err);
/* The strata of that share, into out [strata_most]; their weights add up to 1. Returns how many: 0 where
 * nothing counts. */
size_t strata_of(stratum *out, const protocol *p, const rule *r, int domain, const forgotten *f,
                 const prediction *made, const bool *use);
size_t strata_most(const protocol *p, const rule *r);

/* Per cent with four digits after the point: enough to tell one image among a million. */
double per_cent(double x);

#endif
