/* Stages: merging an entry of the list into the file's tree, and the stages of a run together. */
#include "core/config_stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_read.h"
#include "core/files.h"
#include "core/parameters.h"

/* The node of a key in a mapping of sections, -1 when it is not there. */
static int find_path(const struct tree *tree, int mapping, const char *path)
{
    char section[CONFIG_NUMBER_BYTES];
    const char *dot = strchr(path, '.');
    if (dot == NULL)
        return tree_find(tree, mapping, path);
    (void)snprintf(section, sizeof section, "%.*s", (int)(dot - path), path);
    int inner = tree_find(tree, mapping, section);
    if (inner < 0 || tree->nodes[inner].kind != TREE_MAPPING)
        return -1;
    return tree_find(tree, inner, dot + 1);
}

static void check_entry(struct config_reader *reader, int entry, int stage)
{
    char name[CONFIG_NUMBER_BYTES];
    (void)snprintf(name, sizeof name, "stages[%d]", stage);
    if (reader->tree.nodes[entry].kind != TREE_MAPPING) {
        config_mistake(reader, entry, name, "is not a stage; allowed: a section of keys");
        return;
    }
    for (int i = 0; i < config_key_count; i++) {
        int node = find_path(&reader->tree, entry, config_keys[i].path);
        if (node >= 0 && (config_keys[i].flags & CONFIG_OF_RUN) != 0)
            config_mistake(reader, node, name, "%s is for the whole run: write it beside stages",
                           config_keys[i].path);
    }
    if (tree_find(&reader->tree, entry, "stages") >= 0)
        config_mistake(reader, entry, name, "a stage has no stages");
}

void config_take_stage(struct config_reader *reader, int stage)
{
    struct tree *tree = &reader->tree;
    struct config *config = reader->config;
    int list = tree_find(tree, tree->root, "stages");
    config->stage = stage;
    config->stage_count = 1;
    if (list < 0)
        return;
    int count = tree->nodes[list].kind == TREE_SEQUENCE ? tree_child_count(tree, list) : 0;
    if (count < 1 || count > CONFIG_STAGES_MAX) {
        config_mistake(reader, list, "stages", "is not a list of 1 to %d stages",
                       CONFIG_STAGES_MAX);
        count = 0;
    }
    int before = reader->mistake_count;
    for (int i = 0; i < count; i++)
        check_entry(reader, tree_child_at(tree, list, i), i);
    /* A later stage begins with what the one before it left, whatever the first one began with. */
    if (stage > 0) {
        int optimization = tree_find(tree, tree->root, "optimization");
        if (optimization >= 0 && tree->nodes[optimization].kind == TREE_MAPPING)
            tree_remove(tree, optimization, "anneal_ckpt");
        reader->goes_on = true;
    }
    int entry = tree_child_at(tree, list, stage);
    tree_remove(tree, tree->root, "stages");
    if (entry >= 0 && reader->mistake_count == before)
        tree_merge(tree, tree->root, entry);
    config->stage_count = count > 0 ? count : 1;
}

ls_status config_stages_open(struct config_stages *out, const char *path,
                             const char *const *overrides, int override_count)
{
    ls_status st = LS_OK;
    struct config_stages stages = {0};
    int count = 1;
    while (stages.count < count) {
        struct config **config = &stages.list[stages.count];
        LS_TRY(config_open_stage(config, path, overrides, override_count, stages.count));
        count = (*config)->stage_count;
        stages.count++;
    }
    *out = stages;
    stages = (struct config_stages){0};
done:
    config_stages_close(&stages);
    return st;
}

void config_stages_close(struct config_stages *stages)
{
    for (int i = 0; i < stages->count; i++)
        config_close(&stages->list[i]);
    stages->count = 0;
}

/* The key in which two models differ, NULL when they are one. */
static const char *difference(const struct model_shape *a, const struct model_shape *b)
{
    const struct {
        const char *key;
        int first, other;
    } parts[] = {
        {"model.embed_dim", a->dim, b->dim},
        {"model.depth", a->depth, b->depth},
        {"model.num_heads", a->heads, b->heads},
        {"model.mlp_ratio", a->hidden, b->hidden},
        {"model.pred_embed_dim", a->pred_dim, b->pred_dim},
        {"model.pred_depth", a->pred_depth, b->pred_depth},
        {"model.pred_num_heads", a->pred_heads, b->pred_heads},
        {"model.pred_mlp_ratio", a->pred_hidden, b->pred_hidden},
        {"data.patch_size", a->patch, b->patch},
        {"data.tubelet_size", a->tubelet, b->tubelet},
        {"number of mask groups x datasets", a->mask_tokens, b->mask_tokens},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].first != parts[i].other)
            return parts[i].key;
    return NULL;
}

ls_status config_stages_resolve(struct config_stages *stages)
{
    ls_status st = LS_OK;
    struct model_shape first = {0};
    int64_t steps = 0;
    for (int i = 0; i < stages->count; i++) {
        struct config *config = stages->list[i];
        struct model_shape shape;
        LS_TRY(model_shape_of_config(&shape, config));
        if (i == 0)
            first = shape;
        const char *key = difference(&first, &shape);
        if (key != NULL) {
            st = LS_FAIL(LS_USAGE,
                         "%s: stages[%d]: %s is another than in the first stage: the weights would "
                         "not fit",
                         config->source, i, key);
            goto done;
        }
        config->stage = i;
        config->stage_count = stages->count;
        config->first_step = steps;
        steps += config->optimization.total_steps;
    }
done:
    return st;
}

int config_stages_at(const struct config_stages *stages, int64_t finished_steps)
{
    int stage = 0;
    while (stage + 1 < stages->count && stages->list[stage + 1]->first_step <= finished_steps)
        stage++;
    return stage;
}

int64_t config_stages_steps(const struct config_stages *stages)
{
    const struct config *last = stages->list[stages->count - 1];
    return last->first_step + last->optimization.total_steps;
}

/* Each line of `text` one step to the right, the first one behind a dash. */
static ls_status indent(char **out, const char *text)
{
    size_t lines = 1;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    ls_status st = core_alloc(out, strlen(text) + 2 * lines + 1);
    if (st != LS_OK)
        return st;
    char *to = *out;
    const char *lead = "- ";
    for (const char *c = text; *c != '\0'; lead = "  ") {
        *to++ = lead[0];
        *to++ = lead[1];
        while (*c != '\0' && *c != '\n')
            *to++ = *c++;
        if (*c == '\n')
            *to++ = *c++;
    }
    return LS_OK;
}

ls_status config_stages_dump(char **out, const struct config_stages *stages)
{
    ls_status st = LS_OK;
    char *all = NULL;
    char *text = NULL;
    char *moved = NULL;
    if (stages->count == 1)
        return config_dump(out, stages->list[0]);
    LS_TRY(config_dump_part(&text, stages->list[0], true));
    LS_TRY(core_format(&all, "%sstages:\n", text));
    for (int i = 0; i < stages->count; i++) {
        char *longer = NULL;
        free(text);
        free(moved);
        text = NULL;
        moved = NULL;
        LS_TRY(config_dump_part(&text, stages->list[i], false));
        LS_TRY(indent(&moved, text));
        LS_TRY(core_format(&longer, "%s%s", all, moved));
        free(all);
        all = longer;
    }
    *out = all;
    all = NULL;
done:
    free(all);
    free(text);
    free(moved);
    return st;
}
