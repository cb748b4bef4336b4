/* forget.h: from a concept's name to what is done at a hook: the SAE and statistics found, loaded, and set to work.
 * Not here: the arithmetic of selection and ablation (select.h), the public entries (saeuron.h). */
#ifndef SAEURON_FORGET_H
#define SAEURON_FORGET_H

#include "context.h"

/* Where a model keeps the SAE of hook, into dir: MODEL/sae/HOOK, or MODEL/sae/unet.HOOK as the released SAEs spell it where
 * only that has a cfg.json. false when the path is too long. */
bool sae_folder(const struct saeuron_context *x, const char *hook, char dir[1024]);

/* As saeuron_remember, but SAEs and statistics stay loaded: for many concepts, one after the other. */
void pipeline_rest(struct saeuron_context *x);

/* hook without a leading "unet.", into name; an error when this UNet has no such hook. */
int hook_name(const struct saeuron_context *x, const char *hook, char name[96], saeuron_error *err);
/* The folder of the SAE of a hook (by hook_name's name), as saeuron_use_sae named it or in the model's folder; an error when there is none. */
int hook_folder(const struct saeuron_context *x, const char *hook, char dir[1024], saeuron_error *err);
/* Loads the SAE in dir, which must fit the hook (by hook_name's name); pack: its encoder is packed where the UNet is. The caller unloads
 * it, after an error, too. */
int hook_sae(const struct saeuron_context *x, const char *hook, const char *dir, bool pack, sae *s, saeuron_error *err);

#endif
