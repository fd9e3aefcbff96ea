/* Names of tensors: the table's own are the public code's; transformers has others, cuts qkv in
 * three and stacks the mask tokens.  Nothing is transposed. */
#include "checkpoint/export_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { QKV = 3 };

/* Beginnings and the rest of names; the first that fits is taken. */
static const struct renaming {
    const char *ours, *theirs;
} stems[] = {
    {"encoder.patch_embed.", "encoder.embeddings.patch_embeddings."},
    {"encoder.blocks.", "encoder.layer."},
    {"encoder.norm.", "encoder.layernorm."},
    {"predictor.predictor_embed.", "predictor.embeddings.predictor_embeddings."},
    {"predictor.mask_tokens.", "predictor.embeddings.mask_tokens"},
    {"predictor.predictor_blocks.", "predictor.layer."},
    {"predictor.predictor_norm.", "predictor.layernorm."},
    {"predictor.predictor_proj.", "predictor.proj."},
};
enum { STEMS = sizeof stems / sizeof stems[0] };

static const struct renaming *stem_of(const char *name)
{
    for (int i = 0; i < STEMS; i++)
        if (strncmp(name, stems[i].ours, strlen(stems[i].ours)) == 0)
            return &stems[i];
    return NULL;
}

static struct export_tensor *append(struct export_tensors *tensors,
                                    const struct parameters *parameters, int parameter)
{
    const struct parameter *p = &parameters->table[parameter];
    struct export_tensor *t = &tensors->list[tensors->count++];
    t->dimensions = p->dimensions;
    memcpy(t->shape, p->shape, sizeof t->shape);
    t->count = p->count;
    t->arrays = p->encoder ? EXPORT_WEIGHTS | EXPORT_EMA : EXPORT_WEIGHTS;
    t->parameter = parameter;
    t->pieces = 1;
    return t;
}

/* "blocks.3.attn.qkv.bias" is three tensors. */
static void append_thirds(struct export_tensors *tensors, const struct parameters *parameters,
                          int parameter, const char *before, const char *after)
{
    static const char *const parts[QKV] = {"query", "key", "value"};
    for (int k = 0; k < QKV; k++) {
        struct export_tensor *t = append(tensors, parameters, parameter);
        t->count /= QKV;
        t->shape[0] /= QKV;
        t->skip = k * t->count;
        (void)snprintf(t->name, sizeof t->name, "%sattention.%s.%s", before, parts[k], after);
    }
}

/* One parameter under its new name; how many parameters that took. */
static int append_transformers(struct export_tensors *tensors, const struct parameters *parameters,
                               int parameter)
{
    const struct parameter *p = &parameters->table[parameter];
    const struct renaming *stem = stem_of(p->name);
    const char *rest = stem != NULL ? p->name + strlen(stem->ours) : p->name;
    const char *attention = strstr(rest, ".attn.");
    char before[EXPORT_NAME_BYTES / 2];
    if (p->kind == PARAMETER_MASK_TOKEN) {
        struct export_tensor *t = append(tensors, parameters, parameter);
        t->pieces = parameters->shape.mask_tokens;
        t->count *= t->pieces;
        t->dimensions++;
        memmove(&t->shape[1], &t->shape[0], 3 * sizeof t->shape[0]);
        t->shape[0] = t->pieces;
        (void)snprintf(t->name, sizeof t->name, "%s", stem != NULL ? stem->theirs : "");
        return t->pieces;
    }
    if (attention == NULL) {
        struct export_tensor *t = append(tensors, parameters, parameter);
        (void)snprintf(t->name, sizeof t->name, "%s%s", stem != NULL ? stem->theirs : "", rest);
        return 1;
    }
    (void)snprintf(before, sizeof before, "%s%.*s.", stem != NULL ? stem->theirs : "",
                   (int)(attention - rest), rest);
    const char *after = attention + strlen(".attn.");
    if (strncmp(after, "qkv.", 4) == 0) {
        append_thirds(tensors, parameters, parameter, before, after + 4);
    } else {
        struct export_tensor *t = append(tensors, parameters, parameter);
        (void)snprintf(t->name, sizeof t->name, "%sattention.%s", before, after);
    }
    return 1;
}

static int by_name(const void *a, const void *b)
{
    const struct export_tensor *x = a;
    const struct export_tensor *y = b;
    return strcmp(x->name, y->name);
}

static void sort(struct export_tensors *tensors)
{
    qsort(tensors->list, (size_t)tensors->count, sizeof *tensors->list, by_name);
}

ls_status export_tensors_transformers(struct export_tensors *out,
                                      const struct parameters *parameters)
{
    ls_status st = LS_OK;
    *out = (struct export_tensors){0};
    LS_TRY(core_alloc(&out->list, QKV * (size_t)parameters->count));
    for (int i = 0; i < parameters->count;)
        i += append_transformers(out, parameters, i);
    sort(out);
done:
    return st;
}

ls_status export_tensors_public(struct export_tensors *out, const struct parameters *parameters,
                                bool target)
{
    ls_status st = LS_OK;
    *out = (struct export_tensors){0};
    LS_TRY(core_alloc(&out->list, 2 * (size_t)parameters->count));
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *p = &parameters->table[i];
        struct export_tensor *t = append(out, parameters, i);
        (void)snprintf(t->name, sizeof t->name, "%s", p->name);
        if (!p->encoder || !target)
            continue;
        t->arrays = EXPORT_WEIGHTS;
        t = append(out, parameters, i);
        t->arrays = EXPORT_EMA;
        (void)snprintf(t->name, sizeof t->name, "target_%s", p->name);
    }
    sort(out);
done:
    return st;
}

void export_tensors_free(struct export_tensors *tensors)
{
    free(tensors->list);
    *tensors = (struct export_tensors){0};
}
