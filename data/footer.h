/* The last 40 bytes of every file of a dataset: a checksum over all bytes before them.
 *
 * HDF5 ignores what follows its data, so shards stay ordinary HDF5 files, and damage anywhere,
 * HDF5's own structures included, is found before HDF5 reads a byte of it. */
#ifndef LOCKSTEP_DATA_FOOTER_H
#define LOCKSTEP_DATA_FOOTER_H

#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"

enum { FOOTER_BYTES = 40 };

struct footer {
    uint64_t content_bytes; /* of the file before the footer */
    struct hash128 hash;    /* of these bytes */
};

/* Fill the footer's 40 bytes.  Local. */
void footer_encode(uint8_t *out, const struct footer *footer);

/* Hash an existing file's content and append its footer (not synced).  Local.  Errors: LS_IO. */
ls_status footer_append(struct footer *out, const char *path) LS_MUST_CHECK;

/* Read the footer at the end of an open file of `file_bytes`; says whether the file is cut off.
 * Local.  Errors: LS_DATA. */
ls_status footer_read(struct footer *out, int file, uint64_t file_bytes,
                      const char *path) LS_MUST_CHECK;

/* Hash `bytes` of an open file from offset 0.  Local.  Errors: LS_IO, LS_DATA. */
ls_status footer_hash_content(struct hash128 *out, int file, uint64_t bytes,
                              const char *path) LS_MUST_CHECK;

#endif
