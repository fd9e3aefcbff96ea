/* Files of named tensors in the safetensors format: 8 bytes that give the length of a JSON header,
 * the header, then the tensors' bytes, without gaps.  Internal to checkpoint/.
 *
 * A file comes from anybody: everything in its header is checked before anything is used. */
#ifndef LOCKSTEP_CHECKPOINT_SAFETENSORS_H
#define LOCKSTEP_CHECKPOINT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { SAFETENSORS_DIMENSIONS_MAX = 8, SAFETENSORS_HEADER_LIMIT = 4 << 20 };

enum safetensors_type {
    SAFETENSORS_F32,
    SAFETENSORS_BF16,
    SAFETENSORS_F16,
    SAFETENSORS_OTHER /* known to the format, but no weight is stored in it */
};

struct safetensors_entry {
    const char *name;
    enum safetensors_type type;
    int dimensions;
    int64_t shape[SAFETENSORS_DIMENSIONS_MAX];
    int64_t count;       /* elements */
    uint64_t begin, end; /* bytes, counted from the first after the header */
};

/* Bytes of an element; not of SAFETENSORS_OTHER.  Local. */
int safetensors_bytes(enum safetensors_type type);

/* The beginning of a file, length and header, for tensors in the given order: fills begin and end
 * of each from type and count.  `*out` is owned by the caller; its length is a multiple of 8.
 * Local.  Errors: LS_NOMEM. */
ls_status safetensors_header(char **out, size_t *out_bytes, struct safetensors_entry *entries,
                             int count) LS_MUST_CHECK;

/* An opened file; its entries are sorted by name. */
struct safetensors {
    char *path;
    int file;
    uint64_t data_at;
    uint64_t bytes; /* of the file */
    struct safetensors_entry *entries;
    int count;
    char *texts; /* the entries' names */
};

/* Open a file and check its header: JSON in UTF-8, names once, each tensor's bytes as its shape
 * says, all of them together the rest of the file.  Close with safetensors_close.  Local.  Errors:
 * LS_DATA naming the file and what is wrong, LS_IO, LS_NOMEM. */
ls_status safetensors_open(struct safetensors **out, const char *path) LS_MUST_CHECK;
void safetensors_close(struct safetensors **file);

/* The tensor of that name, or NULL.  Local. */
const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name);

/* Elements [first, first + count) of a tensor as float32: exact for every type.  Local.  Errors:
 * LS_DATA when the file has become shorter, LS_IO. */
ls_status safetensors_read(const struct safetensors *file, const struct safetensors_entry *entry,
                           int64_t first, int64_t count, float *out) LS_MUST_CHECK;

/* Turn float32 into `type`, in place of `out` (which may be `data`): bfloat16 is rounded to
 * nearest, ties to even.  Only F32 and BF16.  Local. */
void safetensors_pack(void *out, enum safetensors_type type, const float *data, int64_t count);

#endif
