/* The loop: steps, their metrics, checkpoints when they are due, and the way out. */
#include <inttypes.h>

#include "core/clock.h"
#include "core/fault.h"
#include "core/log.h"
#include "core/trace.h"
#include "worker/trainer.h"

/* A start may begin at or beyond the step where an earlier one was to stop. */
static bool stop_reached(const struct trainer *trainer)
{
    return trainer->options->stop_at > 0 && trainer->step >= trainer->options->stop_at;
}

/* Before anything is saved all ranks have to be equal; a checkpoint is of one state. */
static ls_status audit(struct trainer *trainer)
{
    struct audit_finding found;
    if (trainer->config->run.audit_freq == 0 || trainer->size == 1 ||
        trainer->audited_step == trainer->step)
        return LS_OK;
    trainer_phase(trainer, "audit", trainer->step, trainer->config->run.save_timeout_s);
    double start_s = clock_now_s();
    ls_status settled = trainer_settle(trainer);
    if (settled != LS_OK)
        return settled;
    ls_status st = audit_run(trainer->audit, &found, trainer->step);
    if (st != LS_OK) {
        trainer->agreed = !comm_is_broken(trainer->group);
        trainer->own = found.good || found.rank == trainer->rank;
        trainer->unsound = !found.good && found.majority && found.rank == trainer->rank;
        return st;
    }
    if (trainer->audited_step < 0)
        log_info("audit step=%" PRId64 " ranks_equal=%d ms=%.1f", trainer->step, trainer->size,
                 (clock_now_s() - start_s) * 1e3);
    trainer->audited_step = trainer->step;
    return LS_OK;
}

static bool audit_due(const struct trainer *trainer)
{
    int freq = trainer->config->run.audit_freq;
    return freq > 0 && trainer->step % freq == 0;
}

ls_status trainer_run(struct trainer *trainer)
{
    ls_status st = LS_OK;
    /* The end of the stage: the launcher starts the next one, which may have other workers. */
    int64_t total_steps = trainer->config->first_step + trainer->config->optimization.total_steps;
    bool stop = stop_reached(trainer);
    profile_open(&trainer->profile, trainer->options->profile, trainer->options->run, trainer->rank,
                 &trainer->device.model);
    while (trainer->step < total_steps && !stop) {
        struct step_outcome outcome = {0};
        profile_before(&trainer->profile, trainer->step + 1);
        trace_begin("step");
        LS_TRY(trace_ended(trainer_step(trainer, &outcome)));
        profile_after(&trainer->profile, trainer->step);
        if (trainer->rank == 0) {
            metrics_append(trainer->metrics, &outcome.metrics);
            if (trainer->tensorboard != NULL)
                tensorboard_append(trainer->tensorboard, metrics_line(trainer->metrics));
            display_step(&trainer->display, &outcome.metrics);
            watch_step(trainer->watch, &outcome.metrics);
            if (trainer->ranks != NULL)
                ranks_take(trainer->ranks, trainer->step, outcome.times);
        }
        stop = outcome.stop || stop_reached(trainer);
        if (fault_point("flip") != 0)
            LS_TRY(audit_spoil(trainer->audit));
        bool save = trainer->step < total_steps && !stop && trainer_save_due(trainer);
        if (save || audit_due(trainer))
            LS_TRY(audit(trainer));
        if (save)
            LS_TRY(trainer_save_begin(trainer));
    }
    if (trainer->saving.saved_step != trainer->step)
        LS_TRY(audit(trainer));
    LS_TRY(trainer_save_now(trainer));
    LS_TRY(trainer_settle(trainer));
    if (trainer->rank == 0)
        trainer_tell_draws(trainer);
    if (trainer->step < total_steps)
        st = LS_FAIL(LS_STOP, "stopped after step %" PRId64 " of %" PRId64 "; state saved",
                     trainer->step, config_stages_steps(&trainer->stages));
done:
    if (st == LS_OK || st == LS_STOP)
        profile_close(&trainer->profile);
    if (trainer->rank == 0)
        display_end(&trainer->display);
    return st;
}
