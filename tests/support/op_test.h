/* What tests of operators share: a device chosen from outside, arrays with guard words, a digest of
 * all that was read back, and comparison with the reference.
 *
 * The same tests run for every twin: LOCKSTEP_TEST_DEVICE names it (cpu, the default, cuda or
 * emulated). They reach device memory through the table only.  A failed check ends the test
 * (cmocka's fail_msg). */
#ifndef LOCKSTEP_TESTS_SUPPORT_OP_TEST_H
#define LOCKSTEP_TESTS_SUPPORT_OP_TEST_H

#include <stdbool.h>
#include <stdint.h>

#include "model/device.h"
#include "model/ops.h"

enum { OP_TEST_ARRAYS_MAX = 32 };

struct op_test_array {
    void *memory_dev; /* with guard words before and after */
    int64_t count;
    enum op_dtype dtype;
    bool is_double;
};

struct op_test {
    struct model_device opened;
    const struct op_table *table;
    struct op_device *device;
    struct op_test_array arrays[OP_TEST_ARRAYS_MAX]; /* those of the running case */
    void *memory_host[OP_TEST_ARRAYS_MAX];           /* freed at its end */
    int array_count, host_count;
    uint64_t digest; /* of all bits that were read back in the case */
    uint64_t seed;   /* of the next random array */
};

/* Run `one` twice on each of 1, 2 and 3 threads (on a card: twice), each time with random numbers
 * of its own: the two digests of a thread count must be equal bit by bit. */
void op_test_repeat(void (*one)(struct op_test *test, const void *argument), const void *argument);

/* Host memory that lives until the case ends. */
double *op_test_doubles(struct op_test *test, int64_t count);
int32_t *op_test_integers(struct op_test *test, int64_t count);

/* Random normal numbers times `scale`, rounded to `dtype`: what the twin is given and what the
 * reference computes with are the same numbers. */
double *op_test_random(struct op_test *test, int64_t count, enum op_dtype dtype, double scale);

/* The same numbers rounded to `dtype`. */
double *op_test_rounded(struct op_test *test, const double *values, int64_t count,
                        enum op_dtype dtype);

/* Device array that holds `values` (all NaN when NULL: an output), guard words around it. */
void *op_test_array(struct op_test *test, const double *values, int64_t count, enum op_dtype dtype);
/* The same for double and int32 arrays. */
double *op_test_double_array(struct op_test *test, const double *values, int64_t count);
int32_t *op_test_integer_array(struct op_test *test, const int32_t *values, int64_t count);

struct op_matrix op_test_matrix(struct op_test *test, const double *values, int64_t rows,
                                int64_t columns, enum op_dtype dtype);

/* Values of an array made above; adds its bits to the digest and checks its guard words. */
double *op_test_read(struct op_test *test, const void *array_dev);

/* |got - want| <= relative * |want| + absolute * scale for every element, and got is finite; says
 * which element is worst.  `scale` is an array, or NULL: then it is rms(want), and 1 where all
 * wanted numbers are zero. */
void op_test_compare(const char *what, const double *got, const double *want, int64_t count,
                     double relative, double absolute, const double *scale);

/* op_test_read and op_test_compare by the rms. */
void op_test_expect(struct op_test *test, const char *what, const void *array_dev,
                    const double *want, double relative, double absolute);

/* Fails the test when an operator failed. */
void op_test_ok(ls_status status);

/* The same for a matrix product of `dtype`; false where the device has no products of it and has
 * refused as it should (bf16 on CPUs without AVX-512): the case ends there. */
bool op_test_product_ok(const struct op_test *test, enum op_dtype dtype, ls_status status);

/* Half a unit in the last place, relative, of a dtype: 2^-24 or 2^-8. */
double op_test_epsilon(enum op_dtype dtype);

/* Central differences of `loss` (a function of x[count]) against `gradient`, all in double:
 * |difference| <= 1e-7 * (|gradient| + rms). */
void op_test_differences(const char *what, double (*loss)(void *context), void *context, double *x,
                         const double *gradient, int64_t count);

#endif
