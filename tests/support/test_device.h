/* Which device tests compute on. */
#ifndef LOCKSTEP_TESTS_SUPPORT_TEST_DEVICE_H
#define LOCKSTEP_TESTS_SUPPORT_TEST_DEVICE_H

#include "core/config.h"

/* What LOCKSTEP_TEST_DEVICE names: cpu (also when it is not set), cuda or emulated.  Local.
 * Errors: LS_USAGE for another name. */
ls_status test_device_wanted(enum config_device *out) LS_MUST_CHECK;

#endif
