/* The thread-local failure record.  It has a fixed size, so that "out of memory" can be recorded
 * too; what does not fit is cut at the end.  Places are kept apart from the message, because users
 * read one and developers both. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 2048, PLACES_BYTES = 512 };

static _Thread_local struct {
    char message[MESSAGE_BYTES];
    char places[PLACES_BYTES];
    char text[MESSAGE_BYTES + PLACES_BYTES + 4];
} record;

/* Control characters in a file name must not break the one-line rule. */
static void make_one_line(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r' || *c == '\t')
            *c = ' ';
}

ls_status status_fail(ls_status code, const char *file, int line, const char *format, ...)
{
    va_list arguments;
    char message[MESSAGE_BYTES]; /* the arguments may point into the record */
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    make_one_line(message);
    memcpy(record.message, message, sizeof message);
    (void)snprintf(record.places, sizeof record.places, "%s:%d", file, line);
    return code;
}

void status_trace(const char *file, int line)
{
    size_t used = strlen(record.places);
    (void)snprintf(record.places + used, sizeof record.places - used, "%s%s:%d",
                   used > 0 ? " < " : "", file, line);
}

const char *status_text(void)
{
    if (record.message[0] == '\0')
        return "";
    if (record.places[0] == '\0')
        return record.message;
    (void)snprintf(record.text, sizeof record.text, "%s [%s]", record.message, record.places);
    return record.text;
}

const char *status_message(void)
{
    return record.message;
}

ls_status status_adopt(ls_status code, const char *text)
{
    char message[MESSAGE_BYTES];
    (void)snprintf(message, sizeof message, "%s", text);
    make_one_line(message);
    memcpy(record.message, message, sizeof message);
    record.places[0] = '\0';
    return code;
}

void status_clear(void)
{
    record.message[0] = '\0';
    record.places[0] = '\0';
}

int status_exit_code(ls_status code)
{
    static const int exit_code[] = {
        [LS_OK] = 0,    [LS_EOF] = 0,      [LS_FAILED] = 1,      [LS_USAGE] = 2,
        [LS_NOMEM] = 1, [LS_IO] = 10,      [LS_DATA] = 11,       [LS_DEVICE] = 12,
        [LS_COMM] = 13, [LS_TIMEOUT] = 14, [LS_CHECKPOINT] = 15, [LS_STOP] = 75,
    };
    return exit_code[code];
}

ls_status status_of_exit_code(int exit_code)
{
    for (int code = LS_USAGE; code < LS_STOP; code++)
        if (code != LS_NOMEM && status_exit_code((ls_status)code) == exit_code)
            return (ls_status)code;
    return LS_FAILED;
}

const char *status_name(ls_status code)
{
    static const char *const name[] = {
        [LS_OK] = "ok",
        [LS_EOF] = "end",
        [LS_FAILED] = "failed",
        [LS_USAGE] = "usage",
        [LS_NOMEM] = "out of memory",
        [LS_IO] = "files",
        [LS_DATA] = "data",
        [LS_DEVICE] = "device",
        [LS_COMM] = "comm",
        [LS_TIMEOUT] = "timeout",
        [LS_CHECKPOINT] = "checkpoint",
        [LS_STOP] = "stop",
    };
    return name[code];
}
