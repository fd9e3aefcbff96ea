/* The command lines that start workers: of mpirun, or of srun where SLURM carries PMIx. */
#ifndef LOCKSTEP_LAUNCHER_STARTER_H
#define LOCKSTEP_LAUNCHER_STARTER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "launcher/allocation.h"

struct starter {
    bool srun;           /* else mpirun */
    const char *program; /* of either */
    const char *worker;
    const char *shield;    /* this program, for `shield`; NULL: not needed */
    bool probe;            /* the workers probe, they do not train */
    const char *container; /* words before the worker program; NULL or "": none */
};

struct starter_job {
    const char *run;
    int64_t run_epoch;
    int workers;
    bool bar;
    int64_t stop_at;     /* 0: not */
    const char *profile; /* steps to profile, as it was given; NULL: none */
    const struct allocation *allocation;
    const bool *left_out; /* one a host of the allocation; NULL: none is */
    int64_t beat_s;       /* between signs of life of a worker; 0: none */
    const char *note;     /* file that mpirun writes its name into */
};

/* All words of the command, closed by NULL; free with starter_words_free.  Local.  Errors:
 * LS_NOMEM. */
ls_status starter_words(char ***out, const struct starter *starter,
                        const struct starter_job *job) LS_MUST_CHECK;
void starter_words_free(char ***words);

/* What asks the workers to save and stop when it is sent to this starter: a signal that the starter
 * passes on and that no worker dies of before it listens.  Local. */
int starter_stop_signal(const struct starter *starter);

/* `lockstep shield COMMAND...`: runs COMMAND with SIGTERM held back.  SLURM sends SIGTERM to every
 * process of a job when the time it grants begins; mpirun and its daemons would then end the ranks
 * before these have saved.  Local.  Returns an exit code when COMMAND cannot be run. */
int starter_shield(char *const *words);

#endif
