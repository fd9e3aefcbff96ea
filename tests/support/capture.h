/* What a stretch of a test writes to stderr. */
#ifndef LOCKSTEP_TESTS_SUPPORT_CAPTURE_H
#define LOCKSTEP_TESTS_SUPPORT_CAPTURE_H

/* Keep stderr from here on; fails the test when that is not possible.  Not nested. */
void capture_begin(void);

/* Put stderr back; what was written, owned by the caller. */
char *capture_end(void);

/* How often `part` occurs in `text`, without overlap. */
int capture_count(const char *text, const char *part);

#endif
