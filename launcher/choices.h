/* What a start of workers needs to know beside the config: how many, on how many threads, started
 * by what. */
#ifndef LOCKSTEP_LAUNCHER_CHOICES_H
#define LOCKSTEP_LAUNCHER_CHOICES_H

#include <stdint.h>

#include "core/config.h"
#include "core/status.h"
#include "launcher/allocation.h"
#include "launcher/starter.h"

/* `workers` as asked for, else (0) the tasks of the allocation, else the cores; at most one a
 * micro-batch.  Local. */
int choice_workers(int64_t workers, const struct config *config,
                   const struct allocation *allocation);

/* The config, then OMP_NUM_THREADS, then the cores that SLURM gave a task, then what the cores of
 * this machine allow.  Local. */
int choice_threads(const struct config *config, int workers, const struct allocation *allocation);

/* mpirun where it is, since it works in any allocation; srun on request, or in a SLURM job without
 * mpirun.  `*program` is owned by the caller and borrowed by `out`.  Local.  Errors: LS_USAGE. */
ls_status choice_starter(struct starter *out, char **program, const struct config *config,
                         const struct allocation *allocation) LS_MUST_CHECK;

#endif
