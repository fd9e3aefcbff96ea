/* Walks the tree and fills the struct by the table.  Every mistake is noted with its place and
 * reading goes on, so that one run tells all that is wrong with a file. */
#include "core/config_read.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"

enum { PATH_BYTES = 160, IGNORED_BYTES = 1024 };

void config_mistake(struct config_reader *reader, int node, const char *key, const char *format,
                    ...)
{
    if (reader->mistake_count == CONFIG_MISTAKES_MAX)
        return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct config_mistake *mistake = &reader->mistakes[reader->mistake_count];
    int line = node >= 0 ? reader->tree.nodes[node].line : 0;
    ls_status st = LS_OK;
    if (line == TREE_FROM_SET)
        st = core_format(&mistake->text, "--set: %s: %s", key, text);
    else if (line > 0)
        st = core_format(&mistake->text, "%s:%d: %s: %s", reader->source, line, key, text);
    else
        st = core_format(&mistake->text, "%s: %s: %s", reader->source, key, text);
    if (st != LS_OK) {
        reader->no_memory = true;
        return;
    }
    mistake->line = line;
    reader->mistake_count++;
}

bool config_given(const struct config_reader *reader, const char *path)
{
    return reader->node_of[config_key_find(path)] >= 0;
}

bool config_missing(const struct config_reader *reader, const char *path)
{
    int number = config_key_find(path);
    return reader->node_of[number] < 0 && !reader->misspelt[number];
}

int config_node(const struct config_reader *reader, const char *path)
{
    int node = reader->node_of[config_key_find(path)];
    const char *dot = strchr(path, '.');
    if (node >= 0 || dot == NULL)
        return node;
    char section[CONFIG_NUMBER_BYTES];
    (void)snprintf(section, sizeof section, "%.*s", (int)(dot - path), path);
    return tree_find(&reader->tree, reader->tree.root, section);
}

/* The text is read as a file's would be, so a default that its own range forbids shows as a
 * mistake. */
ls_status config_set_defaults(struct config_reader *reader, const struct config_key *keys,
                              int count, void *base)
{
    ls_status st = LS_OK;
    for (int i = 0; i < count; i++) {
        if (keys[i].initial == NULL)
            continue;
        int node = -1;
        LS_TRY(tree_parse_value(&reader->tree, keys[i].initial, keys[i].path, &node));
        if (!config_read_value(reader, &keys[i], keys[i].path, node, base) && reader->no_memory)
            return LS_FAIL(LS_NOMEM, "out of memory for a config");
    }
done:
    return st;
}

/* The key, or all keys of the section, have their complaint: none of them is "missing" as well. */
static void mark_misspelt(struct config_reader *reader, const char *path)
{
    size_t length = strlen(path);
    for (int i = 0; i < config_key_count; i++) {
        const char *known = config_keys[i].path;
        if (strncmp(known, path, length) == 0 && (known[length] == '\0' || known[length] == '.'))
            reader->misspelt[i] = true;
    }
}

static void report_unknown(struct config_reader *reader, int node, const char *path,
                           const char *nearest)
{
    if (nearest == NULL) {
        config_mistake(reader, node, path, "unknown key; docs/config.md lists all");
        return;
    }
    mark_misspelt(reader, nearest);
    config_mistake(reader, node, path, "unknown key (did you mean %s?)", nearest);
}

static void read_mask_group(struct config_reader *reader, int group, int position)
{
    struct tree *tree = &reader->tree;
    char name[PATH_BYTES];
    bool given[16] = {false}; /* or misspelt */
    struct config_mask *mask = &reader->config->masks[position];
    if (tree->nodes[group].kind != TREE_MAPPING) {
        (void)snprintf(name, sizeof name, "mask[%d]", position);
        config_mistake(reader, group, name, "is not a mask group; allowed: a section of keys");
        return;
    }
    for (int child = tree->nodes[group].first; child >= 0; child = tree->nodes[child].next) {
        const char *word = tree->nodes[child].key;
        int i = 0;
        while (i < config_mask_key_count && strcmp(config_mask_keys[i].path, word) != 0)
            i++;
        (void)snprintf(name, sizeof name, "mask[%d].%.80s", position, word);
        if (i == config_mask_key_count) {
            int near = config_nearest_mask_key(word);
            if (near >= 0)
                given[near] = true;
            report_unknown(reader, child, name, near >= 0 ? config_mask_keys[near].path : NULL);
            continue;
        }
        const struct config_key *key = &config_mask_keys[i];
        given[i] = true;
        if ((key->flags & CONFIG_NULLABLE) == 0 || !tree_is_null(tree, child))
            (void)config_read_value(reader, key, name, child, mask);
    }
    for (int i = 0; i < config_mask_key_count; i++) {
        if (given[i] || (config_mask_keys[i].flags & CONFIG_REQUIRED) == 0)
            continue;
        (void)snprintf(name, sizeof name, "mask[%d].%s", position, config_mask_keys[i].path);
        config_mistake(reader, group, name, "missing: %s", config_mask_keys[i].help);
    }
}

static ls_status read_masks(struct config_reader *reader, int node)
{
    ls_status st = LS_OK;
    const struct tree *tree = &reader->tree;
    int count = tree->nodes[node].kind == TREE_SEQUENCE ? tree_child_count(tree, node) : 0;
    if (count < 1 || count > CONFIG_MASK_GROUPS_MAX) {
        config_mistake(reader, node, "mask", "is not a list of 1 to %d mask groups",
                       CONFIG_MASK_GROUPS_MAX);
        return LS_OK;
    }
    reader->config->mask_count = count;
    for (int i = 0; i < count; i++) {
        LS_TRY(config_set_defaults(reader, config_mask_keys, config_mask_key_count,
                                   &reader->config->masks[i]));
        read_mask_group(reader, tree_child_at(&reader->tree, node, i), i);
    }
done:
    return st;
}

/* Whether some key lies in that section. */
static bool is_section(const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < config_key_count; i++)
        if (strncmp(config_keys[i].path, name, length) == 0 && config_keys[i].path[length] == '.')
            return true;
    return false;
}

static void note_ignored(char *list, const char *path)
{
    size_t used = strlen(list);
    (void)snprintf(list + used, IGNORED_BYTES - used, "%s%s", used > 0 ? "," : "", path);
}

static ls_status read_key(struct config_reader *reader, int number, int node, char *ignored)
{
    const struct config_key *key = &config_keys[number];
    bool null = tree_is_null(&reader->tree, node);
    if (key->type == CONFIG_TYPE_IGNORED)
        note_ignored(ignored, key->path);
    if (null && ((key->flags & CONFIG_NULLABLE) != 0 || key->type == CONFIG_TYPE_IGNORED))
        return LS_OK;
    reader->node_of[number] = node;
    if (key->type == CONFIG_TYPE_MASKS)
        return read_masks(reader, node);
    bool list = key->type == CONFIG_TYPE_PATHS || key->type == CONFIG_TYPE_WEIGHTS ||
                key->type == CONFIG_TYPE_FRAMES; /* read together, by read_datasets */
    if (!list)
        (void)config_read_value(reader, key, key->path, node, reader->config);
    return LS_OK;
}

/* Read a section (prefix "" is the top).  Sections hold no sections. */
static ls_status read_section(struct config_reader *reader, int section, const char *prefix,
                              char *ignored)
{
    ls_status st = LS_OK;
    const struct tree *tree = &reader->tree;
    int next = -1;
    /* `nodes` may move while masks are read: no pointer into it is kept. */
    for (int child = tree->nodes[section].first; child >= 0; child = next) {
        next = tree->nodes[child].next;
        const char *word = tree->nodes[child].key;
        char path[PATH_BYTES];
        (void)snprintf(path, sizeof path, "%s%.100s", prefix, word);
        int number = config_key_find(path);
        bool top = prefix[0] == '\0';
        if (number >= 0) {
            LS_TRY(read_key(reader, number, child, ignored));
        } else if (top && is_section(path)) {
            char inner[PATH_BYTES];
            (void)snprintf(inner, sizeof inner, "%.80s.", path);
            if (tree->nodes[child].kind == TREE_MAPPING) {
                LS_TRY(read_section(reader, child, inner, ignored));
            } else if (!tree_is_null(tree, child)) {
                mark_misspelt(reader, path);
                config_mistake(reader, child, path, "is a section; allowed: keys below it");
            }
        } else {
            char near[CONFIG_NUMBER_BYTES];
            bool mapping = top && tree->nodes[child].kind == TREE_MAPPING;
            report_unknown(reader, child, path,
                           mapping ? config_nearest_section(near, path) : config_nearest(path));
        }
    }
done:
    return st;
}

static int list_length(struct config_reader *reader, const char *path, const char *of, int want)
{
    int node = reader->node_of[config_key_find(path)];
    if (node < 0)
        return 0;
    bool list = reader->tree.nodes[node].kind == TREE_SEQUENCE;
    int count = list ? tree_child_count(&reader->tree, node) : 0;
    if (count < 1 || count > CONFIG_DATASETS_MAX) {
        config_mistake(reader, node, path, "is not a list of %s", of);
        return 0;
    }
    if (want > 0 && count != want) {
        config_mistake(reader, node, path, "%d given, data.datasets has %d: one for each", count,
                       want);
        return 0;
    }
    return count;
}

/* The three lists that describe the datasets become one array. */
static ls_status read_datasets(struct config_reader *reader)
{
    ls_status st = LS_OK;
    struct config_data *data = &reader->config->data;
    int paths = list_length(reader, "data.datasets", "paths", 0);
    int weights = list_length(reader, "data.datasets_weights", "numbers", paths);
    int frames = list_length(reader, "data.dataset_fpcs", "integers", paths);
    if (paths == 0)
        return LS_OK;
    LS_TRY(core_alloc(&data->datasets, paths));
    data->dataset_count = paths;
    data->weighted = weights > 0;
    static const char *const names[] = {"data.datasets", "data.datasets_weights",
                                        "data.dataset_fpcs"};
    double sum = 0;
    for (int i = 0; i < paths; i++) {
        struct config_dataset *dataset = &data->datasets[i];
        dataset->weight = NAN;
        const int have[] = {1, weights, frames};
        void *const fields[] = {&dataset->path, &dataset->weight, &dataset->frames_per_clip};
        static const enum config_type types[] = {CONFIG_TYPE_TEXT, CONFIG_TYPE_DOUBLE,
                                                 CONFIG_TYPE_INT};
        for (int which = 0; which < 3; which++) {
            if (have[which] == 0)
                continue;
            int number = config_key_find(names[which]);
            struct config_key entry = config_keys[number];
            char name[PATH_BYTES];
            entry.type = types[which];
            entry.offset = 0;
            entry.flags &= ~(unsigned)CONFIG_NULLABLE;
            (void)snprintf(name, sizeof name, "%s[%d]", names[which], i);
            (void)config_read_value(reader, &entry, name,
                                    tree_child_at(&reader->tree, reader->node_of[number], i),
                                    fields[which]);
        }
        sum += weights > 0 ? dataset->weight : 0;
    }
    if (weights > 0 && sum <= 0)
        config_mistake(reader, config_node(reader, names[1]), names[1], "sum to 0");
done:
    return st;
}

/* Configs of other programs have keys of their own: one line says so instead of one a key. */
static bool is_other_program(struct config_reader *reader)
{
    const struct tree *tree = &reader->tree;
    int app = tree_find(tree, tree->root, "app");
    int eval = tree_find(tree, tree->root, "eval_name");
    const char *name =
        app >= 0 && tree->nodes[app].kind == TREE_SCALAR ? tree->nodes[app].text : "";
    if (eval >= 0) {
        config_mistake(
            reader, eval, "eval_name",
            "this is the config of an evaluation, not of a pretraining run; `lockstep probe` "
            "takes it");
        return true;
    }
    if (strcmp(name, "vjepa_droid") == 0) {
        config_mistake(reader, app, "app",
                       "vjepa_droid is action-conditioned post-training, which is not available; "
                       "allowed: vjepa");
        return true;
    }
    if (app >= 0 && strcmp(name, "vjepa") != 0) {
        config_mistake(reader, app, "app", "'%.60s' is not available; allowed: vjepa", name);
        return true;
    }
    return false;
}

ls_status config_read_tree(struct config_reader *reader)
{
    ls_status st = LS_OK;
    char ignored[IGNORED_BYTES] = "";
    for (int i = 0; i < config_key_count; i++)
        reader->node_of[i] = -1;
    if (is_other_program(reader))
        return LS_OK;
    LS_TRY(config_set_defaults(reader, config_keys, config_key_count, reader->config));
    LS_TRY(read_section(reader, reader->tree.root, "", ignored));
    LS_TRY(read_datasets(reader));
    LS_TRY(config_check(reader));
    if (ignored[0] != '\0' && reader->mistake_count == 0 && reader->config->stage == 0)
        log_info("config=%s ignored_keys=%s", reader->source, ignored);
done:
    return st;
}
