/* FFmpeg tells callers little by its error numbers ("Invalid data found when processing input") and
 * the truth in its log ("moov atom not found").  The first line of level error on a thread is the
 * cause, later ones are consequences. */
#include "data/av.h"

#include <errno.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 256 };

static _Thread_local char first_line[LINE_BYTES];

static void keep_first(void *object, int level, const char *format, va_list arguments)
{
    (void)object;
    if (level > AV_LOG_ERROR || first_line[0] != '\0')
        return;
    (void)vsnprintf(first_line, sizeof first_line, format, arguments);
    size_t length = strlen(first_line);
    while (length > 0 && strchr("\r\n. ", first_line[length - 1]) != NULL)
        first_line[--length] = '\0';
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
