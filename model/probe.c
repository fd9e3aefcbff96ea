/* Heads take turns with one set of activations: a head's forward and backward are done before the
 * next one's begin, so memory does not grow with their number. */
#include "model/probe.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/arena.h"
#include "model/classifier.h"

enum { MISSING = -1, PADDING = -2 };

struct probe {
    struct probe_options options;
    struct layer_device on;
    struct parameters *parameters;  /* of one head */
    struct classifier *classifiers; /* [heads], owned */
    struct classifier_memory memory;
    struct arena arena;
    float *own_features; /* memory of x[0] for features that come from the host */
    float *weights_dev, *gradient_dev, *moment1_dev, *moment2_dev; /* [heads * count] */
    void *compute_dev;                                             /* weights_dev with float32 */
    float *gradient;            /* host; gradient_dev itself where memory is the host's */
    int32_t *index, *index_dev; /* starts, lengths, of tokens and queries; fill, own */
    float *logits;              /* host [query rows * classes] */
    int64_t token_rows, query_rows;
    int videos; /* of the features at hand */
    struct classifier_rows rows;
};

static ls_status take(const struct probe *probe, void *out, size_t bytes)
{
    void *memory_dev = NULL;
    const ls_status st = probe->on.ops->allocate(probe->on.device, &memory_dev, bytes);
    memcpy(out, &memory_dev, sizeof memory_dev);
    return st;
}

static ls_status take_host(const struct probe *probe, void *out, size_t bytes)
{
    void *memory = NULL;
    const ls_status st = probe->on.ops->host_allocate(probe->on.device, &memory, bytes);
    memcpy(out, &memory, sizeof memory);
    return st;
}

static ls_status open_flat(struct probe *probe)
{
    ls_status st = LS_OK;
    const size_t count = (size_t)probe->options.heads * (size_t)probe->parameters->flat_count;
    const size_t bytes = count * sizeof(float);
    LS_TRY(take(probe, &probe->weights_dev, bytes));
    LS_TRY(take(probe, &probe->gradient_dev, bytes));
    LS_TRY(take(probe, &probe->moment1_dev, bytes));
    LS_TRY(take(probe, &probe->moment2_dev, bytes));
    probe->compute_dev = probe->weights_dev;
    if (probe->on.dtype != OP_F32) {
        probe->compute_dev = NULL;
        LS_TRY(take(probe, &probe->compute_dev, count * arena_element_bytes(probe->on.dtype)));
    }
    if (probe->on.ops->host_memory)
        probe->gradient = probe->gradient_dev;
    else
        LS_TRY(take_host(probe, &probe->gradient, bytes));
done:
    return st;
}

static void *compute_at(const struct probe *probe, int64_t offset)
{
    return (char *)probe->compute_dev + (size_t)offset * arena_element_bytes(probe->on.dtype);
}

static ls_status open_classifiers(struct probe *probe)
{
    ls_status st = LS_OK;
    const int64_t count = probe->parameters->flat_count;
    probe->classifiers = calloc((size_t)probe->options.heads, sizeof *probe->classifiers);
    if (probe->classifiers == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for %d heads", probe->options.heads);
    for (int h = 0; h < probe->options.heads; h++) {
        const struct layer_space space = {.parameters = probe->parameters,
                                          .weights_dev = probe->weights_dev + h * count,
                                          .compute_dev = compute_at(probe, h * count),
                                          .dtype = probe->on.dtype,
                                          .gradient_dev = probe->gradient_dev + h * count};
        LS_TRY(classifier_open(&probe->classifiers[h], &space, &probe->options.shape));
    }
done:
    return st;
}

static void lay_out(struct probe *probe)
{
    probe->arena.used = 0;
    classifier_take(&probe->memory, &probe->arena, &probe->classifiers[0], probe->on.dtype,
                    probe->token_rows, probe->query_rows);
    probe->own_features = probe->memory.x[0];
}

static ls_status open_memory(struct probe *probe)
{
    ls_status st = LS_OK;
    const struct classifier_shape *s = &probe->options.shape;
    const int wide[] = {3 * s->dim, s->hidden, s->classes};
    struct op_limits limits = {.rows = probe->token_rows,
                               .heads = s->heads,
                               .head_width = s->dim / s->heads,
                               .max_length = probe->options.tokens,
                               .sequences = probe->options.videos};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        limits.columns = wide[i] > limits.columns ? wide[i] : limits.columns;
    LS_TRY(classifier_memory_open(&probe->memory, s->depth - 1));
    lay_out(probe);
    void *base_dev = NULL;
    LS_TRY(take(probe, &base_dev, probe->arena.peak));
    probe->arena.base_dev = base_dev;
    lay_out(probe);
    LS_TRY(take_host(probe, &probe->logits,
                     (size_t)probe->query_rows * (size_t)s->classes * sizeof(float)));
    LS_TRY(probe->on.ops->reserve(probe->on.device, &limits));
done:
    return st;
}

/* Index arrays for `videos` videos; shapes stay those of a full micro-batch. */
static ls_status set_videos(struct probe *probe, int videos)
{
    ls_status st = LS_OK;
    const int most = probe->options.videos;
    const int64_t query_rows = probe->query_rows;
    const size_t count = 4 * (size_t)most + 2 * (size_t)query_rows;
    int32_t *start = probe->index;
    int32_t *length = start + most;
    int32_t *query_start = length + most;
    int32_t *query_length = query_start + most;
    int32_t *fill = query_length + most;
    int32_t *own = fill + query_rows;
    if (videos < 1 || videos > most)
        return LS_FAIL(LS_USAGE, "%d videos where 1 to %d are meant", videos, most);
    if (videos == probe->videos)
        return LS_OK;
    for (int v = 0; v < most; v++) {
        start[v] = v * probe->options.tokens;
        length[v] = probe->options.tokens;
        query_start[v] = v;
        query_length[v] = 1;
    }
    for (int64_t r = 0; r < query_rows; r++) {
        fill[r] = r < videos ? MISSING : PADDING;
        own[r] = r < videos ? (int32_t)r : PADDING;
    }
    LS_TRY(probe->on.ops->upload(probe->on.device, probe->index_dev, probe->index,
                                 count * sizeof(int32_t)));
    LS_TRY(probe->on.ops->synchronize(probe->on.device));
    const struct op_sequences tokens = {.count = videos,
                                        .rows = probe->token_rows,
                                        .true_rows = (int64_t)videos * probe->options.tokens,
                                        .head_rows = probe->token_rows,
                                        .step = probe->options.tokens,
                                        .max_length = probe->options.tokens,
                                        .start = start,
                                        .length = length,
                                        .start_dev = probe->index_dev,
                                        .length_dev = probe->index_dev + most};
    const struct op_sequences queries = {.count = videos,
                                         .rows = query_rows,
                                         .true_rows = videos,
                                         .head_rows = query_rows,
                                         .step = 1,
                                         .max_length = 1,
                                         .start = query_start,
                                         .length = query_length,
                                         .start_dev = probe->index_dev + 2 * (ptrdiff_t)most,
                                         .length_dev = probe->index_dev + 3 * (ptrdiff_t)most};
    probe->rows =
        (struct classifier_rows){.tokens = {.sequences = tokens},
                                 .queries = {.sequences = queries},
                                 .fill_dev = probe->index_dev + 4 * (ptrdiff_t)most,
                                 .own_dev = probe->index_dev + 4 * (ptrdiff_t)most + query_rows};
    probe->videos = videos;
done:
    return st;
}

static ls_status open_index(struct probe *probe)
{
    ls_status st = LS_OK;
    const size_t bytes =
        (4 * (size_t)probe->options.videos + 2 * (size_t)probe->query_rows) * sizeof(int32_t);
    LS_TRY(take_host(probe, &probe->index, bytes));
    LS_TRY(take(probe, &probe->index_dev, bytes));
    LS_TRY(set_videos(probe, probe->options.videos));
done:
    return st;
}

ls_status probe_open(struct probe **out, const struct probe_options *options,
                     const struct op_table *ops, struct op_device *device)
{
    ls_status st = LS_OK;
    struct probe *probe = NULL;
    *out = NULL;
    if (options->heads < 1 || options->videos < 1 || options->tokens < 1 ||
        (int64_t)options->videos * options->tokens > INT32_MAX / 4)
        return LS_FAIL(LS_USAGE, "probe: %d heads, %d videos of %d tokens", options->heads,
                       options->videos, options->tokens);
    probe = calloc(1, sizeof *probe);
    if (probe == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a probe");
        goto done;
    }
    const int64_t multiple = ops->row_multiple < 1 ? 1 : ops->row_multiple;
    probe->options = *options;
    probe->on = (struct layer_device){.ops = ops, .device = device, .dtype = options->dtype};
    probe->token_rows =
        ((int64_t)options->videos * options->tokens + multiple - 1) / multiple * multiple;
    probe->query_rows = (options->videos + multiple - 1) / multiple * multiple;
    LS_TRY(parameters_open_classifier(&probe->parameters, &options->shape));
    LS_TRY(open_flat(probe));
    LS_TRY(open_classifiers(probe));
    LS_TRY(open_memory(probe));
    LS_TRY(open_index(probe));
    *out = probe;
    probe = NULL;
done:
    probe_close(&probe);
    return st;
}

void probe_close(struct probe **probe)
{
    struct probe *p = *probe;
    if (p == NULL)
        return;
    void *const owned[] = {
        p->weights_dev,    p->gradient_dev,
        p->moment1_dev,    p->moment2_dev,
        p->index_dev,      p->compute_dev == p->weights_dev ? NULL : p->compute_dev,
        p->arena.base_dev,
    };
    void *const host[] = {p->gradient == p->gradient_dev ? NULL : p->gradient, p->index, p->logits};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i] != NULL)
            p->on.ops->release(p->on.device, owned[i]);
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        if (host[i] != NULL)
            p->on.ops->host_release(p->on.device, host[i]);
    for (int h = 0; p->classifiers != NULL && h < p->options.heads; h++)
        classifier_close(&p->classifiers[h]);
    free(p->classifiers);
    classifier_memory_close(&p->memory);
    parameters_close(&p->parameters);
    free(p);
    *probe = NULL;
}

const struct parameters *probe_parameters(const struct probe *probe)
{
    return probe->parameters;
}

ls_status probe_upload(struct probe *probe, int head, const float *weights)
{
    ls_status st = LS_OK;
    const struct op_table *ops = probe->on.ops;
    const int64_t count = probe->parameters->flat_count;
    float *to_dev = probe->weights_dev + head * count;
    LS_TRY(ops->upload(probe->on.device, to_dev, weights, (size_t)count * sizeof(float)));
    if (probe->compute_dev != probe->weights_dev)
        LS_TRY(ops->cast(probe->on.device,
                         layer_matrix(compute_at(probe, head * count), 1, count, probe->on.dtype),
                         layer_matrix(to_dev, 1, count, OP_F32)));
    LS_TRY(ops->synchronize(probe->on.device));
done:
    return st;
}

ls_status probe_download(struct probe *probe, int head, float *weights, float *gradient)
{
    ls_status st = LS_OK;
    const struct op_table *ops = probe->on.ops;
    const int64_t count = probe->parameters->flat_count;
    const size_t bytes = (size_t)count * sizeof(float);
    if (weights != NULL)
        LS_TRY(ops->download(probe->on.device, weights, probe->weights_dev + head * count, bytes));
    if (gradient != NULL)
        LS_TRY(
            ops->download(probe->on.device, gradient, probe->gradient_dev + head * count, bytes));
    LS_TRY(ops->synchronize(probe->on.device));
done:
    return st;
}

ls_status probe_initialize(struct probe *probe, uint64_t seed)
{
    ls_status st = LS_OK;
    const struct op_table *ops = probe->on.ops;
    const int64_t count = probe->parameters->flat_count;
    const size_t bytes = (size_t)probe->options.heads * (size_t)count * sizeof(float);
    float *weights = calloc((size_t)count, sizeof *weights);
    if (weights == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for %lld weights", (long long)count);
        goto done;
    }
    parameters_initialize(probe->parameters, weights, seed);
    for (int h = 0; h < probe->options.heads; h++)
        LS_TRY(probe_upload(probe, h, weights));
    LS_TRY(ops->zero(probe->on.device, probe->moment1_dev, bytes));
    LS_TRY(ops->zero(probe->on.device, probe->moment2_dev, bytes));
done:
    free(weights);
    return st;
}

ls_status probe_features(struct probe *probe, const float *features, int videos)
{
    ls_status st = LS_OK;
    const struct probe_options *o = &probe->options;
    LS_TRY(set_videos(probe, videos));
    probe->memory.x[0] = probe->own_features;
    LS_TRY(probe->on.ops->upload(probe->on.device, probe->own_features, features,
                                 (size_t)videos * (size_t)o->tokens * (size_t)o->shape.dim *
                                     sizeof(float)));
    LS_TRY(probe->on.ops->synchronize(probe->on.device));
done:
    return st;
}

ls_status probe_features_device(struct probe *probe, const float *features_dev, int videos)
{
    const ls_status st = set_videos(probe, videos);
    if (st == LS_OK)
        probe->memory.x[0] = (float *)(uintptr_t)features_dev; /* only read */
    return st;
}

/* Logits of all query rows into probe->logits. */
static ls_status forward(struct probe *probe, int head)
{
    ls_status st = LS_OK;
    const struct op_table *ops = probe->on.ops;
    const size_t bytes =
        (size_t)probe->query_rows * (size_t)probe->options.shape.classes * sizeof(float);
    LS_TRY(classifier_fwd(&probe->on, &probe->classifiers[head], &probe->memory, &probe->rows));
    LS_TRY(ops->download(probe->on.device, probe->logits, probe->memory.logits, bytes));
    LS_TRY(ops->synchronize(probe->on.device));
done:
    return st;
}

ls_status probe_logits(struct probe *probe, int head, float *logits)
{
    const ls_status st = forward(probe, head);
    if (st == LS_OK)
        memcpy(logits, probe->logits,
               (size_t)probe->videos * (size_t)probe->options.shape.classes * sizeof(float));
    return st;
}

static double log_of_sum(const float *logits, int classes)
{
    double most = -DBL_MAX;
    for (int c = 0; c < classes; c++)
        most = logits[c] > most ? logits[c] : most;
    double sum = exp(logits[0] - most);
    for (int c = 1; c < classes; c++)
        sum += exp(logits[c] - most);
    return most + log(sum);
}

void probe_softmax_add(double *probabilities, const float *logits, int classes)
{
    const double norm = log_of_sum(logits, classes);
    for (int c = 0; c < classes; c++)
        probabilities[c] += exp(logits[c] - norm);
}

/* Logits become their gradients, where there is a label; zero elsewhere. */
static struct probe_result cross_entropy(struct probe *probe, const int32_t *labels, double weight)
{
    struct probe_result result = {0};
    const int classes = probe->options.shape.classes;
    for (int v = 0; v < probe->videos; v++)
        result.videos += labels[v] >= 0 ? 1 : 0;
    for (int64_t r = 0; r < probe->query_rows; r++) {
        float *row = probe->logits + r * classes;
        const int32_t label = r < probe->videos ? labels[r] : -1;
        if (label < 0) {
            memset(row, 0, (size_t)classes * sizeof *row);
            continue;
        }
        const double norm = log_of_sum(row, classes);
        int largest = 0;
        result.loss += (norm - row[label]) / result.videos;
        for (int c = 0; c < classes; c++)
            largest = row[c] > row[largest] ? c : largest;
        result.right += largest == label ? 1 : 0;
        for (int c = 0; c < classes; c++)
            row[c] =
                (float)(weight / result.videos * (exp(row[c] - norm) - (c == label ? 1.0 : 0.0)));
    }
    return result;
}

ls_status probe_begin_step(struct probe *probe)
{
    return probe->on.ops->zero(probe->on.device, probe->gradient_dev,
                               (size_t)probe->options.heads *
                                   (size_t)probe->parameters->flat_count * sizeof(float));
}

ls_status probe_train(struct probe *probe, int head, const int32_t *labels, double weight,
                      struct probe_result *out)
{
    ls_status st = LS_OK;
    const struct op_table *ops = probe->on.ops;
    const int classes = probe->options.shape.classes;
    for (int v = 0; v < probe->videos; v++)
        if (labels[v] >= classes)
            return LS_FAIL(LS_USAGE, "label %d of %d classes", labels[v], classes);
    LS_TRY(forward(probe, head));
    *out = cross_entropy(probe, labels, weight);
    if (out->videos == 0)
        goto done;
    LS_TRY(ops->upload(probe->on.device, probe->memory.dlogits, probe->logits,
                       (size_t)probe->query_rows * (size_t)classes * sizeof(float)));
    LS_TRY(classifier_bwd(&probe->on, &probe->classifiers[head], &probe->memory, &probe->rows));
    LS_TRY(ops->synchronize(probe->on.device));
done:
    return st;
}

float *probe_gradient(struct probe *probe)
{
    return probe->gradient;
}

/* Between the device's gradient and the host's, where these are two. */
static size_t gradient_bytes(const struct probe *probe)
{
    return (size_t)probe->options.heads * (size_t)probe->parameters->flat_count * sizeof(float);
}

ls_status probe_gradient_get(struct probe *probe)
{
    ls_status st = LS_OK;
    if (probe->gradient == probe->gradient_dev)
        return LS_OK;
    LS_TRY(probe->on.ops->download(probe->on.device, probe->gradient, probe->gradient_dev,
                                   gradient_bytes(probe)));
    LS_TRY(probe->on.ops->synchronize(probe->on.device));
done:
    return st;
}

ls_status probe_gradient_put(struct probe *probe)
{
    ls_status st = LS_OK;
    if (probe->gradient == probe->gradient_dev)
        return LS_OK;
    LS_TRY(probe->on.ops->upload(probe->on.device, probe->gradient_dev, probe->gradient,
                                 gradient_bytes(probe)));
    LS_TRY(probe->on.ops->synchronize(probe->on.device));
done:
    return st;
}

ls_status probe_update(struct probe *probe, int head, double lr, double weight_decay, int64_t step)
{
    const int64_t count = probe->parameters->flat_count;
    const int64_t at = head * count;
    const double beta1 = 0.9;
    const double beta2 = 0.999;
    const struct op_update_piece all = {.count = count,
                                        .decay = true,
                                        .first_correction = 1.0 - pow(beta1, (double)step),
                                        .second_correction = 1.0 - pow(beta2, (double)step)};
    const struct op_update update = {.pieces = &all,
                                     .piece_count = 1,
                                     .weights_dev = probe->weights_dev + at,
                                     .moment1_dev = probe->moment1_dev + at,
                                     .moment2_dev = probe->moment2_dev + at,
                                     .gradient_dev = probe->gradient_dev + at,
                                     .weights_compute_dev = probe->compute_dev == probe->weights_dev
                                                                ? NULL
                                                                : compute_at(probe, at),
                                     .lr = lr,
                                     .weight_decay = weight_decay,
                                     .beta1 = beta1,
                                     .beta2 = beta2,
                                     .eps = 1e-8,
                                     .gradient_scale = 1.0};
    return probe->on.ops->update(probe->on.device, &update);
}
