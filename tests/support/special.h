/* The files of tests/unit/test_video_cases.c. */
#ifndef LOCKSTEP_TESTS_SUPPORT_SPECIAL_H
#define LOCKSTEP_TESTS_SUPPORT_SPECIAL_H

#include "tests/support/packed.h"

enum { SPECIAL_FRAMES = 24, SPECIAL_FPS = 25 }; /* of most of them */

/* An encoder that this FFmpeg has not, NULL when all are there.  Local. */
const char *special_lacks(void);

/* Make them all in the folder of videos, or the test fails.  Local. */
void special_make(const struct packed *into);

#endif
