/* Steps that changed nothing do not count, as in the worker (worker/health.c). */
#include "launcher/run_health.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/files.h"

/* What lockstep.collapse_std_share and collapse_rank_share are unless set. */
static const struct collapse_limits usual = {.std_share = 0.6, .rank_share = 0.45};

static double value_at(const float *values, int64_t i)
{
    return values != NULL ? (double)values[i] : NAN;
}

/* The steps first + 1 .. last of the history. */
static void judge_steps(struct run_health *out, const struct history *history,
                        const struct collapse_limits *limits, int64_t first, int64_t last)
{
    struct collapse_track track;
    const float *std = history_find(history, "target_std");
    const float *rank = history_find(history, "target_rank");
    const float *skipped = history_find(history, "skipped");
    collapse_begin(&track);
    for (int64_t i = 0; i < history->count; i++)
        if (history->steps[i] > first && history->steps[i] <= last && !(value_at(skipped, i) > 0))
            collapse_take(&track, history->steps[i] - first, value_at(std, i), value_at(rank, i));
    out->signs = collapse_signs(&track, limits);
    out->state = collapse_judge(&out->reason, &out->signs, limits);
}

void run_health_judge(struct run_health *out, const struct history *history,
                      const struct config_stages *stages)
{
    int64_t last = history->count > 0 ? history->steps[history->count - 1] : 0;
    if (stages->count == 0 || history->count == 0) {
        judge_steps(out, history, &usual, 0, last);
        return;
    }
    int stage = config_stages_at(stages, last - 1);
    do {
        const struct config *config = stages->list[stage];
        const struct collapse_limits limits = {.std_share = config->run.collapse_std_share,
                                               .rank_share = config->run.collapse_rank_share,
                                               .warmup_steps = config->optimization.warmup_steps};
        judge_steps(out, history, &limits, config->first_step, last);
        last = config->first_step;
    } while (out->state == COLLAPSE_UNKNOWN && --stage >= 0);
}

void run_health_tell(const char *run)
{
    struct history history = {0};
    struct config_stages stages = {0};
    struct run_health health;
    char *path = NULL;
    if (core_format(&path, "%s/config.yaml", run) != LS_OK || !files_exists(path) ||
        history_open(&history, run) != LS_OK)
        goto done;
    if (config_stages_open(&stages, path, NULL, 0) == LS_OK &&
        config_stages_resolve(&stages) != LS_OK)
        config_stages_close(&stages);
    run_health_judge(&health, &history, &stages);
    if (health.state >= COLLAPSE_NEAR)
        (void)printf("\nThe features of this run %s (target_std %.0f %%, target_rank %.0f %% of "
                     "their first values).\n",
                     health.state == COLLAPSE_FULL ? "have collapsed"
                                                   : "have lost much of their spread",
                     100 * health.signs.std / health.signs.early_std,
                     100 * health.signs.rank / health.signs.early_rank);
done:
    status_clear();
    config_stages_close(&stages);
    history_close(&history);
    free(path);
}
