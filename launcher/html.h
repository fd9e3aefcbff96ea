/* Words and numbers of an HTML page that stands by itself. */
#ifndef LOCKSTEP_LAUNCHER_HTML_H
#define LOCKSTEP_LAUNCHER_HTML_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "core/status.h"

/* A text from anywhere, also within a quoted attribute: what means something to HTML is escaped,
 * and bytes that are no UTF-8 or control the reader become U+FFFD.  Local. */
void html_text(FILE *out, const char *text);

/* The beginning of the page up to its first section, with colours for light, dark and paper, and
 * its end.  `refresh_s` > 0: a browser loads the page again after as many seconds.  Local. */
void html_begin(FILE *out, const char *title, int refresh_s);
void html_end(FILE *out);

/* Numbers as a person writes them, into out[HTML_NUMBER_BYTES]: "0.6535", "12.3 M", "-"; a count
 * with commas between thousands; "3 min 20 s".  Return `out`.  Local. */
enum { HTML_NUMBER_BYTES = 40 };
const char *html_number(char *out, double value);
const char *html_count(char *out, int64_t value);
const char *html_duration(char *out, double seconds);
const char *html_time(char *out, time_t time); /* "2026-11-25 10:34:44" UTC */

#endif
