/* The pages and JSON objects that `inspect` prints of datasets, shards and videos. */
#ifndef LOCKSTEP_LAUNCHER_DATASET_PAGE_H
#define LOCKSTEP_LAUNCHER_DATASET_PAGE_H

#include <stdbool.h>

#include "core/status.h"
#include "data/describe.h"
#include "data/describe_cost.h"

/* Print to stdout.  Local.  Errors: LS_IO, LS_DATA, LS_NOMEM. */
ls_status dataset_page(const struct dataset *dataset, const struct dataset_costs_question *question,
                       bool json) LS_MUST_CHECK;
ls_status dataset_page_video(const struct dataset *dataset, int64_t video, bool json) LS_MUST_CHECK;
ls_status dataset_page_shard(const char *path, bool json) LS_MUST_CHECK;

#endif
