/* What does not fit, all of it. */
#include "checkpoint/misfits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"

void misfits_add(struct misfits *misfits, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        text = NULL;
    if (misfits->count++ == 0) {
        misfits->first = text;
        return;
    }
    log_error("%s", text != NULL ? text : "out of memory for a message");
    free(text);
}

ls_status misfits_end(struct misfits *misfits, ls_status code)
{
    ls_status st = LS_OK;
    const char *first = misfits->first != NULL ? misfits->first : "out of memory for a message";
    if (misfits->count == 1)
        st = LS_FAIL(code, "%s", first);
    else if (misfits->count > 1)
        st = LS_FAIL(code, "%s (and %d more that do%s not fit, named above)", first,
                     misfits->count - 1, misfits->count == 2 ? "es" : "");
    free(misfits->first);
    *misfits = (struct misfits){0};
    return st;
}
