/* FFmpeg's errors and log lines, translated.  Only data/ includes libav*. */
#ifndef LOCKSTEP_DATA_AV_H
#define LOCKSTEP_DATA_AV_H

#include <stdbool.h>

#include "core/status.h"

/* Call FFmpeg; on a negative result record `PATH: cannot WHAT: reason` as LS_DATA (LS_NOMEM for
 * ENOMEM) and jump to `done` with `st` set.  The reason is what FFmpeg logged on this thread since
 * av_log_clear, or else the text of the error number. */
#define AV_TRY(call, path, what)                                                                   \
    do {                                                                                           \
        int av_result = (call);                                                                    \
        if (av_result < 0) {                                                                       \
            st = av_failure(av_result, __FILE__, __LINE__, (path), (what));                        \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

ls_status av_failure(int result, const char *file, int line, const char *path, const char *what);

/* Keep FFmpeg off stderr for the whole process: its first error line on each thread is kept for
 * av_failure instead.  May be called any number of times, from any thread. */
void av_log_capture(void);

/* Forget this thread's kept line; get it ("" when there is none). */
void av_log_clear(void);
const char *av_log_first(void);

/* Make a call into FFmpeg that a malformed file may lead into one of FFmpeg's own assertions: where
 * one does not hold, the call ends and not the process.  False then, and av_log_first() says which
 * assertion.  What the call worked on may only be freed, by av_contain too: an assertion stands
 * where an error return could, so FFmpeg can free what is left, and where it cannot that is leaked.
 *
 * After av_log_capture, of work that FFmpeg does on the calling thread (decoders with one thread);
 * not within itself.  Local. */
bool av_contain(void (*call)(void *), void *context) LS_MUST_CHECK;

/* What an FFmpeg line means to a person who has the file, in brackets after a space; "" when the
 * line says it.  Local. */
const char *av_log_hint(const char *line);

#endif
