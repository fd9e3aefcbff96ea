/* A stand-in for data/h5_locate.c: where the tables lie comes from the fuzzer, not from HDF5, whose
 * child process would make every input a hundred times slower. */
#ifndef LOCKSTEP_TESTS_FUZZ_FAKE_LOCATE_H
#define LOCKSTEP_TESTS_FUZZ_FAKE_LOCATE_H

#include <stddef.h>
#include <stdint.h>

/* Inputs begin with offset and count of each table, 8 bytes each; then comes the file. */
enum { FAKE_EXTENT_BYTES = 16 };

/* Set what the next h5_locate finds: `count` extents at `data`, borrowed. */
void fake_locate_set(const uint8_t *data, int count);

/* A mutation that mostly stays inside the extents or one of the tables, without moving the rest. */
size_t fake_locate_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, int tables);

#endif
