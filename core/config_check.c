/* What keys say together: which must be given, sizes that must divide each other, model names, and
 * the step counts that follow from epochs and steps. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_read.h"
#include "core/files.h"
#include "core/log.h"

enum { MICRO_BATCHES_MAX = 1 << 16, TOKENS_MAX = 1 << 20 };

static void check_required(struct config_reader *reader)
{
    for (int i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if ((key->flags & CONFIG_REQUIRED) != 0 && config_missing(reader, key->path))
            config_mistake(reader, config_node(reader, key->path), key->path, "missing: %s",
                           key->help);
    }
}

static void must_divide(struct config_reader *reader, const char *key, int whole, int part,
                        const char *part_name)
{
    if (whole > 0 && part > 0 && whole % part != 0)
        config_mistake(reader, config_node(reader, key), key, "%d is not a multiple of %s (%d)",
                       whole, part_name, part);
}

static void check_data(struct config_reader *reader)
{
    const struct config_data *data = &reader->config->data;
    must_divide(reader, "data.crop_size", data->crop_height, data->patch_size, "data.patch_size");
    if (data->crop_width != data->crop_height)
        must_divide(reader, "data.crop_size", data->crop_width, data->patch_size,
                    "data.patch_size");
    int most = 0;
    for (int i = 0; i < data->dataset_count; i++) {
        int frames = data->datasets[i].frames_per_clip;
        char key[64];
        (void)snprintf(key, sizeof key, "data.dataset_fpcs[%d]", i);
        if (frames % data->tubelet_size != 0)
            config_mistake(reader, config_node(reader, "data.dataset_fpcs"), key,
                           "%d is not a multiple of data.tubelet_size (%d)", frames,
                           data->tubelet_size);
        most = frames > most ? frames : most;
    }
    double tokens = (double)data->crop_height * data->crop_width * most /
                    ((double)data->patch_size * data->patch_size * data->tubelet_size);
    if (tokens > TOKENS_MAX)
        config_mistake(reader, config_node(reader, "data.crop_size"), "data.crop_size",
                       "a clip would have %.0f patches; allowed: %d", tokens, TOKENS_MAX);
    static const char *const fps = "data.fps";
    static const char *const frame_step = "data.frame_step";
    if (config_given(reader, fps) && config_given(reader, frame_step))
        config_mistake(reader, config_node(reader, fps), fps,
                       "stands beside data.frame_step; give one of them");
    if (config_missing(reader, fps) && config_missing(reader, frame_step))
        config_mistake(reader, config_node(reader, fps), fps,
                       "missing: give this (frames a second) or data.frame_step (1 is every "
                       "frame)");
    if (data->sampling == CONFIG_SAMPLING_TIMESTAMPS && config_missing(reader, fps))
        config_mistake(reader, config_node(reader, "data.sampling"), "data.sampling",
                       "`timestamps` needs data.fps: the times of a clip are 1 / fps apart");
    double micro_batches = (double)reader->config->nodes * reader->config->tasks_per_node;
    if (micro_batches > MICRO_BATCHES_MAX)
        config_mistake(reader, config_node(reader, "nodes"), "nodes",
                       "nodes x tasks_per_node is %.0f; allowed: at most %d", micro_batches,
                       MICRO_BATCHES_MAX);
    else
        reader->config->micro_batches = (int)micro_batches;
}

static const struct config_encoder *find_encoder(const char *name)
{
    for (int i = 0; i < config_encoder_count; i++)
        if (strcmp(config_encoders[i].name, name) == 0)
            return &config_encoders[i];
    return NULL;
}

static void report_model_name(struct config_reader *reader, const char *name)
{
    char known[256] = "custom";
    for (int i = 0; i < config_encoder_count; i++) {
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, ", %s", config_encoders[i].name);
    }
    config_mistake(reader, config_node(reader, "model.model_name"), "model.model_name",
                   "'%.60s' is not known; allowed: %s", name, known);
}

/* A named encoder fixes its dimensions; the keys may repeat them but not change them. */
static void take_encoder(struct config_reader *reader, const struct config_encoder *encoder)
{
    struct config_model *model = &reader->config->model;
    const struct {
        const char *key;
        double given, fixed;
    } dimensions[] = {
        {"model.embed_dim", model->embed_dim, encoder->embed_dim},
        {"model.depth", model->depth, encoder->depth},
        {"model.num_heads", model->num_heads, encoder->num_heads},
        {"model.mlp_ratio", model->mlp_ratio, encoder->mlp_ratio},
    };
    for (size_t i = 0; i < sizeof dimensions / sizeof *dimensions; i++)
        if (config_given(reader, dimensions[i].key) && dimensions[i].given != dimensions[i].fixed)
            config_mistake(reader, config_node(reader, dimensions[i].key), dimensions[i].key,
                           "%s has %.17g; write model_name: custom for other dimensions",
                           encoder->name, dimensions[i].fixed);
    model->embed_dim = encoder->embed_dim;
    model->depth = encoder->depth;
    model->num_heads = encoder->num_heads;
    model->mlp_ratio = encoder->mlp_ratio;
}

static bool check_heads(struct config_reader *reader, const char *dim_key, const char *heads_key,
                        int dim, int heads)
{
    if (dim < 1 || heads < 1)
        return false;
    const char *key = config_given(reader, dim_key) ? dim_key : heads_key;
    if (dim % heads != 0)
        config_mistake(reader, config_node(reader, key), key,
                       "a width of %d is not a multiple of %d heads", dim, heads);
    else if (dim / heads % 2 != 0)
        config_mistake(reader, config_node(reader, key), key,
                       "a width of %d over %d heads is %d a head, which must be even", dim, heads,
                       dim / heads);
    return dim % heads == 0 && dim / heads % 2 == 0;
}

static void check_model(struct config_reader *reader)
{
    struct config_model *model = &reader->config->model;
    static const char *const dimensions[] = {"model.embed_dim", "model.depth", "model.num_heads"};
    const struct config_encoder *encoder = find_encoder(model->model_name);
    if (encoder != NULL) {
        take_encoder(reader, encoder);
    } else if (strcmp(model->model_name, "custom") != 0) {
        report_model_name(reader, model->model_name);
        return;
    } else {
        bool named = config_given(reader, "model.model_name");
        for (int i = 0; i < 3; i++)
            if (config_missing(reader, dimensions[i]))
                config_mistake(reader, config_node(reader, dimensions[i]), dimensions[i],
                               "missing: a custom encoder needs it%s",
                               named ? "" : " (or give model.model_name)");
        if (!config_given(reader, "model.mlp_ratio"))
            model->mlp_ratio = 4.0;
    }
    bool right = check_heads(reader, "model.embed_dim", "model.num_heads", model->embed_dim,
                             model->num_heads);
    bool own_heads = config_given(reader, "model.pred_num_heads");
    if (!own_heads)
        model->pred_num_heads = model->num_heads;
    if (right || own_heads)
        (void)check_heads(reader, "model.pred_embed_dim", "model.pred_num_heads",
                          model->pred_embed_dim, model->pred_num_heads);
    model->num_mask_tokens = reader->config->mask_count * reader->config->data.dataset_count;
}

static void check_anneal(struct config_reader *reader)
{
    const struct config_optimization *optimization = &reader->config->optimization;
    bool checkpoint = optimization->anneal_ckpt != NULL;
    int node = config_node(reader, "optimization.anneal_ckpt");
    if (optimization->is_anneal && !checkpoint && !reader->goes_on)
        config_mistake(reader, node, "optimization.anneal_ckpt",
                       "missing: a cool-down (is_anneal: true) starts from a checkpoint");
    if (!optimization->is_anneal && checkpoint)
        config_mistake(reader, node, "optimization.anneal_ckpt",
                       "has no meaning without is_anneal: true; to start from a checkpoint give "
                       "meta.read_checkpoint");
    if (!optimization->is_anneal)
        return;
    if (!reader->config->meta.load_checkpoint)
        config_mistake(reader, config_node(reader, "meta.load_checkpoint"), "meta.load_checkpoint",
                       "false, but a cool-down (is_anneal: true) starts from a checkpoint");
    if (optimization->warmup > 0 || optimization->warmup_steps > 0)
        config_mistake(reader, config_node(reader, "optimization.warmup"), "optimization.warmup",
                       "a cool-down (is_anneal: true) has no warm-up; allowed: 0");
}

/* warmup in epochs such that int(warmup * ipe) is `steps`: what the dump writes. */
static double warmup_epochs(int64_t steps, int ipe)
{
    double epochs = (double)steps / ipe;
    while ((int64_t)(epochs * ipe) < steps)
        epochs = nextafter(epochs, INFINITY);
    return epochs;
}

const char *config_resolve_steps(struct config_optimization *o)
{
    if (o->total_steps > 0) { /* `steps` was given: epochs follow, the last one may be short */
        int64_t epochs = (o->total_steps + o->ipe - 1) / o->ipe;
        if (o->epochs > 0 && o->epochs != epochs)
            return "epochs, ipe and steps do not fit together; give epochs and ipe, or steps";
        o->epochs = (int)epochs;
    } else {
        o->total_steps = (int64_t)o->epochs * o->ipe;
    }
    if (o->total_steps > (int64_t)1 << 39)
        return "the run has more than 2^39 steps";
    if (o->warmup_steps > 0) {
        if (o->warmup > 0 && (int64_t)(o->warmup * o->ipe) != o->warmup_steps)
            return "warmup and warmup_steps do not fit together; give one of them";
        o->warmup = warmup_epochs(o->warmup_steps, o->ipe);
    } else {
        o->warmup_steps = (int64_t)(o->warmup * o->ipe);
    }
    double horizon = o->total_steps == (int64_t)o->epochs * o->ipe
                         ? o->ipe_scale * o->epochs * o->ipe /* in the public code's order */
                         : o->ipe_scale * (double)o->total_steps;
    o->schedule_steps = (int64_t)horizon > 1 ? (int64_t)horizon : 1;
    return NULL;
}

static void check_schedule(struct config_reader *reader)
{
    struct config_optimization *o = &reader->config->optimization;
    static const char *const epochs = "optimization.epochs";
    static const char *const warmup = "optimization.warmup";
    bool steps_given = config_given(reader, "optimization.steps");
    if (config_missing(reader, "optimization.steps") && config_missing(reader, epochs))
        config_mistake(reader, config_node(reader, epochs), epochs,
                       "missing: give this (epochs of optimization.ipe steps) or "
                       "optimization.steps");
    if (config_missing(reader, warmup) && config_missing(reader, "optimization.warmup_steps") &&
        !o->is_anneal)
        config_mistake(reader, config_node(reader, warmup), warmup,
                       "missing: give this (epochs) or optimization.warmup_steps; 0 for none");
    if (o->ipe == 0 && steps_given)
        o->ipe = (int)o->total_steps;
    if (reader->mistake_count > 0 || o->ipe == 0)
        return;
    const char *problem = config_resolve_steps(o);
    if (problem != NULL)
        config_mistake(reader, config_node(reader, epochs), epochs, "%s", problem);
}

ls_status config_check(struct config_reader *reader)
{
    check_required(reader);
    check_data(reader);
    check_model(reader);
    check_anneal(reader);
    check_schedule(reader);
    config_check_slurm(reader);
    return reader->no_memory ? LS_FAIL(LS_NOMEM, "out of memory for a config") : LS_OK;
}

void config_warn(const struct config *config)
{
    const struct config_optimization *o = &config->optimization;
    if (o->total_steps == 0)
        return;
    if (!o->is_anneal && o->warmup_steps > o->total_steps)
        log_warn("config=%s optimization.warmup: the warm-up of %lld steps is longer than the run "
                 "of %lld: the learning rate never reaches lr",
                 config->source, (long long)o->warmup_steps, (long long)o->total_steps);
    bool changes =
        o->final_lr != o->lr || o->final_weight_decay != o->weight_decay || o->ema[0] != o->ema[1];
    if (changes && o->schedule_steps != o->total_steps)
        log_warn("config=%s optimization.ipe_scale: the schedules end at step %lld, the run at "
                 "%lld: it does not stop at final_lr, final_weight_decay or the last ema",
                 config->source, (long long)o->schedule_steps, (long long)o->total_steps);
}
