/* Lays out the parameter table.  It is written in forward order once, and everything else that
 * knows about parameters (blocks, optimizer, checkpoints, export) reads it. */
#include "core/parameters.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, COLOURS = 3 };

ls_status model_shape_of_config(struct model_shape *out, const struct config *config)
{
    const struct config_model *model = &config->model;
    if (model->embed_dim < 1 || model->pred_embed_dim < 1)
        return LS_FAIL(LS_USAGE, "model.embed_dim and model.pred_embed_dim must be positive");
    *out = (struct model_shape){
        .patch = config->data.patch_size,
        .tubelet = config->data.tubelet_size,
        .dim = model->embed_dim,
        .depth = model->depth,
        .heads = model->num_heads,
        .hidden = (int)(model->embed_dim * model->mlp_ratio),
        .pred_dim = model->pred_embed_dim,
        .pred_depth = model->pred_depth,
        .pred_heads = model->pred_num_heads,
        .pred_hidden = (int)(model->pred_embed_dim * model->pred_mlp_ratio),
        .mask_tokens = model->num_mask_tokens,
        .init_std = model->init_std,
        .zero_mask_tokens = model->zero_init_mask_tokens,
    };
    return LS_OK;
}

static ls_status check_shape(const struct model_shape *s)
{
    if (s->patch < 1 || s->tubelet < 1 || s->mask_tokens < 1)
        return LS_FAIL(LS_USAGE, "model: patch %d, tubelet %d and mask tokens %d must be positive",
                       s->patch, s->tubelet, s->mask_tokens);
    if (s->dim < 1 || s->depth < 1 || s->heads < 1 || s->hidden < 1 || s->dim % s->heads != 0)
        return LS_FAIL(LS_USAGE, "model: width %d, depth %d, heads %d: heads must divide the width",
                       s->dim, s->depth, s->heads);
    if (s->pred_dim < 1 || s->pred_depth < 1 || s->pred_heads < 1 || s->pred_hidden < 1 ||
        s->pred_dim % s->pred_heads != 0)
        return LS_FAIL(LS_USAGE,
                       "predictor: width %d, depth %d, heads %d: heads must divide the width",
                       s->pred_dim, s->pred_depth, s->pred_heads);
    return LS_OK;
}

/* Append a parameter; `dimensions` int64_t sizes follow. */
static struct parameter *add(struct parameters *p, enum parameter_class kind, int dimensions, ...)
{
    struct parameter *q = &p->table[p->count++];
    q->kind = kind;
    q->dimensions = dimensions;
    q->count = 1;
    va_list sizes;
    va_start(sizes, dimensions);
    for (int i = 0; i < dimensions; i++) {
        q->shape[i] = va_arg(sizes, int64_t);
        q->count *= q->shape[i];
    }
    va_end(sizes);
    q->decay = dimensions > 1;
    q->offset = p->flat_count;
    p->flat_count += (q->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    p->true_count += q->count;
    return q;
}

static void name(struct parameter *q, const char *format, ...) LS_PRINTF(2, 3);
static void name(struct parameter *q, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(q->name, sizeof q->name, format, arguments);
    va_end(arguments);
}

static void add_linear(struct parameters *p, const char *prefix, const char *part, int output_block,
                       int64_t out_dim, int64_t in_dim)
{
    struct parameter *w =
        add(p, output_block > 0 ? PARAMETER_OUTPUT : PARAMETER_WEIGHT, 2, out_dim, in_dim);
    w->block = output_block;
    name(w, "%s%s.weight", prefix, part);
    name(add(p, PARAMETER_BIAS, 1, out_dim), "%s%s.bias", prefix, part);
}

static void add_norm(struct parameters *p, const char *prefix, const char *part, int64_t dim)
{
    name(add(p, PARAMETER_GAIN, 1, dim), "%s%s.weight", prefix, part);
    name(add(p, PARAMETER_BIAS, 1, dim), "%s%s.bias", prefix, part);
}

static void add_blocks(struct parameters *p, const char *stem, int depth, int64_t dim,
                       int64_t hidden)
{
    char prefix[48];
    for (int k = 0; k < depth; k++) {
        (void)snprintf(prefix, sizeof prefix, "%s.%d.", stem, k);
        add_norm(p, prefix, "norm1", dim);
        add_linear(p, prefix, "attn.qkv", 0, 3 * dim, dim);
        add_linear(p, prefix, "attn.proj", k + 1, dim, dim);
        add_norm(p, prefix, "norm2", dim);
        add_linear(p, prefix, "mlp.fc1", 0, hidden, dim);
        add_linear(p, prefix, "mlp.fc2", k + 1, dim, hidden);
    }
}

static void lay_out(struct parameters *p)
{
    const struct model_shape *s = &p->shape;
    const int64_t dim = s->dim;
    const int64_t pred = s->pred_dim;
    name(add(p, PARAMETER_WEIGHT, 5, dim, (int64_t)COLOURS, (int64_t)s->tubelet, (int64_t)s->patch,
             (int64_t)s->patch),
         "encoder.patch_embed.proj.weight");
    name(add(p, PARAMETER_BIAS, 1, dim), "encoder.patch_embed.proj.bias");
    add_blocks(p, "encoder.blocks", s->depth, dim, s->hidden);
    add_norm(p, "encoder.", "norm", dim);
    p->encoder_count = p->flat_count;
    for (int i = 0; i < p->count; i++)
        p->table[i].encoder = true;

    add_linear(p, "predictor.", "predictor_embed", 0, pred, dim);
    for (int i = 0; i < s->mask_tokens; i++)
        name(add(p, PARAMETER_MASK_TOKEN, 3, (int64_t)1, (int64_t)1, pred),
             "predictor.mask_tokens.%d", i);
    add_blocks(p, "predictor.predictor_blocks", s->pred_depth, pred, s->pred_hidden);
    add_norm(p, "predictor.", "predictor_norm", pred);
    add_linear(p, "predictor.", "predictor_proj", 0, dim, pred);
}

enum { PER_BLOCK = 12 }; /* weight and bias of two norms and four linear maps */

static ls_status open_table(struct parameters **out, size_t entries)
{
    struct parameters *p = calloc(1, sizeof *p);
    if (p != NULL)
        p->table = calloc(entries, sizeof *p->table);
    if (p == NULL || p->table == NULL) {
        free(p);
        return LS_FAIL(LS_NOMEM, "out of memory for a table of %zu parameters", entries);
    }
    *out = p;
    return LS_OK;
}

/* The public attentive pooler and classifier. */
static void lay_out_classifier(struct parameters *p, const struct classifier_shape *s)
{
    static const char cross[] = "pooler.cross_attention_block.";
    const int64_t dim = s->dim;
    struct parameter *last = NULL;
    name(add(p, PARAMETER_WEIGHT, 3, (int64_t)1, (int64_t)1, dim), "pooler.query_tokens");
    add_norm(p, cross, "norm1", dim);
    add_linear(p, cross, "xattn.q", 0, dim, dim);
    add_linear(p, cross, "xattn.kv", 0, 2 * dim, dim);
    add_norm(p, cross, "norm2", dim);
    add_linear(p, cross, "mlp.fc1", 0, s->hidden, dim);
    add_linear(p, cross, "mlp.fc2", 1, dim, s->hidden);
    add_blocks(p, "pooler.blocks", s->depth - 1, dim, s->hidden);
    add_linear(p, "", "linear", 0, s->classes, dim);
    for (int i = 0; i < p->count; i++) {
        last = &p->table[i];
        last->decay = true;
        /* The block of the query is the first of the stack, those over tokens come after it. */
        if (last->kind == PARAMETER_OUTPUT && strncmp(last->name, "pooler.blocks.", 14) == 0)
            last->block++;
        if (i >= p->count - 2) {
            last->kind = PARAMETER_UNIFORM;
            last->inputs = dim;
        }
    }
}

ls_status parameters_open_classifier(struct parameters **out, const struct classifier_shape *shape)
{
    enum { OUTSIDE = 15 }; /* query, norms, four maps, the last map */
    struct parameters *p = NULL;
    *out = NULL;
    if (shape->dim < 1 || shape->heads < 1 || shape->dim % shape->heads != 0 || shape->depth < 1 ||
        shape->hidden < 1 || shape->classes < 1)
        return LS_FAIL(
            LS_USAGE,
            "classifier: width %d, depth %d, heads %d, classes %d: heads must divide the "
            "width",
            shape->dim, shape->depth, shape->heads, shape->classes);
    ls_status st = open_table(&p, OUTSIDE + PER_BLOCK * (size_t)(shape->depth - 1));
    if (st != LS_OK)
        return st;
    p->shape.init_std = shape->init_std;
    lay_out_classifier(p, shape);
    *out = p;
    return LS_OK;
}

ls_status parameters_open(struct parameters **out, const struct model_shape *shape)
{
    ls_status st = LS_OK;
    struct parameters *p = NULL;
    *out = NULL;
    LS_TRY(check_shape(shape));
    const int outside = 10; /* patch embedding, embed, proj and two norms */
    LS_TRY(open_table(&p, (size_t)outside + (size_t)shape->mask_tokens +
                              PER_BLOCK * ((size_t)shape->depth + (size_t)shape->pred_depth)));
    p->shape = *shape;
    lay_out(p);
    *out = p;
    p = NULL;
done:
    parameters_close(&p);
    return st;
}

void parameters_close(struct parameters **parameters)
{
    if (*parameters == NULL)
        return;
    free((*parameters)->table);
    free(*parameters);
    *parameters = NULL;
}

const struct parameter *parameters_find(const struct parameters *parameters, const char *wanted)
{
    for (int i = 0; i < parameters->count; i++)
        if (strcmp(parameters->table[i].name, wanted) == 0)
            return &parameters->table[i];
    return NULL;
}
