/* Reads YAML into a tree of nodes.  What the keys mean is left to config_read.c.  libyaml's events
 * are used rather than its documents, because depth and size can then be limited while reading and
 * duplicate keys and endless aliases can be refused where they stand. */
#include "core/config_tree.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/files.h"

struct anchor {
    char *name;
    int node;
};

struct tree_builder {
    struct tree *tree;
    const char *name;
    int line_shift; /* TREE_FROM_SET for values of --set, else 0 */
    yaml_parser_t parser;
    int stack[TREE_DEPTH];
    int depth;
    char *key; /* of the mapping on top of the stack, waiting for its value */
    int key_line;
    struct anchor *anchors;
    int anchor_count, anchor_room;
};

static ls_status copy_text(char **out, const char *text)
{
    return core_format(out, "%s", text);
}

ls_status tree_add(struct tree *tree, enum tree_kind kind, int line, int *out)
{
    if (tree->count == TREE_NODES)
        return LS_FAIL(LS_USAGE, "more than %d values", TREE_NODES);
    if (tree->count == tree->room) {
        int room = tree->room > 0 ? 2 * tree->room : 128;
        struct tree_node *nodes = realloc(tree->nodes, (size_t)room * sizeof *nodes);
        if (nodes == NULL)
            return LS_FAIL(LS_NOMEM, "out of memory for a config");
        tree->nodes = nodes;
        tree->room = room;
    }
    tree->nodes[tree->count] =
        (struct tree_node){.kind = kind, .line = line, .first = -1, .last = -1, .next = -1};
    *out = tree->count++;
    return LS_OK;
}

void tree_append(struct tree *tree, int parent, int child)
{
    struct tree_node *nodes = tree->nodes;
    if (nodes[parent].last < 0)
        nodes[parent].first = child;
    else
        nodes[nodes[parent].last].next = child;
    nodes[parent].last = child;
}

/* Copy the children of `from` below `to`.  Recursion ends with TREE_DEPTH, the copy with
 * TREE_NODES. */
static ls_status copy_children(struct tree *tree, int from, int to, int depth)
{
    ls_status st = LS_OK;
    if (depth > TREE_DEPTH)
        return LS_FAIL(LS_USAGE, "nested deeper than %d", TREE_DEPTH);
    for (int child = tree->nodes[from].first; child >= 0; child = tree->nodes[child].next) {
        int copy = -1;
        LS_TRY(tree_add(tree, tree->nodes[child].kind, tree->nodes[child].line, &copy));
        tree->nodes[copy].quoted = tree->nodes[child].quoted;
        if (tree->nodes[child].key != NULL)
            LS_TRY(copy_text(&tree->nodes[copy].key, tree->nodes[child].key));
        if (tree->nodes[child].text != NULL)
            LS_TRY(copy_text(&tree->nodes[copy].text, tree->nodes[child].text));
        tree_append(tree, to, copy);
        LS_TRY(copy_children(tree, child, copy, depth + 1));
    }
done:
    return st;
}

static int event_line(const struct tree_builder *builder, const yaml_event_t *event)
{
    if (builder->line_shift == TREE_FROM_SET)
        return TREE_FROM_SET;
    return event->start_mark.line < INT_MAX ? (int)event->start_mark.line + 1 : INT_MAX;
}

static ls_status remember_anchor(struct tree_builder *builder, const yaml_char_t *name, int node)
{
    if (name == NULL)
        return LS_OK;
    if (builder->anchor_count == builder->anchor_room) {
        int room = builder->anchor_room > 0 ? 2 * builder->anchor_room : 16;
        struct anchor *anchors = realloc(builder->anchors, (size_t)room * sizeof *anchors);
        if (anchors == NULL)
            return LS_FAIL(LS_NOMEM, "out of memory for a config");
        builder->anchors = anchors;
        builder->anchor_room = room;
    }
    struct anchor *anchor = &builder->anchors[builder->anchor_count];
    anchor->node = node;
    ls_status st = copy_text(&anchor->name, (const char *)name);
    if (st == LS_OK)
        builder->anchor_count++;
    return st;
}

static ls_status find_anchor(const struct tree_builder *builder, const char *name, int *out)
{
    for (int i = builder->anchor_count - 1; i >= 0; i--) { /* the newest of a name counts */
        if (strcmp(builder->anchors[i].name, name) != 0)
            continue;
        if (builder->tree->nodes[builder->anchors[i].node].open)
            return LS_FAIL(LS_USAGE, "alias *%.60s lies within its own anchor", name);
        *out = builder->anchors[i].node;
        return LS_OK;
    }
    return LS_FAIL(LS_USAGE, "alias *%.60s has no anchor before it", name);
}

/* Whether the event on hand would be a key of the mapping on top of the stack. */
static bool wants_key(const struct tree_builder *builder)
{
    return builder->depth > 0 && builder->key == NULL &&
           builder->tree->nodes[builder->stack[builder->depth - 1]].kind == TREE_MAPPING;
}

/* Hang a new node where the builder stands. */
static void place_node(struct tree_builder *builder, int node)
{
    struct tree *tree = builder->tree;
    if (builder->depth == 0) {
        tree->root = node;
        return;
    }
    if (builder->key != NULL) {
        tree->nodes[node].key = builder->key;
        tree->nodes[node].line = builder->key_line; /* where people look for it */
        builder->key = NULL;
    }
    tree_append(tree, builder->stack[builder->depth - 1], node);
}

static ls_status scalar_text(const yaml_event_t *event, char **out)
{
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length)
        return LS_FAIL(LS_USAGE, "a 0 byte within a text");
    return copy_text(out, text);
}

static ls_status on_key(struct tree_builder *builder, const yaml_event_t *event)
{
    if (event->type != YAML_SCALAR_EVENT)
        return LS_FAIL(LS_USAGE, "a key must be a word");
    ls_status st = scalar_text(event, &builder->key);
    builder->key_line = event_line(builder, event);
    int parent = builder->stack[builder->depth - 1];
    if (st != LS_OK)
        return st;
    int earlier = tree_find(builder->tree, parent, builder->key);
    if (earlier >= 0)
        return LS_FAIL(LS_USAGE, "%.80s: the key stands here twice, first in line %d", builder->key,
                       builder->tree->nodes[earlier].line);
    return LS_OK;
}

static ls_status on_scalar(struct tree_builder *builder, const yaml_event_t *event)
{
    ls_status st = LS_OK;
    int node = -1;
    LS_TRY(tree_add(builder->tree, TREE_SCALAR, event_line(builder, event), &node));
    place_node(builder, node);
    builder->tree->nodes[node].quoted = event->data.scalar.plain_implicit == 0;
    LS_TRY(scalar_text(event, &builder->tree->nodes[node].text));
    LS_TRY(remember_anchor(builder, event->data.scalar.anchor, node));
done:
    return st;
}

static ls_status on_start(struct tree_builder *builder, const yaml_event_t *event)
{
    ls_status st = LS_OK;
    int node = -1;
    bool mapping = event->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *anchor =
        mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    if (builder->depth == TREE_DEPTH)
        return LS_FAIL(LS_USAGE, "nested deeper than %d", TREE_DEPTH);
    LS_TRY(tree_add(builder->tree, mapping ? TREE_MAPPING : TREE_SEQUENCE,
                    event_line(builder, event), &node));
    place_node(builder, node);
    builder->tree->nodes[node].open = true;
    builder->stack[builder->depth++] = node;
    LS_TRY(remember_anchor(builder, anchor, node));
done:
    return st;
}

static ls_status on_alias(struct tree_builder *builder, const yaml_event_t *event)
{
    ls_status st = LS_OK;
    struct tree *tree = builder->tree;
    int from = -1;
    int node = -1;
    LS_TRY(find_anchor(builder, (const char *)event->data.alias.anchor, &from));
    LS_TRY(tree_add(tree, tree->nodes[from].kind, event_line(builder, event), &node));
    place_node(builder, node);
    tree->nodes[node].quoted = tree->nodes[from].quoted;
    if (tree->nodes[from].text != NULL)
        LS_TRY(copy_text(&tree->nodes[node].text, tree->nodes[from].text));
    LS_TRY(copy_children(tree, from, node, builder->depth + 1));
done:
    return st;
}

static ls_status on_event(struct tree_builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (builder->tree->root >= 0)
            return LS_FAIL(LS_USAGE, "a second document; a config is one");
        return LS_OK;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        builder->tree->nodes[builder->stack[--builder->depth]].open = false;
        return LS_OK;
    case YAML_SCALAR_EVENT:
        return wants_key(builder) ? on_key(builder, event) : on_scalar(builder, event);
    case YAML_ALIAS_EVENT:
        return wants_key(builder) ? on_key(builder, event) : on_alias(builder, event);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return wants_key(builder) ? on_key(builder, event) : on_start(builder, event);
    default:
        return LS_OK;
    }
}

/* Put the place before the message of the failure on record. */
static ls_status add_place(ls_status st, const struct tree_builder *builder, size_t line)
{
    char *message = NULL;
    if (core_format(&message, "%s", status_message()) != LS_OK)
        return LS_NOMEM;
    if (builder->line_shift == TREE_FROM_SET)
        st = LS_FAIL(st, "%s: %s", builder->name, message);
    else
        st = LS_FAIL(st, "%s:%zu: %s", builder->name, line + 1, message);
    free(message);
    return st;
}

static ls_status read_events(struct tree_builder *builder)
{
    for (;;) {
        yaml_event_t event;
        if (yaml_parser_parse(&builder->parser, &event) == 0) {
            const yaml_parser_t *parser = &builder->parser;
            if (parser->error == YAML_MEMORY_ERROR)
                return LS_FAIL(LS_NOMEM, "out of memory for a config");
            const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";
            ls_status st = LS_FAIL(LS_USAGE, "not valid YAML: %s%s%s", problem,
                                   parser->context != NULL ? " " : "",
                                   parser->context != NULL ? parser->context : "");
            bool bad_bytes = parser->error == YAML_READER_ERROR; /* has no problem_mark */
            return add_place(st, builder,
                             bad_bytes ? parser->mark.line : parser->problem_mark.line);
        }
        bool end = event.type == YAML_STREAM_END_EVENT;
        ls_status st = on_event(builder, &event);
        if (st != LS_OK)
            st = add_place(st, builder, event.start_mark.line);
        yaml_event_delete(&event);
        if (st != LS_OK || end)
            return st;
    }
}

/* Append what `text` says to the tree's nodes; tree->root becomes its top node, -1 if it is empty.
 */
static ls_status parse_into(struct tree *tree, const char *text, size_t bytes, const char *name,
                            int line_shift)
{
    struct tree_builder builder = {.tree = tree, .name = name, .line_shift = line_shift};
    tree->root = -1;
    if (yaml_parser_initialize(&builder.parser) == 0)
        return LS_FAIL(LS_NOMEM, "out of memory for a config");
    yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&builder.parser, (const unsigned char *)text, bytes);
    ls_status st = read_events(&builder);
    yaml_parser_delete(&builder.parser);
    for (int i = 0; i < builder.anchor_count; i++)
        free(builder.anchors[i].name);
    free(builder.anchors);
    free(builder.key);
    return st;
}

ls_status tree_parse(struct tree *out, const char *text, size_t bytes, const char *name)
{
    *out = (struct tree){.root = -1};
    ls_status st = parse_into(out, text, bytes, name, 0);
    if (st != LS_OK)
        return st;
    if (out->root < 0 || tree_is_null(out, out->root))
        return LS_FAIL(LS_USAGE, "%s: empty, a config is a mapping of keys to values", name);
    if (out->nodes[out->root].kind != TREE_MAPPING)
        return LS_FAIL(LS_USAGE, "%s:%d: a config is a mapping of keys to values", name,
                       out->nodes[out->root].line);
    return LS_OK;
}

void tree_close(struct tree *tree)
{
    for (int i = 0; i < tree->count; i++) {
        free(tree->nodes[i].key);
        free(tree->nodes[i].text);
    }
    free(tree->nodes);
    *tree = (struct tree){.root = -1};
}

ls_status tree_parse_value(struct tree *tree, const char *text, const char *name, int *out)
{
    int root = tree->root;
    ls_status st = parse_into(tree, text, strlen(text), name, TREE_FROM_SET);
    *out = tree->root;
    tree->root = root;
    if (st != LS_OK || *out >= 0)
        return st;
    st = tree_add(tree, TREE_SCALAR, TREE_FROM_SET, out); /* nothing is null */
    return st == LS_OK ? copy_text(&tree->nodes[*out].text, "") : st;
}

int tree_find(const struct tree *tree, int mapping, const char *key)
{
    if (tree->nodes[mapping].kind != TREE_MAPPING)
        return -1;
    int child = tree->nodes[mapping].first;
    while (child >= 0 && strcmp(tree->nodes[child].key, key) != 0)
        child = tree->nodes[child].next;
    return child;
}

int tree_child_count(const struct tree *tree, int parent)
{
    int count = 0;
    for (int child = tree->nodes[parent].first; child >= 0; child = tree->nodes[child].next)
        count++;
    return count;
}

int tree_child_at(const struct tree *tree, int parent, int position)
{
    int child = tree->nodes[parent].first;
    while (child >= 0 && position-- > 0)
        child = tree->nodes[child].next;
    return child;
}

bool tree_is_null(const struct tree *tree, int node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    const struct tree_node *n = &tree->nodes[node];
    if (n->kind != TREE_SCALAR || n->quoted)
        return false;
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        if (strcmp(n->text, nulls[i]) == 0)
            return true;
    return false;
}
