/* Why draws failed.  Reasons that differ only in names and numbers count as one.  Of fixed size, so
 * that ranks can exchange it as bytes. */
#ifndef LOCKSTEP_DATA_REASONS_H
#define LOCKSTEP_DATA_REASONS_H

#include <stddef.h>
#include <stdint.h>

enum { REASONS_MAX = 8, REASON_TEXT_BYTES = 116 };

struct reason {
    int64_t count;
    int32_t dataset;
    char text[REASON_TEXT_BYTES];
};

struct reasons { /* all zero: none */
    struct reason list[REASONS_MAX];
    int64_t kinds;
};

/* Count a failure of a dataset's video `name` by its message.  Kinds beyond REASONS_MAX are not
 * kept. Local. */
void reasons_add(struct reasons *reasons, int dataset, const char *name, const char *message);

void reasons_merge(struct reasons *into, const struct reasons *from);

/* The three most frequent of a dataset: "9 x TEXT; 2 x TEXT"; "" when none is known.  Local. */
void reasons_text(char *out, size_t bytes, const struct reasons *reasons, int dataset);

#endif
