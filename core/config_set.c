/* --set a.b[0].c=value: puts a value into the tree before it is read, so that an override is
 * checked as the file is.  Two keys that say the same in other words push each other out: an
 * override of optimization.steps takes the place of the file's epochs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_tree.h"
#include "core/files.h"

enum { NAME_BYTES = 64 };

/* One step of a path: a name or a position. */
struct step {
    char name[NAME_BYTES]; /* "" for a position */
    int position;
};

/* Read the next step from `*path`; false when it is malformed. */
static bool next_step(struct step *out, const char **path)
{
    const char *text = *path;
    *out = (struct step){.position = -1};
    if (*text == '[') {
        size_t digits = strspn(text + 1, "0123456789");
        if (digits == 0 || digits > 4 || text[1 + digits] != ']')
            return false;
        out->position = (int)strtol(text + 1, NULL, 10);
        text += digits + 2;
    } else {
        size_t length = strcspn(text, ".[]= \t\n");
        if (length == 0 || length >= NAME_BYTES)
            return false;
        memcpy(out->name, text, length);
        text += length;
    }
    bool more = *text == '.';
    if (more)
        text++;
    if (*text != '\0' && *text != '[' && !more)
        return false;
    if (more && (*text == '\0' || *text == '['))
        return false;
    *path = text;
    return true;
}

/* Give the mapping `parent` a child of that name: a new one or what was there, emptied of its
 * place. */
static ls_status hang(struct tree *tree, int parent, const char *name, int child)
{
    tree_remove(tree, parent, name);
    ls_status st = core_format(&tree->nodes[child].key, "%s", name);
    if (st == LS_OK)
        tree_append(tree, parent, child);
    return st;
}

void tree_remove(struct tree *tree, int mapping, const char *key)
{
    int before = -1;
    int child = tree->nodes[mapping].first;
    while (child >= 0 && strcmp(tree->nodes[child].key, key) != 0) {
        before = child;
        child = tree->nodes[child].next;
    }
    if (child < 0)
        return;
    int after = tree->nodes[child].next;
    if (before < 0)
        tree->nodes[mapping].first = after;
    else
        tree->nodes[before].next = after;
    if (tree->nodes[mapping].last == child)
        tree->nodes[mapping].last = before;
    tree->nodes[child].next = -1;
}

/* The mapping below `parent` that `name` stands for; made where the file has none. */
static ls_status enter(struct tree *tree, int parent, const char *name, int *out)
{
    int child = tree_find(tree, parent, name);
    if (child >= 0 && !tree_is_null(tree, child)) {
        *out = child;
        return LS_OK;
    }
    ls_status st = tree_add(tree, TREE_MAPPING, TREE_FROM_SET, &child);
    if (st == LS_OK)
        st = hang(tree, parent, name, child);
    *out = child;
    return st;
}

/* Swap the content of an entry of a list for `value`; its place in the list stays. */
static void replace_entry(struct tree *tree, int entry, int value)
{
    int next = tree->nodes[entry].next;
    struct tree_node old = tree->nodes[entry];
    tree->nodes[entry] = tree->nodes[value];
    tree->nodes[entry].next = next;
    tree->nodes[value] = old; /* tree_close frees it */
}

/* The key that says the same as `name` in other words: only one of them is meant to be given. */
static const char *rival_of(const char *name)
{
    static const char *const rivals[][2] = {
        {"steps", "epochs"},
        {"warmup_steps", "warmup"},
        {"fps", "frame_step"},
    };
    for (size_t i = 0; i < sizeof rivals / sizeof *rivals; i++)
        for (int side = 0; side < 2; side++)
            if (strcmp(rivals[i][side], name) == 0)
                return rivals[i][1 - side];
    return NULL;
}

static void remove_rival(struct tree *tree, int parent, const char *name)
{
    const char *rival = rival_of(name);
    if (rival != NULL)
        tree_remove(tree, parent, rival);
}

void tree_merge(struct tree *tree, int into, int from)
{
    int next = -1;
    /* Two keys that stand together in `from` are the reader's to complain about. */
    for (int child = tree->nodes[from].first; child >= 0; child = tree->nodes[child].next) {
        const char *rival = rival_of(tree->nodes[child].key);
        if (rival != NULL && tree_find(tree, from, rival) < 0)
            tree_remove(tree, into, rival);
    }
    for (int child = tree->nodes[from].first; child >= 0; child = next) {
        next = tree->nodes[child].next;
        int there = tree_find(tree, into, tree->nodes[child].key);
        if (there >= 0 && tree->nodes[there].kind == TREE_MAPPING &&
            tree->nodes[child].kind == TREE_MAPPING) {
            tree_merge(tree, there, child);
            continue;
        }
        tree_remove(tree, into, tree->nodes[child].key);
        tree->nodes[child].next = -1;
        tree_append(tree, into, child);
    }
    tree->nodes[from].first = -1;
    tree->nodes[from].last = -1;
}

ls_status tree_set(struct tree *tree, const char *override)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *name = NULL;
    const char *equals = strchr(override, '=');
    if (equals == NULL || equals == override)
        return LS_FAIL(LS_USAGE,
                       "--set %.200s: write it as key=value, for example data.batch_size=4",
                       override);
    LS_TRY(core_format(&path, "%.*s", (int)(equals - override), override));
    LS_TRY(core_format(&name, "--set %s", path));
    int value = -1;
    LS_TRY(tree_parse_value(tree, equals + 1, name, &value));
    int parent = tree->root;
    for (const char *rest = path; *rest != '\0';) {
        struct step step;
        if (!next_step(&step, &rest)) {
            st = LS_FAIL(LS_USAGE, "%s: not a key; write it as section.key or mask[0].num_blocks",
                         name);
            goto done;
        }
        bool last = *rest == '\0';
        bool list = step.position >= 0;
        if (tree->nodes[parent].kind != (list ? TREE_SEQUENCE : TREE_MAPPING)) {
            st = LS_FAIL(LS_USAGE, "%s: '%s' is sought in a value that is no %s", name,
                         list ? "an entry" : step.name, list ? "list" : "section");
            goto done;
        }
        if (list) {
            int entry = tree_child_at(tree, parent, step.position);
            if (entry < 0) {
                st = LS_FAIL(LS_USAGE, "%s: the list has %d entries, the first is [0]", name,
                             tree_child_count(tree, parent));
                goto done;
            }
            if (last)
                replace_entry(tree, entry, value);
            parent = entry;
        } else if (last) {
            remove_rival(tree, parent, step.name);
            LS_TRY(hang(tree, parent, step.name, value));
        } else {
            LS_TRY(enter(tree, parent, step.name, &parent));
        }
    }
done:
    free(path);
    free(name);
    return st;
}
