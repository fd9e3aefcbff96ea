/* The datasets of a run, before it starts. */
#ifndef LOCKSTEP_LAUNCHER_TRAIN_DATASETS_H
#define LOCKSTEP_LAUNCHER_TRAIN_DATASETS_H

#include "core/config.h"
#include "core/status.h"

/* Check every dataset of the config.  Local.  Errors: LS_IO, LS_DATA, LS_USAGE naming the path. */
ls_status train_datasets(struct config *config, const char *run) LS_MUST_CHECK;

#endif
