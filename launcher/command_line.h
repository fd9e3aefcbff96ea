/* A command line that is put together word by word, and run. */
#ifndef LOCKSTEP_LAUNCHER_COMMAND_LINE_H
#define LOCKSTEP_LAUNCHER_COMMAND_LINE_H

#include "core/status.h"

enum { COMMAND_LINE_WORDS_MAX = 64 };

/* All zero is an empty one; list[count] is NULL.  Words that were made are freed with it. */
struct command_line {
    const char *list[COMMAND_LINE_WORDS_MAX];
    char *made[COMMAND_LINE_WORDS_MAX];
    int count, made_count;
};

/* One more word, borrowed.  Local.  Errors: LS_USAGE beyond what there is room for. */
ls_status command_line_add(struct command_line *line, const char *word) LS_MUST_CHECK;

/* One more word, made as printf does.  Local.  Errors: LS_USAGE, LS_NOMEM. */
ls_status command_line_format(struct command_line *line, const char *format, ...)
    LS_PRINTF(2, 3) LS_MUST_CHECK;

/* Run it and wait; what it prints goes to the new file `said`, which the message of a failure
 * names. When this process is killed, it gets SIGTERM.  Local, from the main thread.  Errors: LS_IO
 * for the file, LS_FAILED where it cannot be started or ends with another code than 0 and that of a
 * run that was stopped (75). */
ls_status command_line_run(const struct command_line *line, const char *said) LS_MUST_CHECK;

/* Free what was made.  Local. */
void command_line_close(struct command_line *line);

#endif
