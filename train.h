/* train.h: an SAE trained at a hook, step by step.
 *
 *   first batch --trainer_start--> W_enc, b_enc, W_dec, b_dec --trainer_step, batch by batch--> them, trained
 *
 * Not here: where batches come from, checkpoints, progress (training/run.h), held-out activations
 * (training/measure.h), the SAE at use (sae.h). Equations and sources: train.c. Bits: docs/contract.md, 6.
 * Letters: d width, n latents, k latents kept a token, M tokens of a batch, S steps of the learning rate. */
#ifndef SAEURON_TRAIN_H
#define SAEURON_TRAIN_H

#include "sae.h"

typedef struct train_config {
    size_t   d, n, k;
    size_t   batch;                 /* tokens of a full batch; every step adds it to the dead counters */
    size_t   steps;                 /* S: the learning rate of step s is lr * max(0, (S - s) / S) */
    bool     batch_topk;            /* the M*k largest of the batch; else the k largest of each token */
    bool     multi_topk;            /* an eighth of the FVU with 4k latents joins the loss */
    bool     released_auxk;         /* AUDIT A2: the released target of auxk */
    double   lr, beta1, beta2, eps; /* Adam */
    double   clip;                  /* the most that the joint norm of all gradients may be */
    double   auxk_alpha;            /* 0: no auxk */
    uint64_t dead_threshold;        /* a latent that has not fired for more tokens than this is dead */
    uint64_t seed;                  /* of W_enc's start */
} train_config;

/* The paper's constants for an SAE of width d: n = 16 d, k = 32, 4,096 tokens, BatchTopK, alpha 1/32, seed
 * 42; the caller sets steps. */
void train_defaults(train_config *c, size_t d);

/* What a step found, of the batch alone, before the update. */
typedef struct train_report {
    double loss, fvu, auxk, multi;  /* loss = fvu + alpha auxk + multi / 8 */
    double explained, explained_dev; /* of 1 - |x^ - x|^2 / |x - mean|^2: mean over tokens, deviation */
    double l0;                      /* latents above 0, a token */
    double grad_norm, lr;           /* before clipping; of this step */
    size_t dead;                    /* latents, before this step */
    size_t fired;                   /* latents that this step's counters count as fired */
    size_t tokens;                  /* M */
    uint64_t step;                  /* from 0 */
} train_report;

/* Parameters, gradients, Adam's moments, counters, scratch: all allocated by trainer_open, none by a step. */
typedef struct trainer trainer;

/* isa NULL: the best that this CPU runs. All state is zero. After an error *t is NULL; else trainer_close. */
int trainer_open(trainer **t, const saeuron_host *host, const train_config *c, int threads, const char *isa,
                 saeuron_error *err);
void trainer_close(trainer *t);

/* The start: W_enc uniform, W_dec its rows made unit, b_enc 0, b_dec the geometric median of the first batch
 * x [M,d]. Not on resume. */
int trainer_start(trainer *t, const float *x, size_t M, saeuron_error *err);

/* One step on x [M,d], 1 <= M <= batch. After an error (a value of x that is not finite, a loss that is not)
 * moments, counters and step are as they were; W_dec's rows may have been made unit, which the next step does
 * in any case. r may be NULL. */
int trainer_step(trainer *t, const float *x, size_t M, train_report *r, saeuron_error *err);

/* The three parts of a step, for tests: unit rows; forward and backward, which leave gradients and r;
 * clipping, projection, Adam, counters. */
void trainer_unit_rows(trainer *t);
int  trainer_gradients(trainer *t, const float *x, size_t M, train_report *r, saeuron_error *err);
void trainer_update(trainer *t);

/* BatchTopK by its definition (arXiv 2412.06410): of relu(z) [M,n] the M*k largest, ties to the lower token,
 * then the lower latent; those above 0 are kept. at: m n + i, ascending, val: z there, both [M*k]; returns
 * how many. M n below 2^32. TopK is the same of one token. A step finds the same entries without ever holding
 * z; for tests, trainer_selected gives those of the last batch. */
size_t batch_topk(uint32_t *at, float *val, const float *z, size_t M, size_t n, size_t k);
size_t trainer_selected(const trainer *t, size_t M, uint32_t *at, float *val);

/* State by name, to save, restore (write through data, whole, between steps) and compare. In this order:
 * "encoder.weight" [n,d], "encoder.bias" [n], "W_dec" [n,d], "b_dec" [d]; the same with "adam.m." and
 * "adam.v." before them; "tokens_since_fired" [n] and "step" [1], uint64_t; then "grad.encoder.weight", ...,
 * the gradients of the last batch before clipping, which need not be saved. */
typedef struct trainer_tensor {
    const char *name;
    dtype  type;                    /* DT_F32: float in the machine's byte order; DT_I64: uint64_t likewise */
    int    ndim;
    size_t shape[2], count;
    void  *data;
} trainer_tensor;
#define TRAINER_TENSORS 18          /* of which the last 4 are gradients */
#define TRAINER_SAVED   14
void trainer_tensors(trainer *t, trainer_tensor list[TRAINER_TENSORS]);

const train_config *trainer_config(const trainer *t);

#endif
