/* Datasets are looked at before anything starts, so that a wrong path costs no start of workers. */
#include "launcher/train_datasets.h"

#include <stdlib.h>

#include "core/files.h"

static ls_status check(const char *path)
{
    ls_status st = LS_OK;
    char *index = NULL;
    LS_TRY(core_format(&index, "%s/index.h5", path));
    if (!files_exists(path))
        st = LS_FAIL(LS_IO, "%s: no such dataset", path);
    else if (!files_exists(index))
        st = LS_FAIL(LS_DATA, "%s: no packed dataset; `lockstep pack` makes one", path);
done:
    free(index);
    return st;
}

ls_status train_datasets(struct config *config, const char *run)
{
    (void)run;
    for (int i = 0; i < config->data.dataset_count; i++) {
        ls_status st = check(config->data.datasets[i].path);
        if (st != LS_OK)
            return st;
    }
    return LS_OK;
}
