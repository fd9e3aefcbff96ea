/* An HDF5 file driver over a memfd: HDF5 draws up a file without a disk under it, so that nothing
 * it writes can fail for want of space.  Only what is written takes memory (the file is sparse).
 * Internal to checkpoint/; HDF5 calls: one thread at a time. */
#ifndef LOCKSTEP_CHECKPOINT_MEMORY_FILE_H
#define LOCKSTEP_CHECKPOINT_MEMORY_FILE_H

#include <hdf5.h>

/* Register the driver; the identifier is released with H5FDunregister.  Negative on failure. */
hid_t memory_file_driver(void);

enum { MEMORY_FILE_NAME_BYTES = 16 };

/* The name under which H5Fcreate finds the memfd `file` through the driver. */
void memory_file_name(char *out, int file);

#endif
