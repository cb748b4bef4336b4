/* guesses.h: attacks that search for nothing: random tokens before the prompt, other noise under it. What a
 * search finds is to be compared with what as many pictures find by chance.
 * Not here: searches (unlearndiffatk.h, ringabell.h). Source: Diffusion-MU-Attack, src/attackers/random_.py,
 * seed_search_.py. */
#ifndef SAEURON_GUESSES_H
#define SAEURON_GUESSES_H

#include "rivals/attempt.h"

/* Up to `tries` pictures, each of the prompt behind k random tokens. */
int guess_prefix(attempt *a, size_t tries, size_t k, saeuron_error *err);
/* Up to `tries` pictures of the prompt itself, each from other elements of the seed's noise: those of the
 * places of further rounds of the protocol. */
int guess_noise(attempt *a, size_t tries, saeuron_error *err);

#endif
