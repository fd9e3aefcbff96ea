/* 128-bit content hashes (XXH3): checksums of files and ranges, digests of logical state.  Not for
 * adversaries. */
#ifndef LOCKSTEP_CORE_HASH_H
#define LOCKSTEP_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct hash128 {
    uint64_t low, high;
};

enum { HASH_TEXT_BYTES = 33 };

/* Hash of a buffer.  Local. */
struct hash128 hash_buffer(const void *data, size_t bytes);

/* Hash of a buffer bound to two numbers (for example an array and a block number).  Local. */
struct hash128 hash_buffer_at(const void *data, size_t bytes, uint64_t a, uint64_t b);

/* Sum modulo 2^128: combines the hashes of parts without regard to their order, so that ranks can
 * each sum their own.  Local. */
struct hash128 hash_add(struct hash128 a, struct hash128 b);

/* Nonzero when equal.  Local. */
int hash_equal(struct hash128 a, struct hash128 b);

/* 32 lower-case hexadecimal digits, high word first, into out[HASH_TEXT_BYTES].  Local. */
void hash_text(char *out, struct hash128 hash);

/* The inverse of hash_text.  Local.  Errors: LS_DATA if the text is not 32 hexadecimal digits. */
ls_status hash_parse(struct hash128 *out, const char *text) LS_MUST_CHECK;

/* Incremental hash: the same value as hash_buffer over the concatenation. */
struct hash_stream;
ls_status hash_stream_open(struct hash_stream **out) LS_MUST_CHECK;
void hash_stream_add(struct hash_stream *stream, const void *data, size_t bytes);
struct hash128 hash_stream_value(const struct hash_stream *stream);
void hash_stream_close(struct hash_stream **stream);

#endif
