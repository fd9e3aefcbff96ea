/* What reading a config keeps besides the config: the tree, which keys were given and where, and
 * the mistakes found so far.  Private to core/config*.c. */
#ifndef LOCKSTEP_CORE_CONFIG_READ_H
#define LOCKSTEP_CORE_CONFIG_READ_H

#include "core/config_table.h"
#include "core/config_tree.h"

enum { CONFIG_MISTAKES_MAX = 100, CONFIG_DATASETS_MAX = 4096 };

struct config_mistake {
    int line; /* 0: of the whole file */
    char *text;
};

struct config_reader {
    const char *source; /* file name, borrowed */
    struct tree tree;
    struct config *config;
    int *node_of; /* by key number: the node that gave it, -1: not given (or null) */
    bool
        *misspelt; /* by key number: an unknown key may have meant it, so it is not "missing" too */
    struct config_mistake mistakes[CONFIG_MISTAKES_MAX];
    int mistake_count;
    bool no_memory; /* a mistake could not be noted */
    bool goes_on;   /* from a state that is at hand: a cool-down needs no anneal_ckpt */
};

/* Note a mistake about `key`, which stands at `node` (-1: it does not stand anywhere).  Local. */
void config_mistake(struct config_reader *reader, int node, const char *key, const char *format,
                    ...) LS_PRINTF(4, 5);

/* Set the keys of a table that have a default, into `base`.  Local.  Errors: LS_NOMEM. */
ls_status config_set_defaults(struct config_reader *reader, const struct config_key *keys,
                              int count, void *base) LS_MUST_CHECK;

/* The first mistake as a failure, the others logged; LS_OK without one.  Local.  Errors: LS_USAGE.
 */
ls_status config_report_mistakes(struct config_reader *reader) LS_MUST_CHECK;

/* Frees all but the config.  Local. */
void config_reader_close(struct config_reader *reader);

/* Make the tree that of one stage: merge the entry of `stages` that the number says, take the list
 * away.  Mistakes are noted.  Local. */
void config_take_stage(struct config_reader *reader, int stage);

/* Set all defaults, then everything the tree says.  Mistakes are noted, not returned.  Local.
 * Errors: LS_NOMEM. */
ls_status config_read_tree(struct config_reader *reader) LS_MUST_CHECK;

/* Whether the key was given; whether to complain that it was not (a misspelt key has its complaint
 * already); the node of it or of its section.  Local. */
bool config_given(const struct config_reader *reader, const char *path);
bool config_missing(const struct config_reader *reader, const char *path);
int config_node(const struct config_reader *reader, const char *path);

/* Read one value of a key into `base` + its offset; false and a mistake when it is not allowed.
 * `name` is what mistakes call it.  Lists of datasets, masks and ignored keys are not for here.
 * Local. */
bool config_read_value(struct config_reader *reader, const struct config_key *key, const char *name,
                       int node, void *base);

/* The nearest known key to a mistyped one, NULL when none is near; of a mask group's key the
 * number, -1; of a section's name, written to `out`.  Local. */
const char *config_nearest(const char *path);
int config_nearest_mask_key(const char *name);
const char *config_nearest_section(char *out /* [CONFIG_NUMBER_BYTES] */, const char *name);

/* What keys say together: required ones, sizes that must divide, model names, the schedule.
 * Mistakes are noted.  Local.  Errors: LS_NOMEM. */
ls_status config_check(struct config_reader *reader) LS_MUST_CHECK;

/* The part of it about the `slurm:` section and the workers.  Local. */
void config_check_slurm(struct config_reader *reader);

/* Work out the step counts once ipe is known; NULL or what is wrong with them.  Local. */
const char *config_resolve_steps(struct config_optimization *optimization);

#endif
