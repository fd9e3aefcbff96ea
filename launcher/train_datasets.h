/* The datasets of a run, before it starts. */
#ifndef LOCKSTEP_LAUNCHER_TRAIN_DATASETS_H
#define LOCKSTEP_LAUNCHER_TRAIN_DATASETS_H

#include "core/config.h"
#include "core/status.h"

/* Open every dataset of the config.  A list of `path label` lines is packed first, into
 * data.packed_folder or RUN/datasets, once for each content of the list, and the config then names
 * the packed dataset.  A config without `ipe` gets its steps an epoch from the number of videos.
 *
 * Local.  Errors: LS_IO, LS_DATA, LS_USAGE naming the path. */
ls_status train_datasets(struct config *config, const char *run) LS_MUST_CHECK;

/* The same for one dataset, that `key` of the config file `source` names: where `*path` is a list,
 * the folder that it is packed to takes its place.  Local.  Errors: as train_datasets. */
struct train_dataset {
    const char *key, *source;
    const char *packed_folder; /* NULL: RUN/datasets */
    const char *run;
};
ls_status train_dataset_settle(char **path, const struct train_dataset *of) LS_MUST_CHECK;

#endif
