/* drawing.c: the pictures of one list after another: drawn or found, and judged (drawing.h).
 *
 *   places, seeds --draw--> pixels --save_image--> images/LIST/PAIR/SEED-PLACE.png
 *             --list_load, judge--> answers, features
 *
 * Not here: which lists there are (eval.c, sweep.c), what is counted on them (protocol.c, metrics.c), how an
 * image is sampled (saeuron.c). */
#include "evaluation/drawing.h"
#include "arithmetic/rng.h"
#include "evaluation/frechet.h"
#include "files/decimal.h"
#include "files/png.h"
#include "files/print.h"
#include "forget.h"

#include <inttypes.h>
#include <string.h>

void tell_next(const tally *s, size_t now)
{
    if (s->watch->next)
        s->watch->next(s->watch->user, s->done, now, s->images);
}

/* Tells the host's progress, now and then; it may stop the run. */
static int tell(const saeuron_context *x, const char *stage, size_t done, size_t total, saeuron_error *err)
{
    if (!x->host.progress || !done || (done % 64 && done != total) ||
        !x->host.progress(x->host.user, stage, done, total))
        return SAEURON_OK;
    return fail(err, SAEURON_ECANCEL, "stopped while %s; the same command goes on from here", stage);
}

/* ---- the maker ---- */

static bool allocate(maker *m)
{
    const saeuron_host *host = &m->x->host;
    size_t texts, latents, pixels;
    if (!nn_mul(m->batch, m->text, &texts) || !nn_mul(m->batch, m->latent, &latents) ||
        !nn_mul(m->batch, m->W * m->H * 3, &pixels))
        return false;
    m->negative = io_alloc(host, m->text, sizeof *m->negative);
    m->batch_embeds = io_alloc(host, texts, sizeof *m->batch_embeds);
    m->noise = io_alloc(host, latents, sizeof *m->noise);
    m->rgb = io_alloc(host, pixels, 1);
    m->prompts = io_alloc(host, m->batch, sizeof *m->prompts);
    m->embeds = io_alloc(host, m->p->entries, sizeof *m->embeds);
    if (m->embeds)
        memset(m->embeds, 0, m->p->entries * sizeof *m->embeds);
    return m->embeds && m->negative && m->batch_embeds && m->noise && m->rgb && m->prompts;
}

int maker_open(maker *m, saeuron_context *x, const protocol *p, saeuron_classifier *const k[DOMAINS],
               const saeuron_generate_options *options, saeuron_error *err)
{
    const char *negative = options->negative_prompt;
    int code;
    *m = (maker){ .model = x, .x = x, .p = p, .k = k, .options = *options,
                  .digest = saeuron_model_digest(x), .without = { .host = &x->host } };
    m->drawn_by = m->digest;
    m->options.noise_index = 0;
    if ((code = saeuron_image_size(x, options, &m->W, &m->H, err)) != SAEURON_OK)
        return code;
    m->latent = x->unet.in_channels * (m->W * m->H >> 2 * (x->vae.levels - 1));
    m->text = saeuron_text_length(x) * saeuron_text_width(x);
    m->batch = options->batch ? options->batch : usual_batch(x, m->W, m->H);
    if (m->latent % 16)
        return fail(err, SAEURON_EUSAGE,
                    "a latent of %zu values is no multiple of 16, torch.randn's block: choose another size",
                    m->latent);
    if (m->batch > 1024)
        return fail(err, SAEURON_EUSAGE, "the batch must be at most 1024 images");
    if (!allocate(m))
        code = fail(err, SAEURON_ENOMEM, "no memory for %zu images at a time: try a smaller batch", m->batch);
    else
        code = saeuron_encode_text(x, negative ? negative : "", m->negative, err);
    if (code)
        maker_close(m);
    return code;
}

/* What was encoded so far is dropped: another text encoder, another edit. */
static void drop_embeds(maker *m)
{
    for (size_t i = 0; m->embeds && i < m->p->entries; i++) {
        io_free(&m->model->host, m->embeds[i]);
        m->embeds[i] = NULL;
    }
}

void maker_close(maker *m)
{
    const saeuron_host *host = &m->model->host;
    if (m->x != m->model)
        saeuron_close(m->x);
    m->x = m->model;
    text_free(&m->without);
    drop_embeds(m);
    io_free(host, m->embeds);
    io_free(host, m->negative);
    io_free(host, m->batch_embeds);
    io_free(host, m->noise);
    io_free(host, m->rgb);
    io_free(host, (void *)m->prompts);
    m->embeds = NULL;
}

int edited_text(saeuron_context *x, const text_editor *editor, const char *prompt, float *states,
                saeuron_error *err)
{
    const int code = saeuron_encode_text(x, prompt, states, err);
    return !code && editor ? editor->edit(editor->user, prompt, states, err) : code;
}

/* What edits the texts of the list that was entered, or NULL. */
static const text_editor *editor_of(const maker *m) { return m->without.n ? m->by.editor : NULL; }

/* The text states of a place, encoded when it is first drawn. */
static int embed(maker *m, size_t place, const float **states, saeuron_error *err)
{
    float **at = &m->embeds[place];
    int     code = SAEURON_OK;
    if (!*at) {
        if (!(*at = io_alloc(&m->model->host, m->text, sizeof **at)))
            return fail(err, SAEURON_ENOMEM, "no memory for the texts of a protocol");
        if ((code = edited_text(m->x, editor_of(m), m->p->entry[place].prompt, *at, err)) != SAEURON_OK) {
            io_free(&m->model->host, *at);
            *at = NULL;
        }
    }
    *states = *at;
    return code;
}

/* Draws count <= batch images into m->rgb. Image (seed, place) starts from elements [place * C h w, ...) of
 * torch.randn(seed): it depends on no batch, shard or list. */
static int draw(maker *m, const size_t *jobs, size_t count, saeuron_error *err)
{
    saeuron_generate_options g = m->options;
    for (size_t i = 0; i < count; i++) {
        const size_t place = jobs[i] % m->p->entries;
        const uint64_t seed = m->p->seed[jobs[i] / m->p->entries];
        const float *states = NULL;
        const int code = embed(m, place, &states, err);
        if (code)
            return code;
        memcpy(m->batch_embeds + i * m->text, states, m->text * sizeof *states);
        if (!rng_randn(m->noise + i * m->latent, seed, (place + 1) * m->latent, place * m->latent, m->latent))
            return fail(err, SAEURON_EUSAGE,
                        "an image of %zu latent values is too small for torch.randn's stream", m->latent);
        m->prompts[i] = m->p->entry[place].prompt;
    }
    g.prompts = m->prompts;
    g.count = count;
    g.prompt_embeds = m->batch_embeds;
    g.negative_prompt_embeds = m->negative;
    g.noise = m->noise;
    return saeuron_generate(m->x, &g, m->rgb, err);
}

/* What one picture is drawn by; *prompt stays the caller's. */
static saeuron_generate_options one_picture(const maker *m, const char *const *prompt, uint64_t seed,
                                            uint64_t noise_index)
{
    saeuron_generate_options g = m->options;
    g.prompts = prompt;
    g.count = 1;
    g.seed = seed;
    g.noise_index = noise_index;
    return g;
}

int maker_describe(const maker *m, picture *said, const char *prompt, uint64_t seed, uint64_t noise_index,
                   saeuron_error *err)
{
    const saeuron_generate_options g = one_picture(m, &prompt, seed, noise_index);
    const char *const also[] = { "forget", m->without.at, NULL };
    return picture_describe(said, m->x, &g, 0, m->W, m->H, m->drawn_by, editor_of(m) ? also : NULL, err);
}

/* What the file of an image must say of it. */
static int describe(const maker *m, picture *said, size_t job, saeuron_error *err)
{
    const size_t place = job % m->p->entries;
    return maker_describe(m, said, m->p->entry[place].prompt, m->p->seed[job / m->p->entries], place, err);
}

/* ---- lists ---- */

/* Whether the other domain has a concept of this name, too. */
static bool is_shared(const protocol *p, int d, uint32_t concept)
{
    return concept_find(&p->label[other_domain(d)], p->label[d].name[concept]) != NO_LABEL;
}

/* "Mosaic", "Mosaic+Cats", "none". */
static bool name_list(image_list *l, const protocol *p)
{
    size_t n = 0;
    for (int d = 0; d < DOMAINS; d++)
        for (uint32_t c = 0; c < p->label[d].count && n < sizeof l->name; c++)
            if (l->what.has[d][c])
                n += print_into(l->name + n, sizeof l->name - n, "%s%s%s%s", n ? "+" : "",
                                p->label[d].name[c], is_shared(p, d, c) ? "." : "",
                                is_shared(p, d, c) ? domain_names[d] : "");
    if (!n)
        print_into(l->name, sizeof l->name, "none");
    return n < sizeof l->name;
}

int list_open(image_list *l, const protocol *p, const char *dir, const forgotten *what, saeuron_error *err)
{
    const size_t n = p->seeds * p->entries;
    memset(l, 0, sizeof *l);
    l->dir = dir;
    l->what = *what;
    l->forget.host = p->host;
    if (!name_list(l, p))
        return fail(err, SAEURON_EUSAGE, "%.80s...: so many concepts together are too long for a name",
                    l->name);
    l->wanted = io_alloc(p->host, 4 * n, sizeof *l->wanted);
    l->made = io_alloc(p->host, n, sizeof *l->made);
    if (!l->wanted || !l->made) {
        list_close(l, p);
        return fail(err, SAEURON_ENOMEM, "no memory for a list of %zu images", n);
    }
    memset(l->wanted, 0, 4 * n * sizeof *l->wanted);
    l->there = l->wanted + n;
    for (int d = 0; d < DOMAINS; d++) {
        l->like[d] = l->wanted + (2 + (size_t)d) * n;
        places_like(l->like[d], p, d, what);
    }
    for (size_t i = 0; i < n; i++) {
        for (int d = 0; d < DOMAINS; d++)
            l->like[d][i] = l->like[d][i % p->entries];
        l->made[i] = (prediction){ .label = { NO_LABEL, NO_LABEL } };
    }
    return SAEURON_OK;
}

void list_close(image_list *l, const protocol *p)
{
    io_free(p->host, l->wanted);
    io_free(p->host, l->made);
    text_free(&l->forget);
    l->wanted = NULL;
    l->made = NULL;
    list_drop_features(l, p);
}

int list_keep_features(image_list *l, const maker *m, int d, saeuron_error *err)
{
    const size_t n = m->p->seeds * m->p->entries;
    l->width[d] = classifier_width(m->k[d]);
    l->features[d] = io_alloc(m->p->host, n, l->width[d] * sizeof *l->features[d]);
    return l->features[d] ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for the features of %zu images",
                                              n);
}

void list_drop_features(image_list *l, const protocol *p)
{
    for (int d = 0; d < DOMAINS; d++) {
        io_free(p->host, l->features[d]);
        l->features[d] = NULL;
    }
}

/* The pair that the concept is forgotten by, as a folder's name; of several the digest of all they say. */
static void name_pair(image_list *l, const saeuron_context *x)
{
    size_t pairs = 0;
    for (size_t i = 0; i < x->hooks; i++)
        for (size_t j = 0; j < x->hook[i]->count; j++, pairs++)
            describe_choice(l->pair, &x->hook[i]->forget[j].how);
    if (pairs > 1)
        print_into(l->pair, sizeof l->pair, "pairs_%016" PRIx64, nn_hash(0, l->forget.at, l->forget.n));
    for (char *at = l->pair; *at; at++)
        if (*at == ' ')
            *at = '_';
}

/* Opens the rival RIVALS/NAME of the list, or goes back to the model where it forgets nothing. */
static int enter_rival(const image_list *l, maker *m, saeuron_error *err)
{
    const bool forgets = forgotten_any(&l->what, STYLE) || forgotten_any(&l->what, OBJECT);
    saeuron_context *x = m->model;
    char   path[1024];
    size_t W = 0, H = 0;
    int    code = SAEURON_OK;
    if (m->x != m->model)
        saeuron_close(m->x);
    m->x = m->model;
    m->drawn_by = m->digest;
    if (forgets && !io_join(path, sizeof path, m->by.rivals, l->name))
        code = fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", m->by.rivals);
    if (!code && forgets)
        code = saeuron_open(&x, &m->model->host, path, err);
    if (code)
        return code;
    m->x = x;
    if (saeuron_image_size(x, &m->options, &W, &H, NULL) || W != m->W || H != m->H ||
        x->unet.in_channels != m->model->unet.in_channels ||
        saeuron_text_length(x) * saeuron_text_width(x) != m->text)
        return fail(err, SAEURON_EFORMAT, "%s: is not of the model in %.300s: its texts or latents have "
                    "other sizes", path, m->model->dir);
    m->drawn_by = forgets ? saeuron_model_digest(x) : m->digest;
    drop_embeds(m);
    return saeuron_encode_text(x, m->options.negative_prompt ? m->options.negative_prompt : "", m->negative,
                               err);
}

/* The names of what the list forgets become the negative prompt; "" where it forgets nothing. */
static int enter_negative(maker *m, const concept_texts *t, saeuron_error *err)
{
    text_add(&m->without, "%s", "");
    join_texts(&m->without, t);
    if (m->without.failed)
        return fail(err, SAEURON_ENOMEM, "no memory for a negative prompt");
    m->options.negative_prompt = m->without.at;
    return saeuron_encode_text(m->x, m->without.at, m->negative, err);
}

/* The editor forgets what the list forgets. */
static int enter_editor(const image_list *l, maker *m, const concept_texts *t, saeuron_error *err)
{
    const text_editor *editor = m->by.editor;
    drop_embeds(m);
    const int code = t->erased ? editor->forget(editor->user, m->p, &l->what, t, &m->without, err)
                               : SAEURON_OK;
    return !code && m->without.failed ? fail(err, SAEURON_ENOMEM, "no memory for what is forgotten") : code;
}

/* What is forgotten by its name alone. */
static int enter_texts(const image_list *l, maker *m, saeuron_error *err)
{
    concept_texts t;
    int code = name_texts(&t, m->p, &l->what, err);
    text_free(&m->without);
    if (!code)
        code = m->by.negative ? enter_negative(m, &t, err) : enter_editor(l, m, &t, err);
    free_texts(&t, m->p->host);
    return code;
}

/* Makes the SAEs at the hooks forget. */
static int enter_forgetting(const image_list *l, maker *m, const saeuron_forget_options *how,
                            saeuron_error *err)
{
    saeuron_forget_options f = { 0 };
    char hook[96];
    int  code = SAEURON_OK;
    if (how)
        f = *how;
    for (int d = 0; d < DOMAINS; d++)
        for (uint32_t c = 0; c < m->p->label[d].count && !code; c++)
            if (l->what.has[d][c]) {
                f.name = m->p->label[d].name[c];
                f.hook = is_shared(m->p, d, c) ? hook : NULL;
                if (f.hook && !domain_hook(m->x, domain_names[d], hook))
                    code = fail(err, SAEURON_EFORMAT, "%.80s is a style and an object: \"domains\" in "
                                "%.300s/concepts.json must give the \"hook\" of both", f.name, m->x->dir);
                else
                    code = saeuron_forget(m->x, &f, err);
            }
    return code;
}

const char *means_name(const means *by)
{
    const size_t folder = by->rivals ? io_folder(by->rivals) : 0;
    return by->negative ? "negative" : by->editor ? by->editor->name
         : folder && by->rivals[folder] ? by->rivals + folder : by->rivals;
}

/* Notes in the list what is forgotten now, and how. */
static int note_forgetting(image_list *l, const maker *m, saeuron_error *err)
{
    const bool forgets = strcmp(l->name, "none") != 0;
    picture said;
    const int code = describe(m, &said, 0, err);
    if (code)
        return code;
    text_free(&l->forget);
    if (m->by.rivals && forgets)
        text_add(&l->forget, "%s model %016" PRIx64, means_name(&m->by), m->drawn_by);
    else if (m->without.n)
        text_add(&l->forget, "%s%s", m->by.negative ? "negative prompt " : "", m->without.at);
    else
        text_add(&l->forget, "%s", said.forget);
    picture_free(&said, m->x);
    if (l->forget.failed)
        return fail(err, SAEURON_ENOMEM, "no memory for what is forgotten");
    if (!means_name(&m->by))
        name_pair(l, m->x);
    else
        print_into(l->pair, sizeof l->pair, "%.190s", forgets ? means_name(&m->by) : "");
    return SAEURON_OK;
}

int list_enter(image_list *l, maker *m, const saeuron_forget_options *how, saeuron_error *err)
{
    saeuron_generate_options g = m->options;
    size_t work, weights;
    int    code;
    rest_hooks(m->model);
    code = m->by.rivals ? enter_rival(l, m, err)
         : m->by.negative || m->by.editor ? enter_texts(l, m, err) : enter_forgetting(l, m, how, err);
    g.prompts = (const char *const *)&m->p->entry[0].prompt;
    g.count = 1;
    if (!code)
        code = saeuron_memory(m->x, &g, &work, &weights, err); /* refuses what saeuron_generate would */
    return code ? code : note_forgetting(l, m, err);
}

bool statistics_seed(const saeuron_context *x, uint64_t *seed)
{
    char text[32];
    json v;
    for (size_t i = 0; i < x->hooks; i++)
        if (x->hook[i]->count && json_get(x->hook[i]->stats.file.metadata, "seed", &v) &&
            json_string(v, text, sizeof text, NULL) && io_parse_uint(text, seed))
            return true;
    return false;
}

/* AUDIT A22: the released statistics and the released test share seed 188, so that some test images start
 * from noise that the statistics have seen. A protocol that wants them disjoint refuses. */
int refuse_overlap(const saeuron_context *x, const protocol *p, bool overlap, saeuron_error *err)
{
    uint64_t seed;
    if (!p->disjoint || overlap || !statistics_seed(x, &seed))
        return SAEURON_OK;
    for (size_t i = 0; i < p->seeds; i++)
        if (p->seed[i] == seed)
            return fail(err, SAEURON_EUSAGE, "the statistics were made with seed %" PRIu64 ", which is a "
                        "test seed of protocol %s: make them with another, name other seeds, or allow the "
                        "overlap", seed, p->name);
    return SAEURON_OK;
}

/* ---- a list's files ---- */

static int path_fits(size_t n, const image_list *l, saeuron_error *err)
{
    if (n < 1024)
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", l->dir);
}

static int folder_path(char path[1024], const image_list *l, saeuron_error *err)
{
    const size_t n = print_into(path, 1024, "%s/images/%s%s%s", l->dir, l->name, *l->pair ? "/" : "",
                                l->pair);
    return path_fits(n, l, err);
}

static int image_path(char path[1024], const image_list *l, const protocol *p, size_t job, saeuron_error *err)
{
    const int code = folder_path(path, l, err);
    if (code)
        return code;
    const size_t at = strlen(path);
    return path_fits(at + print_into(path + at, 1024 - at, "/%" PRIu64 "-%05zu.png",
                                     p->seed[job / p->entries], job % p->entries), l, err);
}

int list_load(const image_list *l, const maker *m, size_t job, unsigned char **rgb, saeuron_error *err)
{
    char    path[1024];
    picture said;
    int     code = image_path(path, l, m->p, job, err);
    if (code || (code = describe(m, &said, job, err)) != SAEURON_OK)
        return code;
    code = picture_load(&said, &m->x->host, path, m->W, m->H, rgb, err);
    picture_free(&said, m->x);
    return code;
}

/* Saves image number i of the batch drawn last. */
static int save_image(const image_list *l, const maker *m, size_t job, size_t i, saeuron_error *err)
{
    char    path[1024];
    picture said;
    int     code = image_path(path, l, m->p, job, err);
    if (code || (code = describe(m, &said, job, err)) != SAEURON_OK)
        return code;
    code = png_save(&m->x->host, path, m->rgb + i * m->W * m->H * 3, m->W, m->H, said.texts, err);
    picture_free(&said, m->x);
    return code;
}

int list_check(image_list *l, maker *m, saeuron_error *err)
{
    const size_t n = m->p->seeds * m->p->entries;
    char path[1024];
    int  code = SAEURON_OK;
    for (size_t j = 0; j < n && !code; j++) {
        unsigned char *rgb = NULL;
        l->there[j] = false;
        if (!l->wanted[j] || (code = image_path(path, l, m->p, j, err)) != SAEURON_OK ||
            !io_exists(&m->x->host, path))
            continue;
        code = list_load(l, m, j, &rgb, err);
        io_free(&m->x->host, rgb);
        l->there[j] = !code;
        if (!code)
            code = tell(m->x, "checking", j + 1, n, err);
    }
    return code;
}

/* ---- answers ---- */

void answer(prediction *out, int d, const float *logits, float *scratch, size_t count, size_t classes)
{
    nn reference = { .kernels = &nn_reference, .threads = 1 };
    for (size_t i = 0; i < count; i++) {
        const float *z = logits + i * classes;
        uint32_t best = 0;
        for (uint32_t c = 1; c < classes; c++)
            if (z[c] > z[best])
                best = c;
        nn_softmax(&reference, scratch, z, 1, classes);
        out[i].label[d] = best;
        out[i].probability[d] = scratch[best];
    }
}

/* Logits [count,classes] of judge d; the features of these jobs into the list, where they are kept. */
static int ask(image_list *l, const maker *m, int d, const unsigned char *rgb, const size_t *jobs,
               size_t count, float *logits, saeuron_error *err)
{
    const size_t n = l->width[d];
    float *of_jobs = l->features[d], *features = of_jobs ? io_alloc(&m->x->host, count, n * sizeof *features)
                                                         : NULL;
    int code = SAEURON_OK;
    if (of_jobs && !features)
        code = fail(err, SAEURON_ENOMEM, "no memory for the features of %zu images", count);
    if (!code)
        code = classifier_judge(m->k[d], rgb, count, m->W, m->H, logits, features, err);
    for (size_t i = 0; features && i < count && !code; i++)
        memcpy(of_jobs + jobs[i] * n, features + i * n, n * sizeof *features);
    io_free(&m->x->host, features);
    return code;
}

/* Answers of both classifiers to rgb [count,H,W,3], the images of these jobs. */
static int judge(image_list *l, const maker *m, const unsigned char *rgb, const size_t *jobs, size_t count,
                 saeuron_error *err)
{
    const saeuron_host *host = &m->x->host;
    prediction *made = io_alloc(host, count, sizeof *made);
    int code = made ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for %zu answers", count);
    for (int d = 0; d < DOMAINS && !code; d++) {
        const size_t classes = saeuron_classes(m->k[d]);
        float *logits = io_alloc(host, (count + 1) * classes, sizeof *logits); /* and one row of scratch */
        code = logits ? ask(l, m, d, rgb, jobs, count, logits, err)
                      : fail(err, SAEURON_ENOMEM, "no memory for %zu answers", count);
        if (!code)
            answer(made, d, logits, logits + count * classes, count, classes);
        io_free(host, logits);
    }
    for (size_t i = 0; i < count && !code; i++)
        l->made[jobs[i]] = made[i];
    io_free(host, made);
    return code;
}

int list_classify(image_list *l, maker *m, saeuron_error *err)
{
    enum { AT_ONCE = 16 };
    const size_t n = m->p->seeds * m->p->entries, pixels = m->W * m->H * 3;
    unsigned char *rgb = io_alloc(&m->x->host, AT_ONCE, pixels), *one = NULL;
    size_t jobs[AT_ONCE], count = 0;
    int    code = rgb ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for %d images", AT_ONCE);
    for (size_t j = 0; j < n && !code; j++) {
        if (l->wanted[j] && l->there[j] && (code = list_load(l, m, j, &one, err)) == SAEURON_OK) {
            memcpy(rgb + count * pixels, one, pixels);
            io_free(&m->x->host, one);
            jobs[count++] = j;
        }
        if (!code && count && (count == AT_ONCE || j + 1 == n)) {
            code = judge(l, m, rgb, jobs, count, err);
            count = 0;
        }
    }
    io_free(&m->x->host, rgb);
    return code;
}

int maker_judge(const maker *m, const unsigned char *rgb, prediction *made, saeuron_error *err)
{
    const size_t one = 0;
    image_list alone = { .made = made };
    return judge(&alone, m, rgb, &one, 1, err);
}

int maker_draw(maker *m, const char *prompt, uint64_t seed, uint64_t noise_index, saeuron_error *err)
{
    saeuron_generate_options g = one_picture(m, &prompt, seed, noise_index);
    const int code = edited_text(m->x, editor_of(m), prompt, m->batch_embeds, err);
    g.prompt_embeds = m->batch_embeds;
    g.negative_prompt_embeds = m->negative;
    return code ? code : saeuron_generate(m->x, &g, m->rgb, err);
}

/* ---- drawing a list ---- */

/* One batch: drawn, then saved, or judged where none is kept. */
static int draw_batch(image_list *l, maker *m, const size_t *jobs, size_t count, saeuron_error *err)
{
    int code = draw(m, jobs, count, err);
    if (!code && !l->dir)
        code = judge(l, m, m->rgb, jobs, count, err);
    for (size_t i = 0; i < count && !code; i++) {
        if (l->dir)
            code = save_image(l, m, jobs[i], i, err);
        l->there[jobs[i]] = !code;
    }
    return code;
}

int list_draw(image_list *l, maker *m, const bool *mine, tally *s, saeuron_error *err)
{
    const size_t n = m->p->seeds * m->p->entries;
    size_t *jobs = io_alloc(&m->x->host, m->batch, sizeof *jobs), count = 0;
    char    path[1024];
    bool    folder = false;
    int     code = jobs ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for a batch");
    for (size_t j = 0; j <= n && !code; j++) {
        if (j < n && l->wanted[j] && !l->there[j] && (!mine || mine[j]))
            jobs[count++] = j;
        if (!count || (j < n && count < m->batch))
            continue;
        if (l->dir && !folder && (code = folder_path(path, l, err)) == SAEURON_OK)
            folder = (code = io_make_dir(path, err)) == SAEURON_OK;
        if (code)
            break;
        tell_next(s, count);
        code = draw_batch(l, m, jobs, count, err);
        s->done += count;
        count = 0;
    }
    io_free(&m->x->host, jobs);
    return code;
}

/* ---- counting a list ---- */

/* The features of the jobs that are among [jobs], row after row into out (NULL: only counted); how many. */
static size_t gather(float *out, const float *features, size_t width, const bool *among, size_t jobs)
{
    size_t n = 0;
    for (size_t j = 0; j < jobs; j++)
        if (among[j]) {
            if (out)
                memcpy(out + n * width, features + j * width, width * sizeof *out);
            n++;
        }
    return n;
}

/* list_measure's distance. */
static int measure_distance(double *out, const image_list *l, int domain, const image_list *made,
                            const image_list *none, const protocol *p, saeuron_error *err)
{
    const int    d = other_domain(domain);
    const size_t jobs = p->seeds * p->entries, width = none->width[d];
    const bool  *like = l->like[domain];
    bool  *own = io_alloc(p->host, jobs, sizeof *own);
    for (size_t j = 0; own && j < jobs; j++)
        own[j] = l->wanted[j] && place_is_own(&p->entry[j % p->entries], domain, &l->what);
    const size_t n = own ? gather(NULL, NULL, 0, own, jobs) : 0, m = gather(NULL, NULL, 0, like, jobs);
    const bool   enough = made->features[d] && none->features[d] && n > 1 && m > 1;
    float *x = enough ? io_alloc(p->host, n + m, width * sizeof *x) : NULL;
    int    code = SAEURON_OK;
    *out = -1;
    if (!own || (enough && !x))
        code = fail(err, SAEURON_ENOMEM, "no memory to compare %zu pictures with %zu", n, m);
    if (x) {
        gather(x, made->features[d], width, own, jobs);
        gather(x + n * width, none->features[d], width, like, jobs);
        code = frechet_distance(out, p->host, x, n, x + n * width, m, width, err);
    }
    io_free(p->host, x);
    io_free(p->host, own);
    return code;
}

int list_measure(figures *out, const image_list *l, int domain, const image_list *made,
                 const image_list *none, const protocol *p, saeuron_error *err)
{
    int code = measure_distance(&out->distance, l, domain, made, none, p, err);
    for (int m = 0; m < METRICS && !code; m++) {
        const rule *r = &p->rules[domain][m];
        code = rate_rule(&out->at[m], p, r, domain, &l->what, made->made, l->wanted, err);
        if (!code && m == UA && out->at[m].images)
            out->at[m] = rate_opposite(out->at[m]);
    }
    return code;
}
