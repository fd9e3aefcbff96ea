/* golden/schedules.h5: schedules by step, in double by the public code. */
#ifndef LOCKSTEP_TESTS_SUPPORT_GOLDEN_SCHEDULES_H
#define LOCKSTEP_TESTS_SUPPORT_GOLDEN_SCHEDULES_H

#include <stdbool.h>

#include "core/status.h"
#include "tests/support/golden.h"
#include "tests/support/golden_report.h"

bool golden_is_schedules(const struct golden *golden);
ls_status golden_schedules(struct golden_report *report, const struct golden *golden) LS_MUST_CHECK;

#endif
