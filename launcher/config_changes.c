/* config_dump writes a narrow YAML: sections, `key: value` lines, lists of plain values, and the
 * mask groups.  Each line becomes one entry "section.key[i]" with its value; two lists of entries
 * are compared by key. */
#include "launcher/config_changes.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { KEY_BYTES = 128, NUMBER_BYTES = 24 };

struct entry {
    char key[KEY_BYTES];
    const char *value; /* in the text, up to the line's end, or `number` */
    int length;
    bool matched;
    char number[NUMBER_BYTES];
};
struct entries {
    struct entry *list;
    int count;
};

/* Where the reader is: the section, the list in it, the item of the list. */
struct place {
    char section[KEY_BYTES / 2];
    char list[KEY_BYTES / 2];
    int item; /* -1: before the first */
};

static void add(struct entries *entries, const struct place *place, const char *name, int length,
                const char *value, int value_length)
{
    struct entry *entry = &entries->list[entries->count++];
    entry->value = value;
    entry->length = value_length;
    size_t used = 0;
    used += (size_t)snprintf(entry->key, KEY_BYTES, "%s", place->section);
    if (place->list[0] != '\0' && used < KEY_BYTES)
        used += (size_t)snprintf(entry->key + used, KEY_BYTES - used, "%s%s", used > 0 ? "." : "",
                                 place->list);
    if (place->item >= 0 && used < KEY_BYTES)
        used += (size_t)snprintf(entry->key + used, KEY_BYTES - used, "[%d]", place->item);
    if (length > 0 && used < KEY_BYTES)
        (void)snprintf(entry->key + used, KEY_BYTES - used, "%s%.*s", used > 0 ? "." : "", length,
                       name);
}

static void take_line(struct entries *entries, struct place *place, const char *line, int length)
{
    int indent = (int)strspn(line, " ");
    bool item = line[indent] == '-' && line[indent + 1] == ' ';
    const char *word = line + indent + (item ? 2 : 0);
    int left = length - (int)(word - line);
    int name = 0; /* length of "key" in "key: value" or "key:" */
    if (word[0] != '"')
        for (int i = 0; i < left && name == 0; i++)
            if (word[i] == ':' && (i + 1 == left || word[i + 1] == ' '))
                name = i;
    bool opens = name > 0 && name + 1 == left;
    bool in_list = item || (indent == 2 && place->item >= 0 && place->list[0] == '\0');
    if (!in_list) {
        place->item = -1;
        place->list[0] = '\0';
        if (indent == 0)
            place->section[0] = '\0';
    }
    if (opens) {
        char *into = indent == 0 ? place->section : place->list;
        (void)snprintf(into, sizeof place->list, "%.*s", name, word);
        return;
    }
    if (item)
        place->item++;
    if (name > 0)
        add(entries, place, word, name, word + name + 2, left - name - 2);
    else
        add(entries, place, "", 0, word, left);
}

static ls_status read_entries(struct entries *out, const char *text)
{
    size_t lines = 1;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    struct place place = {.item = -1};
    ls_status st = core_alloc(&out->list, lines);
    while (st == LS_OK && *text != '\0') {
        int length = (int)strcspn(text, "\n");
        if (length > 0)
            take_line(out, &place, text, length);
        text += length + (text[length] == '\n');
    }
    return st;
}

/* Keys that the shapes of the stored weights follow from. */
static bool is_fixed(const char *key)
{
    static const char *const fixed[] = {
        "model.model_name",     "model.embed_dim",       "model.depth",      "model.num_heads",
        "model.mlp_ratio",      "model.pred_embed_dim",  "model.pred_depth", "model.pred_num_heads",
        "model.pred_mlp_ratio", "model.num_mask_tokens", "model.use_rope",   "data.patch_size",
        "data.tubelet_size"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (strcmp(key, fixed[i]) == 0)
            return true;
    return false;
}

static struct entry *find(const struct entries *entries, const char *key)
{
    for (int i = 0; i < entries->count; i++)
        if (strcmp(entries->list[i].key, key) == 0)
            return &entries->list[i];
    return NULL;
}

/* The dump writes a length given in steps as one epoch of that many, and the warm-up as a share of
 * it: they are told in steps again, so that one change is not two, in words that nobody wrote. */
static void tell_in_steps(const struct entries *entries)
{
    struct entry *ipe = find(entries, "optimization.ipe");
    struct entry *warmup = find(entries, "optimization.warmup");
    if (ipe != NULL && warmup != NULL) {
        double steps = strtod(warmup->value, NULL) * strtod(ipe->value, NULL);
        (void)snprintf(warmup->number, NUMBER_BYTES, "%" PRId64, (int64_t)steps);
        (void)snprintf(warmup->key, KEY_BYTES, "optimization.warmup_steps");
        warmup->value = warmup->number;
        warmup->length = (int)strlen(warmup->number);
    }
    if (ipe != NULL)
        (void)snprintf(ipe->key, KEY_BYTES, "optimization.steps");
}

static bool is_one_epoch(const struct entries *entries)
{
    const struct entry *epochs = find(entries, "optimization.epochs");
    return epochs != NULL && epochs->length == 1 && epochs->value[0] == '1' &&
           find(entries, "optimization.steps") == NULL;
}

static bool same_value(const struct entry *a, const struct entry *b)
{
    return a->length == b->length && strncmp(a->value, b->value, (size_t)a->length) == 0;
}

/* A key that was changed, added (`before` NULL) or taken away (`after` NULL). */
static ls_status append_change(char **changes, const struct entry *before,
                               const struct entry *after, const char *run)
{
    char *longer = NULL;
    const struct entry *known = after != NULL ? after : before;
    if (known == NULL)
        return LS_OK;
    const char *key = known->key;
    const char *old_value = before != NULL ? before->value : "none";
    const char *new_value = after != NULL ? after->value : "none";
    int old_length = before != NULL ? before->length : 4;
    int new_length = after != NULL ? after->length : 4;
    if (is_fixed(key))
        return LS_FAIL(LS_USAGE,
                       "%s: the run has %s %.*s, the config now says %.*s: its weights would not "
                       "fit; use another folder, or --fresh",
                       run, key, old_length, old_value, new_length, new_value);
    ls_status st =
        core_format(&longer, "%s%s%s %.*s -> %.*s", *changes, (*changes)[0] != '\0' ? ", " : "",
                    key, old_length, old_value, new_length, new_value);
    if (st != LS_OK)
        return st;
    free(*changes);
    *changes = longer;
    return LS_OK;
}

ls_status config_changes(char **out, const char *before, const char *after, const char *run)
{
    ls_status st = LS_OK;
    struct entries old = {0};
    struct entries new = {0};
    char *changes = NULL;
    LS_TRY(core_format(&changes, "%s", ""));
    LS_TRY(read_entries(&old, before));
    LS_TRY(read_entries(&new, after));
    if (is_one_epoch(&old) && is_one_epoch(&new)) {
        tell_in_steps(&old);
        tell_in_steps(&new);
    }
    for (int i = 0; i < new.count; i++) {
        struct entry *was = find(&old, new.list[i].key);
        if (was != NULL)
            was->matched = true;
        if (was == NULL || !same_value(was, &new.list[i]))
            LS_TRY(append_change(&changes, was, &new.list[i], run));
    }
    for (int i = 0; i < old.count; i++)
        if (!old.list[i].matched)
            LS_TRY(append_change(&changes, &old.list[i], NULL, run));
    *out = changes;
    changes = NULL;
done:
    free(old.list);
    free(new.list);
    free(changes);
    return st;
}
