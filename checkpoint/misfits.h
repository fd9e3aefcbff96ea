/* A list of what does not fit, told all at once: the first is the failure, the others are logged.
 * Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_MISFITS_H
#define LOCKSTEP_CHECKPOINT_MISFITS_H

#include "core/status.h"

struct misfits {
    char *first;
    int count;
};

/* Note one, as a whole sentence.  Local. */
void misfits_add(struct misfits *misfits, const char *format, ...) LS_PRINTF(2, 3);

/* The failure, LS_OK when there was none; frees.  Local. */
ls_status misfits_end(struct misfits *misfits, ls_status code) LS_MUST_CHECK;

#endif
