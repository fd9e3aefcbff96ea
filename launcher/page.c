/* Rows of a page: labels in a column of their own. */
#include "launcher/page.h"

#include <stdarg.h>
#include <stdio.h>

void page_row(const char *label, const char *format, ...)
{
    va_list arguments;
    (void)printf("%-14s ", label);
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)putchar('\n');
}
