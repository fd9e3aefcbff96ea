/* FFmpeg tells callers little by its error numbers ("Invalid data found when processing input") and
 * the truth in its log ("moov atom not found").  The first line of level error on a thread is the
 * cause, later ones are consequences.
 *
 * An assertion of FFmpeg that does not hold is logged too, at level panic, before abort() is
 * called: from there av_contain leaves, by a jump over FFmpeg's frames.  No lock is held while a
 * log line is handed to its callback, and abort() and signals are never met. */
#include "data/av.h"

#include <errno.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 256 };

static _Thread_local char first_line[LINE_BYTES];
static _Thread_local jmp_buf *way_out; /* of this thread's av_contain */

static void keep_first(void *object, int level, const char *format, va_list arguments)
{
    (void)object;
    const bool is_panic = level <= AV_LOG_PANIC;
    if (level > AV_LOG_ERROR || (first_line[0] != '\0' && !is_panic))
        return;
    (void)vsnprintf(first_line, sizeof first_line, format, arguments);
    size_t length = strlen(first_line);
    while (length > 0 && strchr("\r\n. ", first_line[length - 1]) != NULL)
        first_line[--length] = '\0';
    if (is_panic && way_out != NULL)
        longjmp(*way_out, 1);
}

static void install(void)
{
    av_log_set_callback(keep_first);
}

void av_log_capture(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, install);
}

void av_log_clear(void)
{
    first_line[0] = '\0';
}

const char *av_log_first(void)
{
    return first_line;
}

bool av_contain(void (*call)(void *), void *context)
{
    jmp_buf here;
    bool held = false;
    if (setjmp(here) == 0) {
        way_out = &here;
        call(context);
        held = true;
    }
    way_out = NULL;
    return held;
}

const char *av_log_hint(const char *line)
{
    static const struct {
        const char *part, *hint;
    } hints[] = {
        {"moov atom not found", " (the file is cut off, or its writing never ended)"},
        {"EBML header parsing failed", " (no WebM or Matroska file)"},
        {"image data not found", " (this FFmpeg does not decode animated WebP)"},
        {"non-existing PPS", " (a piece from the middle of a video, without its set-up)"},
        {"non-existing SPS", " (a piece from the middle of a video, without its set-up)"},
        {"Invalid frame dimensions 0x0",
         " (a piece from the middle of a video, without its set-up)"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strstr(line, hints[i].part) != NULL)
            return hints[i].hint;
    return "";
}

ls_status av_failure(int result, const char *file, int line, const char *path, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    ls_status code = result == AVERROR(ENOMEM) ? LS_NOMEM : LS_DATA;
    (void)av_strerror(result, text, sizeof text);
    const char *reason = first_line[0] != '\0' ? first_line : text;
    return status_fail(code, file, line, "%s: cannot %s: %s%s", path, what, reason,
                       av_log_hint(reason));
}
