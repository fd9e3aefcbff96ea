/* Reads one YAML value into one field: types and ranges.  A value in quotes is text, as in YAML. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_read.h"
#include "core/files.h"

/* "what is wrong, allowed: ..." */
static bool refuse(struct config_reader *reader, const struct config_key *key, const char *name,
                   int node, const char *what)
{
    char *allowed = NULL;
    if (config_key_allowed(&allowed, key) != LS_OK) {
        reader->no_memory = true;
        return false;
    }
    config_mistake(reader, node, name, "%s; allowed: %s", what, allowed);
    free(allowed);
    return false;
}

static const char *kind_name(enum tree_kind kind)
{
    return kind == TREE_SEQUENCE ? "a list" : "a section";
}

/* The text of a scalar, or NULL and a mistake. */
static const char *scalar(struct config_reader *reader, const struct config_key *key,
                          const char *name, int node)
{
    const struct tree_node *n = &reader->tree.nodes[node];
    char what[40];
    if (n->kind != TREE_SCALAR)
        (void)snprintf(what, sizeof what, "%s does not fit here", kind_name(n->kind));
    else if (tree_is_null(&reader->tree, node))
        (void)snprintf(what, sizeof what, "has no value");
    else
        return n->text;
    (void)refuse(reader, key, name, node, what);
    return NULL;
}

static bool refuse_text(struct config_reader *reader, const struct config_key *key,
                        const char *name, int node, const char *why)
{
    char what[120];
    const struct tree_node *n = &reader->tree.nodes[node];
    (void)snprintf(what, sizeof what, "'%.60s' %s%s", n->text, why,
                   n->quoted ? " (it stands in quotes)" : "");
    return refuse(reader, key, name, node, what);
}

static bool in_range(const struct config_key *key, double value)
{
    bool low = (key->flags & CONFIG_ABOVE_LOW) != 0 ? value > key->low : value >= key->low;
    bool high = (key->flags & CONFIG_BELOW_HIGH) != 0 ? value < key->high : value <= key->high;
    return low && high;
}

static bool read_integer(struct config_reader *reader, const struct config_key *key,
                         const char *name, int node, int64_t *out)
{
    const char *text = scalar(reader, key, name, node);
    if (text == NULL)
        return false;
    size_t sign = text[0] == '-' || text[0] == '+' ? 1 : 0;
    size_t digits = strspn(text + sign, "0123456789");
    /* YAML 1.1 reads 010 as 8: neither meaning is safe. */
    bool octal = text[sign] == '0' && digits > 1;
    if (digits == 0 || text[sign + digits] != '\0' || octal || reader->tree.nodes[node].quoted)
        return refuse_text(reader, key, name, node, "is not an integer");
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno == ERANGE || !in_range(key, (double)value))
        return refuse_text(reader, key, name, node, "is out of range");
    *out = value;
    return true;
}

static bool read_double(struct config_reader *reader, const struct config_key *key,
                        const char *name, int node, double *out)
{
    const char *text = scalar(reader, key, name, node);
    if (text == NULL)
        return false;
    char *end = NULL;
    /* Only decimal notation: strtod would take hexadecimal, inf and nan too. */
    bool plain = strspn(text, "0123456789+-.eE") == strlen(text) &&
                 strpbrk(text, "0123456789") != NULL && !reader->tree.nodes[node].quoted;
    double value = plain ? strtod(text, &end) : 0;
    if (!plain || *end != '\0')
        return refuse_text(reader, key, name, node, "is not a number");
    if (!isfinite(value) || !in_range(key, value))
        return refuse_text(reader, key, name, node, "is out of range");
    *out = value;
    return true;
}

static bool read_bool(struct config_reader *reader, const struct config_key *key, const char *name,
                      int node, bool *out)
{
    static const char *const words[2][4] = {{"false", "no", "off", NULL},
                                            {"true", "yes", "on", NULL}};
    const char *text = scalar(reader, key, name, node);
    if (text == NULL)
        return false;
    for (int value = 0; value < 2 && !reader->tree.nodes[node].quoted; value++)
        for (int i = 0; words[value][i] != NULL; i++) {
            if (strcasecmp(text, words[value][i]) != 0)
                continue;
            if (!in_range(key, value))
                return refuse_text(reader, key, name, node, "is not available");
            *out = value == 1;
            return true;
        }
    return refuse_text(reader, key, name, node, "is not true or false");
}

static bool read_choice(struct config_reader *reader, const struct config_key *key,
                        const char *name, int node, int *out)
{
    const char *text = scalar(reader, key, name, node);
    if (text == NULL)
        return false;
    for (int i = 0; key->choices[i] != NULL; i++) {
        if (strcmp(text, key->choices[i]) == 0) {
            *out = i;
            return true;
        }
    }
    return refuse_text(reader, key, name, node, "is not available");
}

static bool read_text(struct config_reader *reader, const struct config_key *key, const char *name,
                      int node, char **out)
{
    const char *text = scalar(reader, key, name, node);
    if (text == NULL)
        return false;
    if (text[0] == '\0')
        return refuse(reader, key, name, node, "is empty");
    char *copy = NULL;
    if (core_format(&copy, "%s", text) != LS_OK) {
        reader->no_memory = true;
        return false;
    }
    free(*out);
    *out = copy;
    return true;
}

static bool read_pair(struct config_reader *reader, const struct config_key *key, const char *name,
                      int node, double *out)
{
    const struct tree *tree = &reader->tree;
    if (tree->nodes[node].kind != TREE_SEQUENCE || tree_child_count(tree, node) != 2)
        return refuse(reader, key, name, node, "is not a list of two numbers");
    double pair[2];
    for (int i = 0; i < 2; i++)
        if (!read_double(reader, key, name, tree_child_at(tree, node, i), &pair[i]))
            return false;
    if ((key->flags & CONFIG_ASCENDING) != 0 && pair[0] > pair[1])
        return refuse(reader, key, name, node, "the first number is above the second");
    out[0] = pair[0];
    out[1] = pair[1];
    return true;
}

/* S, or [H, W]. */
static bool read_size(struct config_reader *reader, const struct config_key *key, const char *name,
                      int node, int *out)
{
    const struct tree *tree = &reader->tree;
    int64_t size[2];
    bool list = tree->nodes[node].kind == TREE_SEQUENCE;
    if (list && tree_child_count(tree, node) != 2)
        return refuse(reader, key, name, node, "is not a list of two integers");
    for (int i = 0; i < 2; i++) {
        int entry = list ? tree_child_at(tree, node, i) : node;
        if ((i == 0 || list) && !read_integer(reader, key, name, entry, &size[i]))
            return false;
    }
    out[0] = (int)size[0];
    out[1] = (int)size[list ? 1 : 0];
    return true;
}

bool config_read_value(struct config_reader *reader, const struct config_key *key, const char *name,
                       int node, void *base)
{
    void *field = (char *)base + key->offset;
    int64_t integer = 0;
    switch (key->type) {
    case CONFIG_TYPE_BOOL:
        return read_bool(reader, key, name, node, field);
    case CONFIG_TYPE_INT:
        if (!read_integer(reader, key, name, node, &integer))
            return false;
        *(int *)field = (int)integer;
        return true;
    case CONFIG_TYPE_INT64:
        return read_integer(reader, key, name, node, field);
    case CONFIG_TYPE_DOUBLE:
        return read_double(reader, key, name, node, field);
    case CONFIG_TYPE_PAIR:
        return read_pair(reader, key, name, node, field);
    case CONFIG_TYPE_SIZE:
        return read_size(reader, key, name, node, field);
    case CONFIG_TYPE_TEXT:
        return read_text(reader, key, name, node, field);
    case CONFIG_TYPE_CHOICE:
        return read_choice(reader, key, name, node, field);
    case CONFIG_TYPE_IGNORED:
        return key->choices == NULL || read_choice(reader, key, name, node, &(int){0});
    case CONFIG_TYPE_PATHS:
    case CONFIG_TYPE_WEIGHTS:
    case CONFIG_TYPE_FRAMES:
    case CONFIG_TYPE_MASKS:
        break;
    }
    return false;
}
