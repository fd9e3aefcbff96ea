/* The result as one JSON file (docs/formats.md), written whole. */
#include <cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/files.h"
#include "core/log.h"
#include "worker/prober.h"

enum { TOP = 5, FORMAT_VERSION = 1 };

/* A number, or null for one that is none. */
static void add_number(cJSON *to, const char *name, double value)
{
    if (isfinite(value))
        (void)cJSON_AddNumberToObject(to, name, value);
    else
        (void)cJSON_AddNullToObject(to, name);
}

static void add_split(cJSON *root, const char *name, const struct prober_split *split, int64_t bad)
{
    cJSON *to = cJSON_AddObjectToObject(root, name);
    (void)cJSON_AddStringToObject(to, "dataset", dataset_path(split->dataset));
    (void)cJSON_AddNumberToObject(to, "videos", (double)split->videos);
    (void)cJSON_AddNumberToObject(to, "unreadable", (double)bad);
}

static void add_budget(cJSON *root, const struct prober *prober)
{
    const struct config_probe *config = prober->config;
    cJSON *to = cJSON_AddObjectToObject(root, "budget");
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"epochs", config->epochs},
        {"steps", (double)prober->steps},
        {"batch_size", (double)config->base.data.batch_size * config->base.micro_batches},
        {"segments", config->segments},
        {"views", config->views},
        {"frames_per_clip", config->frames_per_clip},
        {"resolution", config->resolution},
        {"probe_blocks", config->pool_blocks},
        {"probe_heads", config->pool_heads},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)cJSON_AddNumberToObject(to, numbers[i].name, numbers[i].value);
    (void)cJSON_AddBoolToObject(to, "augment", config->augment);
}

static int best_head(const struct prober *prober)
{
    const struct prober_head_result *heads = prober->result.heads;
    int best = 0;
    for (int h = 1; h < prober->config->head_count; h++)
        if (heads[h].top1 > heads[best].top1 || isnan(heads[best].top1))
            best = h;
    return best;
}

static void add_heads(cJSON *root, const struct prober *prober)
{
    cJSON *list = cJSON_AddArrayToObject(root, "heads");
    for (int h = 0; h < prober->config->head_count; h++) {
        const struct prober_head_result *head = &prober->result.heads[h];
        cJSON *to = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(list, to);
        add_number(to, "lr", prober->config->heads[h].lr);
        add_number(to, "weight_decay", prober->config->heads[h].weight_decay);
        add_number(to, "train_loss", head->train_loss);
        add_number(to, "train_top1", head->train_top1);
        add_number(to, "top1", head->top1);
        add_number(to, "top5", prober->classes > TOP ? head->top5 : NAN);
    }
}

/* Figures of the best head, class by class. */
static void add_classes(cJSON *root, const struct prober *prober, const double *confusion)
{
    const int64_t classes = prober->classes;
    cJSON *list = cJSON_AddArrayToObject(root, "per_class");
    cJSON *matrix = cJSON_AddArrayToObject(root, "confusion");
    for (int64_t c = 0; c < classes; c++) {
        double videos = 0.0;
        cJSON *to = cJSON_CreateObject();
        for (int64_t p = 0; p < classes; p++)
            videos += confusion[c * classes + p];
        (void)cJSON_AddItemToArray(list, to);
        (void)cJSON_AddNumberToObject(to, "label", (double)c);
        (void)cJSON_AddNumberToObject(to, "videos", videos);
        add_number(to, "top1", videos > 0.0 ? confusion[c * classes + c] / videos : NAN);
        (void)cJSON_AddItemToArray(matrix,
                                   cJSON_CreateDoubleArray(confusion + c * classes, (int)classes));
    }
}

/* Half of Wilson's 95 % interval of a share, seen in `count` trials: not 0 where all were right. */
static double wilson_half_width(double share, double count)
{
    const double z = 1.96;
    return z / (1.0 + z * z / count) *
           sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count));
}

static void add_best(cJSON *root, const struct prober *prober)
{
    const int64_t classes = prober->classes;
    const int best = best_head(prober);
    const struct prober_head_result *head = &prober->result.heads[best];
    double videos = 0.0;
    double most = 0.0;
    for (int64_t c = 0; c < classes; c++) {
        double of_class = 0.0;
        for (int64_t p = 0; p < classes; p++)
            of_class += head->confusion[c * classes + p];
        videos += of_class;
        most = fmax(most, of_class);
    }
    (void)cJSON_AddNumberToObject(root, "best_head", best);
    add_number(root, "top1", head->top1);
    add_number(root, "top5", classes > TOP ? head->top5 : NAN);
    add_number(root, "top1_interval95", wilson_half_width(head->top1, videos));
    add_number(root, "chance", most / videos);
    add_classes(root, prober, head->confusion);
    cJSON *epochs = cJSON_AddArrayToObject(root, "epochs");
    for (int e = 0; e < prober->config->epochs; e++) {
        const double *figures =
            prober->result.epochs + 2 * ((int64_t)e * prober->config->head_count + best);
        cJSON *to = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(epochs, to);
        (void)cJSON_AddNumberToObject(to, "epoch", e + 1);
        add_number(to, "train_loss", figures[0]);
        add_number(to, "train_top1", figures[1]);
    }
}

static void add_neighbours(cJSON *root, const struct prober *prober)
{
    if (prober->train.pooled == NULL) {
        (void)cJSON_AddNullToObject(root, "knn");
        return;
    }
    cJSON *to = cJSON_AddObjectToObject(root, "knn");
    (void)cJSON_AddNumberToObject(to, "k", prober->config->knn);
    add_number(to, "top1", prober->result.knn_top1);
    (void)cJSON_AddNumberToObject(to, "train_videos",
                                  (double)(prober->train.videos - prober->result.train_bad));
}

static void add_all(cJSON *root, const struct prober *prober, bool random)
{
    const struct config_probe *config = prober->config;
    char now[32] = "";
    time_t seconds = time(NULL);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) != NULL)
        (void)strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &utc);
    (void)cJSON_AddStringToObject(root, "format", "lockstep-probe");
    (void)cJSON_AddNumberToObject(root, "format_version", FORMAT_VERSION);
    (void)cJSON_AddStringToObject(root, "tag", config_probe_tag(config));
    (void)cJSON_AddStringToObject(root, "init", random ? "random" : "pretrained");
    (void)cJSON_AddStringToObject(root, "checkpoint", prober->source.info->path);
    (void)cJSON_AddNumberToObject(root, "step", (double)prober->source.info->step);
    (void)cJSON_AddStringToObject(
        root, "network", config->network == CONFIG_TARGET_ENCODER ? "target_encoder" : "encoder");
    (void)cJSON_AddStringToObject(root, "time", now);
    add_number(root, "seconds", rint(prober->result.seconds * 10) / 10);
    (void)cJSON_AddNumberToObject(root, "workers", prober->job->size);
    (void)cJSON_AddNumberToObject(root, "seed", (double)config->base.meta.seed);
    (void)cJSON_AddNumberToObject(root, "classes", prober->classes);
    add_split(root, "train", &prober->train, prober->result.train_bad);
    add_split(root, "test", &prober->test, prober->result.test_bad);
    add_budget(root, prober);
    add_heads(root, prober);
    add_best(root, prober);
    add_neighbours(root, prober);
}

ls_status prober_report(const struct prober *prober, bool random)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *path = NULL;
    char *text = NULL;
    cJSON *root = cJSON_CreateObject();
    add_all(root, prober, random);
    text = cJSON_Print(root);
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the probe's result");
        goto done;
    }
    LS_TRY(config_probe_results(&folder, prober->config));
    LS_TRY(files_make_folder(folder));
    LS_TRY(core_format(&path, "%s/%s-%s.json", folder, config_probe_tag(prober->config),
                       random ? "random" : "pretrained"));
    LS_TRY(files_replace(path, text, strlen(text)));
    log_info("probe result=%s", path);
done:
    cJSON_Delete(root);
    free(text);
    free(folder);
    free(path);
    return st;
}
