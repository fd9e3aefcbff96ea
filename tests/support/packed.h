/* A folder of made videos of many kinds, and packing it. */
#ifndef LOCKSTEP_TESTS_SUPPORT_PACKED_H
#define LOCKSTEP_TESTS_SUPPORT_PACKED_H

#include <stdint.h>

#include "core/status.h"
#include "data/dataset.h"
#include "data/pack.h"

struct packed {
    char folder[64];  /* everything is below it */
    char videos[96];  /* FOLDER/videos */
    char dataset[96]; /* FOLDER/dataset */
};

/* Local, all of them.  Errors: as the parts'. */
ls_status packed_open(struct packed *out) LS_MUST_CHECK;
ls_status packed_close(struct packed *packed) LS_MUST_CHECK;

/* Make kind `kind` of packed_kinds into FOLDER/videos: `name`, or the kind's own when NULL. */
struct packed_kind {
    const char *name, *encoder;
};
extern const struct packed_kind packed_kinds[];
extern const int packed_kind_count;
ls_status packed_make(const struct packed *packed, int kind, const char *name) LS_MUST_CHECK;

/* All kinds whose encoder is there. */
ls_status packed_make_all(const struct packed *packed) LS_MUST_CHECK;

/* Write a file with this content into FOLDER/videos. */
ls_status packed_write(const struct packed *packed, const char *name, const void *data,
                       size_t bytes) LS_MUST_CHECK;

/* Pack FOLDER/videos into FOLDER/dataset. */
ls_status packed_pack(struct pack_summary *out, const struct packed *packed, int jobs,
                      uint64_t shard_bytes) LS_MUST_CHECK;

#endif
