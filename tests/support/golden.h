/* Reads the golden HDF5 files: datasets into malloc'd arrays, attributes, and what groups hold.
 *
 * All functions are Local.  Errors: LS_IO when the file cannot be opened, LS_DATA when something is
 * missing or has another shape than asked for, LS_NOMEM. */
#ifndef LOCKSTEP_TESTS_SUPPORT_GOLDEN_H
#define LOCKSTEP_TESTS_SUPPORT_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { GOLDEN_DIMENSIONS_MAX = 6 };

struct golden;

struct golden_shape {
    int dimensions;
    int64_t size[GOLDEN_DIMENSIONS_MAX];
    int64_t count; /* elements */
};

/* Path of a golden file: tests/golden/NAME where that exists, else ${SHARED:-../shared}/golden/NAME
 * where that does; false (and out is the second) where neither does, so that a test can skip. */
bool golden_path(char *out, size_t out_bytes, const char *name);

ls_status golden_open(struct golden **out, const char *path) LS_MUST_CHECK;
void golden_close(struct golden **golden);

/* Whether a group or dataset of that name is there. */
bool golden_has(const struct golden *golden, const char *name);

/* A dataset as float, double, int32 or uint8, converted by HDF5; the caller frees *out.  `shape`
 * may be NULL. */
ls_status golden_floats(float **out, struct golden_shape *shape, const struct golden *golden,
                        const char *name) LS_MUST_CHECK;
ls_status golden_doubles(double **out, struct golden_shape *shape, const struct golden *golden,
                         const char *name) LS_MUST_CHECK;
ls_status golden_ints(int32_t **out, struct golden_shape *shape, const struct golden *golden,
                      const char *name) LS_MUST_CHECK;
ls_status golden_bytes(uint8_t **out, struct golden_shape *shape, const struct golden *golden,
                       const char *name) LS_MUST_CHECK;

/* A number attribute of an object ("/" for the file). */
ls_status golden_attribute(double *out, const struct golden *golden, const char *object,
                           const char *name) LS_MUST_CHECK;
ls_status golden_attribute_int(int *out, const struct golden *golden, const char *object,
                               const char *name) LS_MUST_CHECK;

/* Names of all datasets below `group`, relative to it ("blocks.0.norm1.weight"), sorted; the caller
 * frees with golden_names_free. */
ls_status golden_names(char ***out, size_t *out_count, const struct golden *golden,
                       const char *group) LS_MUST_CHECK;
void golden_names_free(char **names, size_t count);

#endif
