/* rng.h: random numbers, ours (SplitMix64 by counter, contract 6) and torch.randn's (contract 7); a digest.
 *
 *   seed, stream, i --rng_value--> hash-filled weights, shuffles
 *   seed --mt19937--> rng_randn --> starting latents
 *
 * Not here: who draws what (saeuron.c, layers/bind.c, train.c). */
#ifndef SAEURON_RNG_H
#define SAEURON_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- our own: number i of a stream of a seed, in any order ---- */

uint64_t rng_mix(uint64_t x);                                                  /* SplitMix64's mixing */
uint64_t rng_value(uint64_t seed, uint64_t stream, uint64_t i);                /* 64 bits */
float    rng_uniform(uint64_t seed, uint64_t stream, uint64_t i);              /* in [0,1) */
float    rng_symmetric(uint64_t seed, uint64_t stream, uint64_t i, float a);   /* in [-a,a) */
uint32_t rng_below(uint64_t seed, uint64_t stream, uint64_t i, size_t n);      /* in [0,n), 0 < n <= 2^32 */
/* order [n] = 0 .. n-1, n below 2^32, shuffled by Fisher-Yates with the numbers of one stream. */
void     rng_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t stream);

/* ---- torch.randn ---- */

typedef struct rng_mt { uint32_t state[624]; int at; } rng_mt; /* mt19937; state[at] comes next */
void     rng_mt_seed(rng_mt *r, uint64_t seed);
uint32_t rng_mt_next(rng_mt *r);
/* y[i] = element first + i of torch.randn(total, generator=torch.Generator().manual_seed(seed)), i < n.
 * total >= 16 and first + n <= total, else false. What comes before first is drawn and dropped. */
bool     rng_randn(float *y, uint64_t seed, uint64_t total, uint64_t first, size_t n);

/* ---- digest ---- */

/* 64-bit digest of n bytes, continued from h; the first h is 0 (contract 6). */
uint64_t nn_hash(uint64_t h, const void *bytes, size_t n);

#endif
