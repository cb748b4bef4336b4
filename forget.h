/* forget.h: from a concept's name, or a hook's, to what is done there: its SAE and statistics found, loaded,
 * set to work.
 *
 *   "Cats" --find_concept--> hook, SAE, statistics --usual_choice--> choice --forget--> ctx->hook[]
 *
 * Not here: the arithmetic of selection and ablation (select.h), the public entries (saeuron.h). */
#ifndef SAEURON_FORGET_H
#define SAEURON_FORGET_H

#include "context.h"

/* The hook whose statistics know the concept, as saeuron_forget finds it; hook not NULL: this one. An error
 * names the nearest concept, or the hooks that both know it. */
int find_concept(const saeuron_context *ctx, const char *concept, const char *hook, sae_place *at,
                 saeuron_error *err);
/* The hook of a domain of concepts.json, in hook_name's spelling; false: it names none of this UNet's. */
bool hook_of_domain(const saeuron_context *ctx, json domain, char hook[96]);
/* The same of the domain "style" or "object"; false: there is none. */
bool domain_hook(const saeuron_context *ctx, const char *domain, char hook[96]);
/* What forget.json beside the SAE says of the concept; by default percentile 99.999, strength -1. */
int usual_choice(const saeuron_context *ctx, const sae_place *at, const char *concept, choice *how,
                 saeuron_error *err);
/* From now on the concept is forgotten at the hook find_concept found, by the latents that `how` chooses. */
int forget(saeuron_context *ctx, const sae_place *at, const char *concept, choice how, saeuron_error *err);
/* From now on the latent is multiplied by factor, or the hook's output reconstructed. */
int steer(saeuron_context *ctx, const char *hook, size_t latent, double factor, saeuron_error *err);
int reconstruct(saeuron_context *ctx, const char *hook, saeuron_error *err);

/* Unloads the hooks at which nothing is asked for. */
void unload_idle(saeuron_context *ctx);
/* Unloads all hooks (saeuron_remember). */
void unload_hooks(saeuron_context *ctx);
/* Nothing is asked for any more, but SAEs and statistics stay loaded: for many concepts, one by one. */
void rest_hooks(saeuron_context *ctx);

/* saeuron_use_sae. */
int use_sae(saeuron_context *ctx, const char *hook, const char *sae_dir, const char *stats_path,
            saeuron_error *err);
/* Where a model keeps the SAE of hook, into dir: MODEL/sae/HOOK; or MODEL/sae/unet.HOOK, as the released SAEs
 * spell it, if only that has a cfg.json. false: the path is too long. */
bool sae_folder(const saeuron_context *ctx, const char *hook, char dir[1024]);
/* hook without a leading "unet.", into name; an error if this UNet has no such hook. */
int hook_name(const saeuron_context *ctx, const char *hook, char name[96], saeuron_error *err);
/* The folder of the SAE of hook (hook_name's name): use_sae's, else the model's; an error if missing. */
int hook_folder(const saeuron_context *ctx, const char *hook, char dir[1024], saeuron_error *err);
/* Loads the SAE in dir, which must have the width of hook (hook_name's name) and be of its output. Its
 * encoder is packed if the UNet is. The caller unloads it, after an error, too. */
int hook_sae(const saeuron_context *ctx, const char *hook, const char *dir, sae *s, saeuron_error *err);

#endif
