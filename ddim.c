/* ddim.c: the noise schedule and the deterministic DDIM step (eta 0), and classifier-free guidance.
 *
 *   noise x_T --[ e = guide(unet(x, t)); x = step(x, e) ] for t in timesteps--> x_0 --> vae.c
 *
 * Not here: the UNet (unet.c), the loop over steps with its hooks (saeuron.c), the noise itself (rng.c).
 * Source: diffusers.schedulers.scheduling_ddim.DDIMScheduler; DDIM, arXiv 2010.02502, equation 12.
 * Bits: docs/contract.md, section 5. */
#include "ddim.h"
#include "arithmetic/number.h"
#include "layers/config.h"

#include <math.h>
#include <string.h>

/* EQ 4: alphas_cumprod of the "scaled_linear" schedule: betas = linspace(sqrt(start), sqrt(end), n)^2, as
 * torch computes it; the product in double, each entry rounded to float. */
static void scaled_linear(float *alphas, size_t n, double start, double end)
{
    /* of the doubles in the config: 0.012f has another root */
    const float s0 = (float)sqrt(start), s1 = (float)sqrt(end);
    const float st = (s1 - s0) / (float)(n - 1);
    double product = 1.0;
    for (size_t i = 0; i < n; i++) {
        const float b = i < n / 2 ? nn_fmaf(st, (float)i, s0) : nn_fmaf(-st, (float)(n - 1 - i), s1);
        const float a = 1.0f - b * b;
        product *= (double)a;
        alphas[i] = (float)product;
    }
}

/* Schedulers whose models diffusers lets DDIM sample (DDIMScheduler is among their _compatibles), and their
 * Flax twins. Distilled (LCM, TCD) and flow-matching models need their own. */
static bool compatible(const char *name)
{
    static const char *const known[] = {
        "DDIM", "DDPM", "PNDM", "LMSDiscrete", "EulerDiscrete", "HeunDiscrete", "EulerAncestralDiscrete",
        "DPMSolverMultistep", "DPMSolverSinglestep", "KDPM2Discrete", "KDPM2AncestralDiscrete",
        "DEISMultistep", "UniPCMultistep", "DPMSolverSDE", "DDIMParallel", "DDPMParallel", "SASolver",
        "DPMSolverMultistepInverse"
    };
    const char *const bare = strncmp(name, "Flax", 4) ? name : name + 4;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(bare, known[i], strlen(known[i])) && !strcmp(bare + strlen(known[i]), "Scheduler"))
            return true;
    return false;
}

/* What DDIMScheduler.from_config(pipeline.scheduler.config) makes of any saved scheduler. Keys that the file
 * lacks take DDIM's defaults. StableDiffusionPipeline has forced steps_offset 1 and clip_sample false before,
 * but only where the file has the key does from_config take it over (_use_default_values). */
int ddim_configure(ddim *d, json object, const char *path, saeuron_error *err)
{
    static const char *const read[] = {
        "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type",
        "set_alpha_to_one", "steps_offset", "clip_sample", "timestep_spacing", "trained_betas",
        "thresholding", "rescale_betas_zero_snr", "use_flow_sigmas", NULL
    };
    static const char *const ignored[] = {
        /* DDIM's own, read only with clip_sample or thresholding, which are off; eta is the step's */
        "clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value", "eta",
        /* the arguments of the other classes: from_config drops what DDIMScheduler.__init__ does not take */
        "skip_prk_steps", "variance_type", "algorithm_type", "disable_corrector", "euler_at_final",
        "final_sigmas_type", "flow_shift", "interpolation_type", "lambda_min_clipped", "lower_order_final",
        "noise_sampler_seed", "predict_x0", "predict_epsilon", "shift_terminal", "sigma_max", "sigma_min",
        "solver_order", "solver_p", "solver_type", "time_shift_type", "timestep_type", "timestep_values",
        "tensor_format", "use_beta_sigmas", "use_dynamic_shifting", "use_exponential_sigmas",
        "use_karras_sigmas", "use_lu_lambdas", "predictor_order", "corrector_order", "tau_func", NULL
    };
    config c = { .object = object, .path = path, .err = err };
    double start, end;
    char   type[48];

    memset(d, 0, sizeof *d);
    config_string(&c, "_class_name", "DDIMScheduler", type, sizeof type);
    if (!c.code && !compatible(type))
        c.code = fail(err, SAEURON_EFORMAT,
                      "%s: \"_class_name\" is %.47s: models for this scheduler cannot be sampled by DDIM",
                      path, type);
    config_known(&c, read, ignored);
    config_only(&c, "beta_schedule", "\"scaled_linear\"");
    config_only(&c, "trained_betas", "null");
    config_only(&c, "thresholding", "false");
    config_only(&c, "rescale_betas_zero_snr", "false");
    config_only(&c, "use_flow_sigmas", "false");
    d->train_steps      = config_size(&c, "num_train_timesteps", 1000, 1000, 1000);
    d->set_alpha_to_one = config_bool(&c, "set_alpha_to_one", true);
    d->steps_offset     = (int)config_size(&c, "steps_offset", 0, 0, 1);
    if (config_has(&c, "steps_offset"))
        d->steps_offset = 1;
    config_bool(&c, "clip_sample", true);
    if (!c.code && !config_has(&c, "clip_sample"))
        c.code = fail(err, SAEURON_EFORMAT,
                      "%s: a %.47s without \"clip_sample\", where diffusers' DDIM would clip: add "
                      "\"clip_sample\": false",
                      path, type);
    config_string(&c, "timestep_spacing", "leading", type, sizeof type);
    d->spacing = !strcmp(type, "linspace") ? LINSPACE : !strcmp(type, "trailing") ? TRAILING : LEADING;
    if (!c.code && d->spacing == LEADING && strcmp(type, "leading"))
        c.code = fail(err, SAEURON_EFORMAT,
                      "%s: \"timestep_spacing\" is %.20s; leading, linspace and trailing are supported", path,
                      type);
    config_string(&c, "prediction_type", "epsilon", type, sizeof type);
    d->prediction = strcmp(type, "v_prediction") ? PREDICT_EPSILON : PREDICT_V;
    if (!c.code && d->prediction == PREDICT_EPSILON && strcmp(type, "epsilon"))
        c.code = fail(err, SAEURON_EFORMAT,
                      "%s: \"prediction_type\" is %.20s; epsilon and v_prediction are supported", path, type);
    if (!c.code && !config_has(&c, "beta_schedule"))
        c.code = fail(err, SAEURON_EFORMAT,
                      "%s: \"beta_schedule\" is missing; \"scaled_linear\" is supported", path);
    start = config_double(&c, "beta_start", 0.0001);
    end = config_double(&c, "beta_end", 0.02);
    if (!c.code && !(start > 0 && start <= end && end < 1))
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"beta_start\" and \"beta_end\" must rise between 0 and 1",
                      path);
    if (!c.code)
        scaled_linear(d->alphas_cumprod, d->train_steps, start, end);
    return c.code;
}

/* x >= 0 to the nearest whole number, ties to even   (numpy.round) */
static int round_even(double x)
{
    const int    whole = (int)x;
    const double rest = x - whole;
    return whole + (rest > 0.5 || (rest == 0.5 && whole % 2));
}

/* The timestep of step i of n, of N: numpy.linspace(0, N - 1, n) backwards, or numpy.arange(N, 0, -N / n)
 * less 1, each rounded from the double that numpy computes. */
static int linspace(size_t i, size_t n, size_t N)
{
    if (i == 0)
        return n == 1 ? 0 : (int)N - 1;
    return round_even((double)(n - 1 - i) * ((double)(N - 1) / (double)(n - 1)));
}
static int trailing(size_t i, size_t n, size_t N)
{
    const double delta = ((double)N - (double)N / (double)n) - (double)N;
    return round_even((double)N + (double)i * delta) - 1;
}

/* EQ 5: evenly spaced, the largest first */
int ddim_set_timesteps(ddim *d, size_t steps, saeuron_error *err)
{
    const size_t N = d->train_steps;
    if (steps < 1 || steps > N)
        return fail(err, SAEURON_EUSAGE, "steps must be from 1 to %zu", N);
    if (d->spacing == TRAILING && (double)N / ((double)N / (double)steps) > (double)steps)
        return fail(err, SAEURON_EUSAGE,
                    "%zu steps with timestep_spacing trailing: %zu / %zu is rounded, and diffusers goes on "
                    "to timestep -1: use another number of steps", steps, N, steps);
    d->steps = steps;
    for (size_t i = 0; i < steps; i++)
        d->timesteps[i] = d->spacing == LINSPACE ? linspace(i, steps, N)
                        : d->spacing == TRAILING ? trailing(i, steps, N)
                        : (int)((steps - 1 - i) * (N / steps)) + d->steps_offset;
    if ((size_t)d->timesteps[0] >= N) /* 1,000 steps, offset 1: diffusers fails, too */
        return fail(err, SAEURON_EUSAGE,
                    "%zu steps with steps_offset %d begin at timestep %d, past the last: use fewer steps",
                    steps, d->steps_offset, d->timesteps[0]);
    return SAEURON_OK;
}

/* EQ 8: x0 from x and e, then x at the next timestep from x0 and e */
void ddim_step(const ddim *d, float *x, const float *e, size_t i, size_t n)
{
    const int   t = d->timesteps[i], before = t - (int)(d->train_steps / d->steps);
    const float a = d->alphas_cumprod[t];
    const float final = d->set_alpha_to_one ? 1.0f : d->alphas_cumprod[0];
    const float p = before >= 0 ? d->alphas_cumprod[before] : final;
    const float sa = sqrtf(a), sb = sqrtf(1.0f - a), pa = sqrtf(p), pb = sqrtf(1.0f - p);
    for (size_t j = 0; j < n; j++) {
        float x0, noise;
        if (d->prediction == PREDICT_V) {
            x0    = sa * x[j] - sb * e[j];
            noise = sa * e[j] + sb * x[j];
        } else {
            x0    = (x[j] - sb * e[j]) / sa;
            noise = e[j];
        }
        x[j] = pa * x0 + pb * noise;
    }
}

void ddim_add_noise(const ddim *d, float *x, const float *x0, const float *noise, int t, size_t n)
{
    const double a = (double)d->alphas_cumprod[t];
    const float  signal = (float)sqrt(a), share = (float)sqrt(1 - a);
    for (size_t j = 0; j < n; j++)
        x[j] = signal * x0[j] + share * noise[j];
}

/* EQ 7: e = uncond + scale (cond - uncond) */
void guide(float *e, const float *uncond, const float *cond, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        e[i] = uncond[i] + scale * (cond[i] - uncond[i]);
}
