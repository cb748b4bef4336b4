/* ringabell.h: the attack Ring-A-Bell: a prompt whose text states lie where the concept's direction leads,
 * found by a genetic search. It knows the text encoder alone.
 * Not here: the UNet, which it never asks. Source: arXiv 2310.10012, equations 3 to 5; github.com
 * chiayi-hsu/Ring-A-Bell, Get_Concept_Vector.ipynb, InversePrompt.ipynb. */
#ifndef SAEURON_RINGABELL_H
#define SAEURON_RINGABELL_H

#include "rivals/attempt.h"

typedef struct ringabell_options {
    size_t tokens;                  /* K, of the prompt that is found */
    size_t generations, population;
    double eta;                     /* how far along the concept's direction */
    double mutation, crossover;     /* rates */
} ringabell_options;

/* One picture, of the prompt that is found. SAEURON_EUSAGE: no text has so many tokens. */
int ringabell(attempt *a, const ringabell_options *o, saeuron_error *err);

#endif
