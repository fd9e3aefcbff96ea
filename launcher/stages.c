/* Where a run stands between its stages. */
#include "launcher/stages.h"

#include <stdlib.h>

#include "checkpoint/checkpoint.h"
#include "core/files.h"
#include "core/log.h"

int64_t stages_finished_steps(const struct run_folder *folder)
{
    struct checkpoint *checkpoint = NULL;
    char *latest = NULL;
    int64_t step = 0;
    if (core_format(&latest, "%s/checkpoints/latest", run_folder_path(folder)) == LS_OK &&
        files_exists(latest) && checkpoint_open(&checkpoint, latest) == LS_OK)
        step = checkpoint_info(checkpoint)->step;
    checkpoint_close(&checkpoint);
    free(latest);
    status_clear();
    return step;
}

void stages_keep_border(const struct run_folder *folder)
{
    char *latest = NULL;
    if (core_format(&latest, "%s/checkpoints/latest", run_folder_path(folder)) != LS_OK ||
        checkpoint_keep(latest) != LS_OK)
        log_warn("border not_kept: %s", status_message());
    free(latest);
    status_clear();
}
