/* The HDF5 file that `lockstep features` writes (docs/formats.md): a row for each video. */
#ifndef LOCKSTEP_DATA_FEATURE_FILE_H
#define LOCKSTEP_DATA_FEATURE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/dataset.h"

struct feature_file;

struct feature_file_shape {
    int64_t videos;
    int64_t tokens; /* of a row; 0: one vector, the mean */
    int dim;
    const char *checkpoint, *network; /* where the features come from */
    int64_t step;
};

/* Begin PATH beside its place.  Local; one thread uses HDF5.  Errors: LS_IO, LS_NOMEM. */
ls_status feature_file_open(struct feature_file **out, const char *path,
                            const struct feature_file_shape *shape) LS_MUST_CHECK;

/* Rows [first, first + count): values[count * max(tokens, 1) * dim].  Local.  Errors: LS_IO. */
ls_status feature_file_write(struct feature_file *file, int64_t first, int64_t count,
                             const float *values) LS_MUST_CHECK;

/* Names and labels of the dataset's videos and which of them could be decoded, then to its place.
 * Local.  Errors: LS_IO. */
ls_status feature_file_commit(struct feature_file *file, const struct dataset *dataset,
                              const bool *readable) LS_MUST_CHECK;

/* Without commit nothing is left. */
void feature_file_close(struct feature_file **file);

#endif
