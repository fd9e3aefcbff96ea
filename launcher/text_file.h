/* A text file that is made in memory and then written whole, and plots made from such a file. */
#ifndef LOCKSTEP_LAUNCHER_TEXT_FILE_H
#define LOCKSTEP_LAUNCHER_TEXT_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "core/status.h"

struct text_file {
    FILE *stream; /* write here; NULL once the file is written */
    char *text;   /* valid from text_file_write to text_file_close */
    size_t bytes;
};

/* Local.  Errors: LS_NOMEM. */
ls_status text_file_open(struct text_file *file) LS_MUST_CHECK;

/* Write FOLDER/NAME durably, whole or not at all.  Local.  Errors: LS_NOMEM, LS_IO. */
ls_status text_file_write(struct text_file *file, const char *folder,
                          const char *name) LS_MUST_CHECK;
void text_file_close(struct text_file *file);

/* Run gnuplot on the script FOLDER/NAME; a warning with the package to install where that fails.
 * Local.  Errors: LS_NOMEM. */
ls_status text_file_plot(const char *folder, const char *name) LS_MUST_CHECK;

/* A text in gnuplot's single quotes, behind `before`, and a newline.  Local. */
void text_file_quote(FILE *out, const char *before, const char *text);

#endif
