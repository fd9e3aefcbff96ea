/* Reads the evaluation's schema with the parts that read a pretraining config: one tree, one way to
 * read values, one way to tell of mistakes.  Its sections lie deeper, so paths are walked here. */
#include "core/config_probe.h"

#include <cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_probe_table.h"
#include "core/config_read.h"
#include "core/files.h"
#include "core/log.h"
#include "core/text.h"

enum { PATH_BYTES = 200, IGNORED_BYTES = 1024, HEADS_MAX = 256, MICRO_BATCHES_MAX = 1 << 16 };

/* The key of that path among the probe's and the shared ones (`lockstep.`); NULL: none. */
static const struct config_key *find_key(const char *path)
{
    int number = config_probe_key_find(path);
    if (number >= 0)
        return &config_probe_keys[number];
    number = strncmp(path, "lockstep.", 9) == 0 ? config_key_find(path) : -1;
    return number >= 0 ? &config_keys[number] : NULL;
}

static bool is_section(const char *path)
{
    const size_t length = strlen(path);
    if (strcmp(path, "lockstep") == 0)
        return true;
    for (int i = 0; i < config_probe_key_count; i++)
        if (strncmp(config_probe_keys[i].path, path, length) == 0 &&
            config_probe_keys[i].path[length] == '.')
            return true;
    return false;
}

static const char *nearest(const char *path)
{
    const char *best = NULL;
    int least = 2 * TEXT_WORD_BYTES;
    for (int i = 0; i < config_probe_key_count; i++) {
        const int distance = 2 * text_distance(path, config_probe_keys[i].path);
        if (distance < least) {
            least = distance;
            best = config_probe_keys[i].path;
        }
    }
    return best != NULL && text_near(path, least) ? best : NULL;
}

static ls_status read_heads(struct config_reader *reader, struct config_probe *probe, int node)
{
    ls_status st = LS_OK;
    struct tree *tree = &reader->tree;
    const bool list = tree->nodes[node].kind == TREE_SEQUENCE;
    const int count = list ? tree_child_count(tree, node) : 0;
    if (count < 1 || count > HEADS_MAX) {
        config_mistake(reader, node, CONFIG_PROBE_HEADS, "is not a list of 1 to %d classifiers",
                       HEADS_MAX);
        return LS_OK;
    }
    LS_TRY(core_alloc(&probe->heads, count));
    probe->head_count = count;
    for (int h = 0; h < count; h++) {
        char name[PATH_BYTES];
        LS_TRY(config_set_defaults(reader, config_probe_head_keys, config_probe_head_key_count,
                                   &probe->heads[h]));
        const int head = tree_child_at(tree, node, h);
        (void)snprintf(name, sizeof name, "%s[%d]", CONFIG_PROBE_HEADS, h);
        if (tree->nodes[head].kind != TREE_MAPPING) {
            config_mistake(reader, head, name, "is not a classifier; allowed: a section of keys");
            continue;
        }
        int known = 0;
        for (int k = 0; k < config_probe_head_key_count; k++) {
            const struct config_key *key = &config_probe_head_keys[k];
            const int child = tree_find(tree, head, key->path);
            (void)snprintf(name, sizeof name, "%s[%d].%s", CONFIG_PROBE_HEADS, h, key->path);
            known += child >= 0 ? 1 : 0;
            if (child >= 0)
                (void)config_read_value(reader, key, name, child, &probe->heads[h]);
            else if ((key->flags & CONFIG_REQUIRED) != 0)
                config_mistake(reader, head, name, "missing: %s", key->help);
        }
        if (known != tree_child_count(tree, head)) {
            (void)snprintf(name, sizeof name, "%s[%d]", CONFIG_PROBE_HEADS, h);
            config_mistake(reader, head, name,
                           "has a key that is not known; docs/config.md lists "
                           "all");
        }
    }
done:
    return st;
}

/* What reading keeps beside the reader. */
struct probe_reader {
    struct config_reader reader;
    struct config_probe *probe;
    char ignored[IGNORED_BYTES];
};

static void note_ignored(struct probe_reader *r, const char *path)
{
    const size_t used = strlen(r->ignored);
    (void)snprintf(r->ignored + used, IGNORED_BYTES - used, "%s%s", used > 0 ? "," : "", path);
}

static ls_status read_key(struct probe_reader *r, const struct config_key *key, int node)
{
    const bool null = tree_is_null(&r->reader.tree, node);
    const bool ignored = key->type == CONFIG_TYPE_IGNORED;
    if (strcmp(key->path, CONFIG_PROBE_HEADS) == 0)
        return read_heads(&r->reader, r->probe, node);
    if (ignored && key->choices == NULL)
        note_ignored(r, key->path);
    if (null && (ignored || (key->flags & CONFIG_NULLABLE) != 0))
        return LS_OK;
    (void)config_read_value(&r->reader, key, key->path, node, r->probe);
    return LS_OK;
}

/* Sections in sections, as deep as the tree allows. */
static ls_status read_section(struct probe_reader *r, int section,
                              const char *prefix) /* NOLINT(misc-no-recursion) */
{
    ls_status st = LS_OK;
    const struct tree *tree = &r->reader.tree;
    int next = -1;
    /* `nodes` may move while defaults are read: no pointer into it is kept. */
    for (int child = tree->nodes[section].first; child >= 0; child = next) {
        char path[PATH_BYTES];
        next = tree->nodes[child].next;
        (void)snprintf(path, sizeof path, "%s%s%.60s", prefix, prefix[0] != '\0' ? "." : "",
                       tree->nodes[child].key);
        const struct config_key *key = find_key(path);
        if (key != NULL) {
            LS_TRY(read_key(r, key, child));
        } else if (is_section(path) && tree->nodes[child].kind == TREE_MAPPING) {
            LS_TRY(read_section(r, child, path));
        } else if (is_section(path)) {
            if (!tree_is_null(tree, child))
                config_mistake(&r->reader, child, path, "is a section; allowed: keys below it");
        } else {
            const char *near = nearest(path);
            config_mistake(&r->reader, child, path,
                           near != NULL ? "unknown key (did you mean %s?)" : "unknown key%s",
                           near != NULL ? near : "; docs/config.md lists all");
        }
    }
done:
    return st;
}

static bool given(const struct config_reader *reader, const char *path)
{
    int node = reader->tree.root;
    char word[PATH_BYTES];
    while (node >= 0 && *path != '\0') {
        const size_t length = strcspn(path, ".");
        (void)snprintf(word, sizeof word, "%.*s", (int)length, path);
        node = reader->tree.nodes[node].kind == TREE_MAPPING ? tree_find(&reader->tree, node, word)
                                                             : -1;
        path += length + (path[length] == '.' ? 1 : 0);
    }
    return node >= 0;
}

static void check(struct config_reader *reader, struct config_probe *probe)
{
    struct config *base = &probe->base;
    for (int i = 0; i < config_probe_key_count; i++)
        if ((config_probe_keys[i].flags & CONFIG_REQUIRED) != 0 &&
            !given(reader, config_probe_keys[i].path))
            config_mistake(reader, -1, config_probe_keys[i].path, "missing: %s",
                           config_probe_keys[i].help);
    if (!given(reader, CONFIG_PROBE_HEADS))
        config_mistake(reader, -1, CONFIG_PROBE_HEADS, "missing: the classifiers to train");
    if (probe->tag != NULL && strchr(probe->tag, '/') != NULL)
        config_mistake(reader, -1, "tag", "'%.60s' cannot be part of a file's name", probe->tag);
    if ((int64_t)base->nodes * base->tasks_per_node > MICRO_BATCHES_MAX)
        config_mistake(reader, -1, "nodes", "nodes x tasks_per_node is above %d",
                       MICRO_BATCHES_MAX);
    base->micro_batches = base->nodes * base->tasks_per_node;
    base->data.crop_height = base->data.crop_width = probe->resolution;
}

static ls_status read_all(struct probe_reader *r)
{
    ls_status st = LS_OK;
    struct config_reader *reader = &r->reader;
    LS_TRY(config_set_defaults(reader, config_probe_keys, config_probe_key_count, r->probe));
    for (int i = 0; i < config_key_count; i++)
        if (strncmp(config_keys[i].path, "lockstep.", 9) == 0)
            LS_TRY(config_set_defaults(reader, &config_keys[i], 1, r->probe));
    if (given(reader, "app") || !given(reader, "eval_name")) { /* one line instead of one a key */
        config_mistake(reader, -1, "eval_name",
                       "missing: a probe's config says `eval_name: video_classification_frozen`; "
                       "`lockstep train` takes configs with `app: vjepa`");
    } else {
        LS_TRY(read_section(r, reader->tree.root, ""));
        check(reader, r->probe);
    }
    LS_TRY(config_report_mistakes(reader));
    if (r->ignored[0] != '\0')
        log_info("config=%s ignored_keys=%s", reader->source, r->ignored);
done:
    return st;
}

ls_status config_probe_open(struct config_probe **out, const char *path,
                            const char *const *overrides, int override_count)
{
    struct probe_reader r = {.reader = {.source = path, .tree = {.root = -1}}};
    char *text = NULL;
    size_t bytes = 0;
    ls_status st = files_read(&text, &bytes, path, TREE_FILE_BYTES);
    if (st == LS_DATA)
        st = LS_FAIL(LS_USAGE, "%s: too large for a config; allowed: %d bytes", path,
                     TREE_FILE_BYTES);
    LS_TRY(st);
    LS_TRY(core_alloc(&r.probe, 1));
    r.reader.config = &r.probe->base;
    LS_TRY(core_format(&r.probe->base.source, "%s", path));
    LS_TRY(tree_parse(&r.reader.tree, text, bytes, path));
    for (int i = 0; i < override_count; i++)
        LS_TRY(tree_set(&r.reader.tree, overrides[i]));
    LS_TRY(read_all(&r));
    *out = r.probe;
    r.probe = NULL;
done:
    config_probe_close(&r.probe);
    config_reader_close(&r.reader);
    free(text);
    return st;
}

void config_probe_close(struct config_probe **probe)
{
    struct config_probe *p = *probe;
    if (p == NULL)
        return;
    free(p->tag);
    free(p->checkpoint);
    free(p->model_name);
    free(p->train);
    free(p->test);
    free(p->heads);
    struct config *base = &p->base;
    config_close(&base); /* and with it the whole */
    *probe = NULL;
}

const char *config_probe_tag(const struct config_probe *probe)
{
    return probe->tag != NULL ? probe->tag : "probe";
}

ls_status config_probe_results(char **out, const struct config_probe *probe)
{
    static const char parent[] = "/checkpoints";
    const char *path = probe->checkpoint;
    const char *slash = strrchr(path, '/');
    const ptrdiff_t run = slash != NULL ? slash - path - (ptrdiff_t)(sizeof parent - 1) : -1;
    if (run > 0 && strncmp(path + run, parent, sizeof parent - 1) == 0)
        return core_format(out, "%.*s/probe", (int)run, path);
    return core_format(out, "%s/probe", probe->base.folder);
}

/* Add `value` at the end of a dotted path, with the objects on the way. */
static bool put(cJSON *root, const char *path, cJSON *value)
{
    cJSON *at = root;
    char word[PATH_BYTES];
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(path, '.')) {
        (void)snprintf(word, sizeof word, "%.*s", (int)(dot - path), path);
        cJSON *next = cJSON_GetObjectItemCaseSensitive(at, word);
        if (next == NULL)
            next = cJSON_AddObjectToObject(at, word);
        if (next == NULL) {
            cJSON_Delete(value);
            return false;
        }
        at = next;
        path = dot + 1;
    }
    return value != NULL && cJSON_AddItemToObject(at, path, value);
}

static cJSON *value_of(const struct config_key *key, const void *base)
{
    const void *field = (const char *)base + key->offset;
    switch (key->type) {
    case CONFIG_TYPE_BOOL:
        return cJSON_CreateBool(*(const bool *)field);
    case CONFIG_TYPE_INT:
        return cJSON_CreateNumber(*(const int *)field);
    case CONFIG_TYPE_INT64:
        return cJSON_CreateNumber((double)*(const int64_t *)field);
    case CONFIG_TYPE_DOUBLE:
        return cJSON_CreateNumber(*(const double *)field);
    case CONFIG_TYPE_PAIR:
        return cJSON_CreateDoubleArray(field, 2);
    case CONFIG_TYPE_TEXT:
        return cJSON_CreateString(*(char *const *)field);
    case CONFIG_TYPE_CHOICE:
        return cJSON_CreateString(key->choices[*(const int *)field]);
    default:
        return NULL;
    }
}

static bool left_out(const struct config_key *key, const void *base)
{
    const void *field = (const char *)base + key->offset;
    if (key->type == CONFIG_TYPE_TEXT)
        return *(char *const *)field == NULL;
    return (key->flags & CONFIG_OMIT_ZERO) != 0 && key->type == CONFIG_TYPE_INT &&
           *(const int *)field == 0;
}

static bool put_keys(cJSON *root, const struct config_key *keys, int count, const void *base,
                     const char *prefix)
{
    bool good = true;
    for (int i = 0; i < count && good; i++) {
        if (keys[i].type == CONFIG_TYPE_IGNORED || left_out(&keys[i], base) ||
            strncmp(keys[i].path, prefix, strlen(prefix)) != 0)
            continue;
        good = put(root, keys[i].path, value_of(&keys[i], base));
    }
    return good;
}

ls_status config_probe_dump(char **out, const struct config_probe *probe)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *heads = cJSON_CreateArray();
    bool good = root != NULL && heads != NULL &&
                cJSON_AddStringToObject(root, "eval_name", "video_classification_frozen") != NULL &&
                put_keys(root, config_probe_keys, config_probe_key_count, probe, "") &&
                put_keys(root, config_keys, config_key_count, probe, "lockstep.");
    for (int h = 0; h < probe->head_count && good; h++) {
        cJSON *head = cJSON_CreateObject();
        good = head != NULL && cJSON_AddItemToArray(heads, head) &&
               put_keys(head, config_probe_head_keys, config_probe_head_key_count, &probe->heads[h],
                        "");
    }
    if (good) {
        good = put(root, CONFIG_PROBE_HEADS, heads);
        heads = NULL;
    }
    *out = good ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    cJSON_Delete(heads);
    return *out != NULL ? LS_OK : LS_FAIL(LS_NOMEM, "out of memory for a config");
}
