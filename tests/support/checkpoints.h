/* A small synthetic training state and whole saves of it, for tests of checkpoints. */
#ifndef LOCKSTEP_TESTS_SUPPORT_CHECKPOINTS_H
#define LOCKSTEP_TESTS_SUPPORT_CHECKPOINTS_H

#include "checkpoint/checkpoint.h"

enum { SUPPORT_ARRAYS = 4 };

struct support_state {
    struct checkpoint_state state; /* arrays hold the whole state: offset 0, count total */
    struct checkpoint_parameter parameters[3];
    int64_t skipped[2];
};

/* A state whose values depend on `step`: 4 arrays over 11 blocks and a bit ("ema": 5 and a bit).
 * The small one has 3 ("ema": 1). */
void support_state_open(struct support_state *out, int64_t step);
void support_state_open_small(struct support_state *out, int64_t step);
void support_state_close(struct support_state *state);

/* Save it from `of` shards, in turn, and commit.  The divided one writes slices of `slice` elements
 * (core/division.h). */
ls_status support_save(const char *folder, const struct support_state *state, int of,
                       int64_t run_epoch) LS_MUST_CHECK;
ls_status support_save_divided(const char *folder, const struct support_state *state, int of,
                               int64_t run_epoch, int64_t slice) LS_MUST_CHECK;

/* A new folder under TMPDIR or /tmp, and its removal.  The quick one is in memory where there is
 * /dev/shm: for tests of hundreds of fsyncs. */
char *support_folder(void);
char *support_folder_quick(void);
void support_folder_remove(char *folder);

#endif
