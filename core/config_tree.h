/* A small YAML document with line numbers: what libyaml's events say, as nodes in one array.
 *
 * Private to core/config*.c.  Aliases are copied, so a node belongs to one place; depth, node count
 * and size are limited, so a hostile file costs bounded time and memory. */
#ifndef LOCKSTEP_CORE_CONFIG_TREE_H
#define LOCKSTEP_CORE_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

enum {
    TREE_FILE_BYTES = 1 << 20,
    TREE_NODES = 4000,
    TREE_DEPTH = 12,
    TREE_FROM_SET = -1 /* line of a node that --set made */
};

enum tree_kind { TREE_SCALAR, TREE_SEQUENCE, TREE_MAPPING };

struct tree_node {
    enum tree_kind kind;
    char *key;             /* name within its mapping; NULL in a sequence */
    char *text;            /* of a scalar, UTF-8, without 0 bytes */
    bool quoted;           /* a scalar in quotes: text, whatever it looks like */
    bool open;             /* still being read: an alias to it would never end */
    int line;              /* counted from 1, or TREE_FROM_SET */
    int first, last, next; /* children and sibling by index; -1: none */
};

struct tree {
    struct tree_node *nodes;
    int count, room;
    int root; /* a mapping */
};

/* Parse `bytes` of `text`.  `name` stands before the line number in errors.  Close with tree_close,
 * after a failure too.  Local.  Errors: LS_USAGE "NAME:LINE: what is wrong", LS_NOMEM. */
ls_status tree_parse(struct tree *out, const char *text, size_t bytes,
                     const char *name) LS_MUST_CHECK;
void tree_close(struct tree *tree);

/* Set `a.b[0].c=value`: the value is parsed as YAML and replaces what is there; missing mappings on
 * the way are made.  Local.  Errors: LS_USAGE "--set ...: why", LS_NOMEM. */
ls_status tree_set(struct tree *tree, const char *override) LS_MUST_CHECK;

/* The parts that tree_set is made of: parse a value (line TREE_FROM_SET, not yet hung anywhere),
 * add a node, hang it below a parent.  Local.  Errors: LS_USAGE, LS_NOMEM. */
ls_status tree_parse_value(struct tree *tree, const char *text, const char *name,
                           int *out) LS_MUST_CHECK;
ls_status tree_add(struct tree *tree, enum tree_kind kind, int line, int *out) LS_MUST_CHECK;
void tree_append(struct tree *tree, int parent, int child);

/* Child of a mapping by name, -1 when absent; number of children; child of a sequence by position
 * (-1 beyond the end).  Local. */
int tree_find(const struct tree *tree, int mapping, const char *key);
int tree_child_count(const struct tree *tree, int parent);
int tree_child_at(const struct tree *tree, int parent, int position);

/* Put the children of the mapping `from` in the place of those of `into`: sections key by key, all
 * else as a whole.  A key pushes out those that say the same in other words, as tree_set's does.
 * `from` is empty afterwards.  Local. */
void tree_merge(struct tree *tree, int into, int from);

/* Take the named child out of a mapping; nothing there is fine.  Local. */
void tree_remove(struct tree *tree, int mapping, const char *key);

/* Whether a node is a plain scalar that means null.  Local. */
bool tree_is_null(const struct tree *tree, int node);

#endif
