/* The readers of data/, fed with what nobody vouches for: shared by the fuzz targets (tests/fuzz)
 * and by the test that keeps what they found (tests/unit/test_hostile.c).
 *
 * Checksums stand in a fuzzer's way, not in an attacker's: they are set right before the file is
 * read.  None of these may crash, read outside memory, leak or run without end; whether the input
 * is refused or read is all the same. */
#ifndef LOCKSTEP_TESTS_SUPPORT_HOSTILE_H
#define LOCKSTEP_TESTS_SUPPORT_HOSTILE_H

#include <stddef.h>
#include <stdint.h>

/* A list of videos. */
void hostile_list(const uint8_t *data, size_t size);

/* An index, or a shard, without its footer. */
void hostile_index(const uint8_t *data, size_t size);
void hostile_shard(const uint8_t *data, size_t size);

/* A part without its footer: the tables and the packets of one video as a shard holds them.  It is
 * read as a part, then as the only video of a dataset: frames at several places are decoded,
 * converted, cropped and resized. */
void hostile_part(const uint8_t *data, size_t size);

/* Where the tables of a part begin and end: what is before them is packet bytes.  Both 0 when the
 * input has no head that fits. */
struct hostile_tables {
    size_t begin, end;
};
struct hostile_tables hostile_part_tables(const uint8_t *data, size_t size);

struct hostile_target {
    const char *name;
    void (*run)(const uint8_t *data, size_t size);
};
enum { HOSTILE_TARGETS = 4 };
extern const struct hostile_target hostile_targets[HOSTILE_TARGETS];

#endif
