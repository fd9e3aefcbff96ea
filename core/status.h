/* Status codes and the one-line failure record that every fallible function of the project uses.
 *
 * A failure's message is written once, where the failure is known, into a thread-local record
 * (LS_FAIL). Callers only append their place (LS_TRY), so that one failure prints one line:
 *     /data/a.mp4: no video stream [data/video.c:88 < data/pack.c:41]
 */
#ifndef LOCKSTEP_CORE_STATUS_H
#define LOCKSTEP_CORE_STATUS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* LS_EOF and LS_STOP are outcomes, not failures. */
typedef enum ls_status {
    LS_OK = 0,
    LS_EOF,
    LS_FAILED, /* anything that has no code of its own */
    LS_USAGE,
    LS_NOMEM,
    LS_IO,
    LS_DATA,
    LS_DEVICE,
    LS_COMM,
    LS_TIMEOUT,
    LS_CHECKPOINT,
    LS_STOP
} ls_status;

#if defined(__GNUC__)
#define LS_MUST_CHECK __attribute__((warn_unused_result))
#define LS_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LS_MUST_CHECK
#define LS_PRINTF(text, first)
#endif

/* Record a failure and evaluate to its code:  st = LS_FAIL(LS_IO, "%s: cannot open", path);
 * The code is repeated as the macro's value, so that compilers and analysers see what is returned.
 */
#define LS_FAIL(code, ...) ((void)status_fail((code), __FILE__, __LINE__, __VA_ARGS__), (code))

/* Call, and on anything but LS_OK append this place to the record and jump to `done` with `st` set.
 * The only macro of the project that changes control flow; the function has a variable `st` and a
 * label `done`. */
#define LS_TRY(call)                                                                               \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != LS_OK) {                                                                         \
            status_trace(__FILE__, __LINE__);                                                      \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* Write the calling thread's record and return `code`.  Local. */
ls_status status_fail(ls_status code, const char *file, int line, const char *format, ...)
    LS_PRINTF(4, 5);

/* Append a place to the calling thread's record.  Local. */
void status_trace(const char *file, int line);

/* The record with its places, "message [file:line < file:line]"; "" when there is none.  Valid
 * until the thread's next status call.  Local. */
const char *status_text(void);

/* The record's message without places: what a user reads.  Same lifetime.  Local. */
const char *status_message(void);

/* Take over a failure that another thread or process recorded; `text` is copied.  Returns `code`.
 * Local. */
ls_status status_adopt(ls_status code, const char *text);

/* Forget the record.  Local. */
void status_clear(void);

/* Exit code of a status: 0 done, 1 anything without its own, 2 usage, 10 files, 11 data, 12 device,
 * 13 comm, 14 timeout, 15 checkpoint, 75 stopped on request (SLURM requeues).  Local. */
int status_exit_code(ls_status code);

/* The failure that a process of ours ended with, from its exit code; LS_FAILED for any code that
 * stands for none.  Local. */
ls_status status_of_exit_code(int exit_code);

/* Lower-case name of a status ("io", "data", ...), static.  Local. */
const char *status_name(ls_status code);

#ifdef __cplusplus
}
#endif
#endif
