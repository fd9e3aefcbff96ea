/* Opening a config: file to tree, overrides into the tree, tree to struct, all mistakes told. */
#include "core/config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_read.h"
#include "core/files.h"
#include "core/log.h"

static int compare_mistakes(const void *a, const void *b)
{
    const struct config_mistake *x = a;
    const struct config_mistake *y = b;
    unsigned line_x = (unsigned)x->line - 1; /* whole file (0) and --set (-1) come last */
    unsigned line_y = (unsigned)y->line - 1;
    if (line_x != line_y)
        return line_x < line_y ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* The first mistake becomes the failure, the others are logged: the caller prints the failure. */
ls_status config_report_mistakes(struct config_reader *reader)
{
    int count = reader->mistake_count;
    if (count == 0)
        return LS_OK;
    qsort(reader->mistakes, (size_t)count, sizeof *reader->mistakes, compare_mistakes);
    for (int i = 1; i < count; i++)
        log_error("%s", reader->mistakes[i].text);
    if (count == 1)
        return LS_FAIL(LS_USAGE, "%s", reader->mistakes[0].text);
    return LS_FAIL(LS_USAGE, "%s (and %d more mistake%s)", reader->mistakes[0].text, count - 1,
                   count > 2 ? "s" : "");
}

void config_reader_close(struct config_reader *reader)
{
    for (int i = 0; i < reader->mistake_count; i++)
        free(reader->mistakes[i].text);
    free(reader->node_of);
    free(reader->misspelt);
    tree_close(&reader->tree);
}

/* A text to read as a config. */
struct given {
    const char *text, *source;
    size_t bytes;
    const char *const *overrides;
    int override_count;
    int stage;
    bool goes_on;
};

static ls_status open_text(struct config **out, const struct given *given)
{
    ls_status st = LS_OK;
    struct config_reader reader = {
        .source = given->source, .tree = {.root = -1}, .goes_on = given->goes_on};
    LS_TRY(core_alloc(&reader.config, 1));
    LS_TRY(core_format(&reader.config->source, "%s", given->source));
    LS_TRY(core_alloc(&reader.node_of, config_key_count));
    LS_TRY(core_alloc(&reader.misspelt, config_key_count));
    LS_TRY(tree_parse(&reader.tree, given->text, given->bytes, given->source));
    for (int i = 0; i < given->override_count; i++)
        LS_TRY(tree_set(&reader.tree, given->overrides[i]));
    config_take_stage(&reader, given->stage);
    LS_TRY(config_read_tree(&reader));
    LS_TRY(config_report_mistakes(&reader));
    *out = reader.config;
    reader.config = NULL;
done:
    config_close(&reader.config);
    config_reader_close(&reader);
    return st;
}

ls_status config_open_stage(struct config **out, const char *path, const char *const *overrides,
                            int override_count, int stage)
{
    struct given given = {
        .source = path, .overrides = overrides, .override_count = override_count, .stage = stage};
    char *text = NULL;
    ls_status st = files_read(&text, &given.bytes, path, TREE_FILE_BYTES);
    if (st == LS_DATA)
        st = LS_FAIL(LS_USAGE, "%s: too large for a config; allowed: %d bytes", path,
                     TREE_FILE_BYTES);
    LS_TRY(st);
    given.text = text;
    LS_TRY(open_text(out, &given));
done:
    free(text);
    return st;
}

ls_status config_open(struct config **out, const char *path, const char *const *overrides,
                      int override_count)
{
    return config_open_stage(out, path, overrides, override_count, 0);
}

ls_status config_open_text(struct config **out, const char *text, const char *source)
{
    return open_text(
        out,
        &(struct given){.text = text, .source = source, .bytes = strlen(text), .goes_on = true});
}

void config_close(struct config **config)
{
    struct config *c = *config;
    if (c == NULL)
        return;
    for (int i = 0; i < config_key_count; i++)
        if (config_keys[i].type == CONFIG_TYPE_TEXT)
            free(*(char **)((char *)c + config_keys[i].offset));
    for (int i = 0; i < c->data.dataset_count; i++)
        free(c->data.datasets[i].path);
    free(c->data.datasets);
    free(c->source);
    free(c);
    *config = NULL;
}

ls_status config_set_ipe(struct config *config, int64_t ipe)
{
    struct config_optimization *optimization = &config->optimization;
    if (optimization->ipe > 0)
        return LS_OK;
    if (ipe > INT_MAX)
        return LS_FAIL(LS_USAGE, "%s: optimization.ipe: an epoch would have %lld steps",
                       config->source, (long long)ipe);
    optimization->ipe = ipe > 1 ? (int)ipe : 1;
    const char *problem = config_resolve_steps(optimization);
    if (problem != NULL)
        return LS_FAIL(LS_USAGE, "%s: optimization.epochs: %s", config->source, problem);
    return LS_OK;
}
