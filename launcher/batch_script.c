/* The template holds what a site may want to change; this file only knows what the names mean. */
#include "launcher/batch_script.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { VALUES_MAX = 24, NAME_BYTES = 32 };

struct value {
    char name[NAME_BYTES];
    char *text; /* NULL: not given */
};

struct values {
    struct value list[VALUES_MAX];
    int count;
};

/* Text that grows. */
struct page {
    char *text;
    size_t used, room;
};

static ls_status append(struct page *page, const char *text, size_t bytes)
{
    if (page->used + bytes + 1 > page->room) {
        size_t room = 2 * (page->used + bytes) + 1024;
        char *more = realloc(page->text, room);
        if (more == NULL)
            return LS_FAIL(LS_NOMEM, "out of memory for a job script");
        page->text = more;
        page->room = room;
    }
    memcpy(page->text + page->used, text, bytes);
    page->used += bytes;
    page->text[page->used] = '\0';
    return LS_OK;
}

static ls_status give(struct values *values, const char *name, const char *text)
{
    struct value *value = &values->list[values->count++];
    (void)snprintf(value->name, sizeof value->name, "%s", name);
    return text != NULL && text[0] != '\0' ? core_format(&value->text, "%s", text) : LS_OK;
}

static ls_status give_number(struct values *values, const char *name, long number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%ld", number);
    return give(values, name, number > 0 ? text : NULL);
}

/* As one word of a shell, with "'" as in 'it'\''s'. */
static ls_status append_quoted(struct page *page, const char *text)
{
    ls_status st = append(page, "'", 1);
    for (const char *c = text; *c != '\0' && st == LS_OK; c++)
        st = *c == '\'' ? append(page, "'\\''", 4) : append(page, c, 1);
    return st == LS_OK ? append(page, "'", 1) : st;
}

static ls_status give_quoted(struct values *values, const char *name, const char *text)
{
    struct page page = {0};
    ls_status st = append_quoted(&page, text);
    if (st == LS_OK)
        st = give(values, name, page.text);
    free(page.text);
    return st;
}

static ls_status give_command(struct values *values, const struct batch_script *script)
{
    ls_status st = LS_OK;
    struct page page = {0};
    char *config = NULL;
    LS_TRY(core_format(&config, "%s/submit/config.yaml", script->run));
    LS_TRY(append_quoted(&page, script->lockstep));
    LS_TRY(append(&page, " train ", 7));
    LS_TRY(append_quoted(&page, config));
    if (script->requeue)
        LS_TRY(append(&page, " --requeue", 10));
    LS_TRY(give(values, "command", page.text));
done:
    free(config);
    free(page.text);
    return st;
}

static void free_values(struct values *values)
{
    for (int i = 0; i < values->count; i++)
        free(values->list[i].text);
}

static int gpus_of(const struct batch_script *script)
{
    const struct config *config = script->config;
    bool none =
        config->run.device == CONFIG_DEVICE_CPU || config->run.device == CONFIG_DEVICE_EMULATED;
    if (config->slurm.gpus_per_node >= 0)
        return config->slurm.gpus_per_node;
    return none ? 0 : script->tasks_per_node;
}

/* "220G" for a worker: a node without GPUs needs it once for each of its tasks. */
static ls_status give_memory(struct values *values, const struct batch_script *script, int gpus)
{
    ls_status st = LS_OK;
    const char *text = script->config->mem_per_gpu;
    char whole[32] = "";
    char *unit = NULL;
    long number = text != NULL ? strtol(text, &unit, 10) : 0;
    if (text != NULL && (number < 1 || number > 1000000000 || strlen(unit) > 1 ||
                         (unit[0] != '\0' && strchr("KMGT", toupper(unit[0])) == NULL)))
        return LS_FAIL(LS_USAGE, "mem_per_gpu: '%s' is not a number and K, M, G or T", text);
    if (text != NULL && gpus == 0)
        (void)snprintf(whole, sizeof whole, "%ld%s", number * script->tasks_per_node, unit);
    LS_TRY(give(values, "mem_per_gpu", gpus > 0 ? text : NULL));
    LS_TRY(give(values, "mem", whole));
done:
    return st;
}

/* Paths in #SBATCH lines stand in double quotes; "%" means something to sbatch. */
static ls_status give_output(struct values *values, const char *run)
{
    struct page page = {0};
    ls_status st = append(&page, "\"", 1);
    for (const char *c = run; *c != '\0' && st == LS_OK; c++)
        st = *c == '%' ? append(&page, "%%", 2) : append(&page, c, 1);
    if (st == LS_OK)
        st = append(&page, "/slurm-%j.log\"", 14);
    if (st == LS_OK)
        st = give(values, "output", page.text);
    free(page.text);
    return st;
}

static ls_status collect(struct values *values, const struct batch_script *script)
{
    ls_status st = LS_OK;
    const struct config *config = script->config;
    const struct config_slurm *slurm = &config->slurm;
    const char *name = strrchr(script->run, '/');
    int gpus = gpus_of(script);
    LS_TRY(give_quoted(values, "job_name", name != NULL ? name + 1 : script->run));
    LS_TRY(give_output(values, script->run));
    LS_TRY(give_number(values, "nodes", script->nodes));
    LS_TRY(give_number(values, "tasks_per_node", script->tasks_per_node));
    LS_TRY(give_number(values, "cpus_per_task", config->cpus_per_task));
    LS_TRY(give_number(values, "gpus_per_node", gpus));
    LS_TRY(give_memory(values, script, gpus));
    LS_TRY(give(values, "time", slurm->time));
    LS_TRY(give(values, "account", slurm->account));
    LS_TRY(give(values, "partition", slurm->partition));
    LS_TRY(give(values, "qos", slurm->qos));
    LS_TRY(give(values, "constraint", slurm->constraint));
    LS_TRY(give(values, "signal", slurm->signal));
    LS_TRY(give(values, "requeue", script->requeue ? "--requeue" : "--no-requeue"));
    LS_TRY(give(values, "no_kill", config->run.min_workers > 0 ? "--no-kill" : NULL));
    LS_TRY(give(values, "extra", slurm->extra));
    LS_TRY(give(values, "setup", slurm->setup));
    LS_TRY(give_command(values, script));
done:
    return st;
}

/* "@name@" at `at`: its value, NULL where it is no such word.  `*bytes` is its length. */
static const struct value *value_at(const struct values *values, const char *at, size_t *bytes)
{
    size_t length = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_");
    *bytes = length + 2;
    if (at[0] != '@' || length == 0 || at[length + 1] != '@')
        return NULL;
    for (int i = 0; i < values->count; i++)
        if (strlen(values->list[i].name) == length &&
            strncmp(values->list[i].name, at + 1, length) == 0)
            return &values->list[i];
    return NULL;
}

/* Line `part` (counted from 0) of a text; NULL past its end. */
static const char *line_of(const char *text, int part, size_t *bytes)
{
    for (; part > 0 && text != NULL; part--) {
        text = strchr(text, '\n');
        text = text != NULL ? text + 1 : NULL;
    }
    if (text == NULL || *text == '\0')
        return NULL;
    *bytes = strcspn(text, "\n");
    return text;
}

/* One line of the template, filled with line `part` of values that have several; false: there is no
 * such line, or a value is not given. */
static ls_status fill_line(struct page *page, bool *filled, const struct values *values,
                           const char *line, size_t bytes, int part)
{
    ls_status st = LS_OK;
    size_t before = page->used;
    bool repeats = part == 0;
    *filled = false;
    for (const char *at = line; at < line + bytes;) {
        size_t word = 0;
        size_t piece = 0;
        const struct value *value = value_at(values, at, &word);
        if (value == NULL) {
            LS_TRY(append(page, at++, 1));
            continue;
        }
        bool several = value->text != NULL && strchr(value->text, '\n') != NULL;
        const char *text = line_of(value->text, several ? part : 0, &piece);
        if (text == NULL)
            goto done;
        repeats = repeats || several;
        LS_TRY(append(page, text, piece));
        at += word;
    }
    if (repeats) {
        LS_TRY(append(page, "\n", 1));
        *filled = true;
    }
done:
    if (!*filled)
        page->used = before;
    return st;
}

/* A word between at signs that no value has. */
static ls_status check_line(const struct values *values, const char *line, size_t bytes,
                            const char *path)
{
    for (const char *at = memchr(line, '@', bytes); at != NULL && at < line + bytes;
         at = strchr(at + 1, '@')) {
        size_t word = 0;
        bool known = value_at(values, at, &word) != NULL;
        if (!known && at[word - 1] == '@' && word > 2)
            return LS_FAIL(LS_USAGE, "%s: no value is called %.*s", path, (int)word, at);
        if (known)
            at += word - 1;
    }
    return LS_OK;
}

ls_status batch_script_render(char **out, const char *template_text, const char *template_path,
                              const struct batch_script *script)
{
    ls_status st = LS_OK;
    struct values values = {0};
    struct page page = {0};
    LS_TRY(append(&page, "", 0));
    LS_TRY(collect(&values, script));
    for (const char *line = template_text; *line != '\0';) {
        size_t bytes = strcspn(line, "\n");
        bool filled = true;
        LS_TRY(check_line(&values, line, bytes, template_path));
        for (int part = 0; filled; part++)
            LS_TRY(fill_line(&page, &filled, &values, line, bytes, part));
        line += bytes;
        line += *line == '\n';
    }
    page.text[page.used] = '\0';
    *out = page.text;
    page.text = NULL;
done:
    free_values(&values);
    free(page.text);
    return st;
}
