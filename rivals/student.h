/* student.h: a UNet that learns: a copy of the model's in which some tensors are trained, by what it should
 * predict; and, where it is asked for, the mean of the copies so far.
 *
 *   latents, timestep, text states --student_step: forward, loss, backward, AdamW--> the copy, a step on
 *   the copy --student_save--> a model's folder
 *
 * Not here: what it should predict (esd.h, sdd.h), derivatives (gradients/). */
#ifndef SAEURON_STUDENT_H
#define SAEURON_STUDENT_H

#include "context.h"
#include "gradients/optimizer.h"

typedef struct student student;

enum { BY_MODEL, BY_STUDENT, BY_AVERAGE };  /* whose UNet it is */

/* trained: whether a tensor of the UNet, by its diffusers name, is trained. Latents have sides h and w.
 * averaged: there is an average. *s is the caller's: student_close (NULL is fine). */
int  student_open(student **s, saeuron_context *x, size_t h, size_t w, bool (*trained)(const char *name),
                  bool averaged, saeuron_error *err);
void student_close(student *s);

/* From now on the context draws with this UNet. A pass in between sees what the last step left. */
void student_swap(student *s, int by);

/* e [C,h,w] = UNet(x, t, text); x [C,h,w], text [N,D]. */
int  student_predict(student *s, int by, float *e, const float *x, int timestep, const float *text,
                     saeuron_error *err);
/* One step of the student on mean (e - target)^2 (EQ 40). optimizer_step was called. limit: the most that the
 * joint norm of all derivatives may be; 0: any. *loss is that before. */
int  student_step(student *s, const optimizer *o, double limit, const float *x, int timestep,
                  const float *text, const float *target, double *loss, saeuron_error *err);
/* average = decay average + (1 - decay) student, of every number that is trained. */
void student_average(student *s, double decay);
/* save_edited of all that is trained, as the student or the average has it. */
int  student_save(const student *s, int by, const char *dir, const char *const *metadata, saeuron_error *err);

#endif
