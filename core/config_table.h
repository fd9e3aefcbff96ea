/* The table of config keys: what each is called, where it goes, what it may be.  It drives reading,
 * --set, the dump, the fingerprint and docs/config.md.  Private to core/config*.c. */
#ifndef LOCKSTEP_CORE_CONFIG_TABLE_H
#define LOCKSTEP_CORE_CONFIG_TABLE_H

#include <stddef.h>

#include "core/config.h"

enum config_type {
    CONFIG_TYPE_BOOL,
    CONFIG_TYPE_INT,
    CONFIG_TYPE_INT64,
    CONFIG_TYPE_DOUBLE,
    CONFIG_TYPE_PAIR,   /* [low, high]: two doubles side by side */
    CONFIG_TYPE_SIZE,   /* S or [H, W]: two ints side by side */
    CONFIG_TYPE_TEXT,   /* char *, owned by the config */
    CONFIG_TYPE_CHOICE, /* an enum, numbered as `choices` is */
    CONFIG_TYPE_PATHS,  /* the three lists that make config_data.datasets */
    CONFIG_TYPE_WEIGHTS,
    CONFIG_TYPE_FRAMES,
    CONFIG_TYPE_MASKS,  /* list of mappings with the keys of config_mask_keys */
    CONFIG_TYPE_IGNORED /* accepted, without meaning here */
};

enum config_flags {
    CONFIG_REQUIRED = 1,
    CONFIG_NULLABLE = 2,   /* null stands for "not given" */
    CONFIG_OURS = 4,       /* not a key of the public schema */
    CONFIG_RESULT = 8,     /* determines what is computed: part of the fingerprint */
    CONFIG_ABOVE_LOW = 16, /* the range leaves out `low` */
    CONFIG_BELOW_HIGH = 32,
    CONFIG_OMIT_ZERO = 64, /* 0 stands for "not given": left out of the dump */
    CONFIG_OF_RUN = 256,   /* of the whole run: no key of a stage */
    CONFIG_ASCENDING = 128 /* of a pair: the first is at most the second */
};

struct config_key {
    const char *path;           /* "data.batch_size"; within a mask group "num_blocks" */
    size_t offset;              /* in struct config, in struct config_mask for mask keys */
    const char *initial;        /* default, as YAML; NULL: none, or worked out */
    double low, high;           /* allowed range of numbers (of the entries of a pair); true is 1 */
    const char *const *choices; /* closed by NULL; of an ignored key: all that it may be */
    const char *help;           /* one sentence for docs/config.md */
    enum config_type type;
    unsigned flags;
};

extern const struct config_key config_keys[];
extern const int config_key_count;
extern const struct config_key config_mask_keys[];
extern const int config_mask_key_count;

/* Encoders by name: width, depth, heads and the ratio of MLP width to width. */
struct config_encoder {
    const char *name;
    int embed_dim, depth, num_heads;
    double mlp_ratio;
};
extern const struct config_encoder config_encoders[];
extern const int config_encoder_count;

/* The resolved config less what belongs to the whole run, or only that; owned by the caller.
 * Local.  Errors: LS_NOMEM. */
ls_status config_dump_part(char **out, const struct config *config, bool of_run) LS_MUST_CHECK;

/* Number of the key of that path, -1 if there is none.  Local. */
int config_key_find(const char *path);

/* "an integer from 1 to 64", for errors and docs; owned by the caller.  Local.  Errors: LS_NOMEM.
 */
ls_status config_key_allowed(char **out, const struct config_key *key) LS_MUST_CHECK;

/* A number as the shortest decimal text that reads back to the same bits, into
 * out[CONFIG_NUMBER_BYTES]; always with a point, as YAML 1.1 wants of a float.  Local. */
enum { CONFIG_NUMBER_BYTES = 40 };
void config_number_text(char *out, double value);

#endif
