/* Where the tables of a file of a dataset lie.
 *
 * HDF5 crashes on some damaged files, and a file with a valid footer may still be anyone's.  So
 * HDF5 opens every file in a child process with limits, which only says where the tables are; this
 * process checks the answer and reads them itself.  A crash there means that the file is refused.
 */
#ifndef LOCKSTEP_DATA_H5_LOCATE_H
#define LOCKSTEP_DATA_H5_LOCATE_H

#include <stdint.h>

#include "core/status.h"
#include "data/h5.h"

enum { H5_LOCATE_MAX = 8 };

struct h5_wanted {
    const struct table_layout *layout; /* NULL: a run of uint8 called `name` */
    const char *name;
};

/* Find `count` (at most H5_LOCATE_MAX) tables of a file that must be of this format and version 1.
 *
 *   out             [count]  all inside the first `content_bytes` of the file
 *
 * Local.  Forks; the child takes no lock, opens no second file and ends after 20 s of computing.
 * Errors: LS_DATA: not such a file, a table that is not stored plainly in it, HDF5 crashed on it;
 * LS_IO when no process can be started. */
ls_status h5_locate(struct h5_extent *out, const struct h5_wanted *wanted, int count,
                    const char *path, const char *format, uint64_t content_bytes) LS_MUST_CHECK;

#endif
