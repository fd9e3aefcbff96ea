/* The workers' stderr on its way to the user: line by line, to stderr and to RUN/log, without
 * mpirun's framed notices, which are kept to explain a failure. */
#ifndef LOCKSTEP_LAUNCHER_RELAY_H
#define LOCKSTEP_LAUNCHER_RELAY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "launcher/liveness.h"

enum { RELAY_NOTICE_BYTES = 1024, RELAY_NODE_BYTES = 128 };

struct relay;

/* What mpirun or srun said of a loss: a rank that a signal ended, or (rank -1) a whole node; node
 * "": nothing. */
struct relay_loss {
    int rank, signal;
    char node[RELAY_NODE_BYTES];
};

/* `log` is RUN/log, appended to; a log that cannot be written stops nobody.  `bar`: a progress bar
 * is on the terminal, which a line takes the place of.  Local.  Errors: LS_NOMEM. */
ls_status relay_open(struct relay **out, const char *log, bool bar) LS_MUST_CHECK;
void relay_close(struct relay **relay);

/* Beats of the workers go to `liveness` (borrowed) and nowhere else.  Local. */
void relay_beats_to(struct relay *relay, struct liveness *liveness);

/* Bytes as they come from the pipe; lines go on when they are whole.  Local. */
void relay_take(struct relay *relay, const char *bytes, size_t count);

/* Clear the bar's line for a line of the launcher's own; nothing where there is no bar.  Local. */
void relay_make_room(const struct relay *relay);

/* Whether rank 0 has logged anything: the workers have found each other.  Local. */
bool relay_heard(const struct relay *relay);
/* Seconds that the newest save took, as rank 0 tells (core/run.h; in no log); 0: none yet.  Local.
 */
double relay_save_s(const struct relay *relay);

/* The end: what is left goes on as a line.  Local. */
void relay_finish(struct relay *relay);

/* The first line of a worker at level error; such lines go to RUN/log alone, because the failure
 * that the launcher prints says the first cause once ("" when there was none); mpirun's first
 * notice, in one line; the lost rank.  Valid until relay_close.  Local. */
const char *relay_error(const struct relay *relay);
const char *relay_notice(const struct relay *relay);
const struct relay_loss *relay_loss(const struct relay *relay);

#endif
