/* goldens.h: the files that tests/golden/make.py wrote, and how a result is compared with them, declared.
 *
 * A golden's dtype says how it is compared: F64 is the truth, and our distance to it must stay within contract 9's bars
 * around PyTorch's own (NAME.distance); F32 bits, I64 integers and U8 pixels are equal. A golden that no test reads is a failure.
 * Not here: what is computed (test_golden.c, test_golden_train.c). */
#ifndef SAEURON_GOLDENS_H
#define SAEURON_GOLDENS_H

#include "context.h"

#define GOLDENS       "tests/golden"
#define GOLDEN_SEED   1
#define GOLDEN_SAMPLE 1500 /* elements of a golden that holds only some of a tensor: make.py */

double  f64_at(const tensor *t, size_t i);
float   f32_at(const tensor *t, size_t i);
int64_t i64_at(const tensor *t, size_t i);

/* PART.safetensors; false is a failure already. Closing finds the goldens that no test read. */
bool golden_open(tensors *g, const char *part);
void golden_close(tensors *g);
/* The golden NAME of this type, marked as read; NULL (a failure) when there is none. */
const tensor *golden(tensors *g, dtype type, const char *name);

/* One float32 ulp of the largest magnitude: what a correctly rounded result may miss by, twice over. */
double ulp_of(double largest);
/* Contract 9: y [count] against the float64 golden NAME and PyTorch's distance to it. */
void check_truth(tensors *g, const char *name, const float *y, size_t count);
/* Bits: y [count] equals the float32 golden NAME. */
void check_bits(tensors *g, const char *name, const float *y, size_t count);

/* configs/NAME.json; its keys' values, or what stands for an absent one. */
json   config_open(io_file *f, const char *name);
double number(json object, const char *key, double absent);
size_t size_at(json object, const char *key);
bool   flag(json object, const char *key);
void   text_at(json object, const char *key, char *out, size_t size);

#endif
