/* The loop: steps, their metrics, checkpoints when they are due, and the way out. */
#include <inttypes.h>

#include "core/log.h"
#include "worker/trainer.h"

enum { WATCHED_STEPS = 50 };

/* Say so when the loader is too slow for the model: in words, once in a while. */
struct data_watch {
    int steps;
    double wait_s, step_s;
};

static void watch_data(struct data_watch *watch, const struct step_metrics *step)
{
    watch->steps++;
    watch->wait_s += step->data_wait_s;
    watch->step_s += step->step_s;
    if (watch->steps < WATCHED_STEPS)
        return;
    if (watch->wait_s > 0.1 * watch->step_s)
        log_warn("data_too_slow wait_share=%.2f over_steps=%d advice=raise_data.num_workers",
                 watch->wait_s / watch->step_s, watch->steps);
    *watch = (struct data_watch){0};
}

/* A start may begin at or beyond the step where an earlier one was to stop. */
static bool stop_reached(const struct trainer *trainer)
{
    return trainer->options->stop_at > 0 && trainer->step >= trainer->options->stop_at;
}

ls_status trainer_run(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct data_watch watch = {0};
    /* The end of the stage: the launcher starts the next one, which may have other workers. */
    int64_t total_steps = trainer->config->first_step + trainer->config->optimization.total_steps;
    bool stop = stop_reached(trainer);
    while (trainer->step < total_steps && !stop) {
        struct step_outcome outcome = {0};
        LS_TRY(trainer_step(trainer, &outcome));
        if (trainer->rank == 0) {
            metrics_append(trainer->metrics, &outcome.metrics);
            display_step(&trainer->display, &outcome.metrics);
            watch_data(&watch, &outcome.metrics);
        }
        stop = outcome.stop || stop_reached(trainer);
        if (trainer->step < total_steps && !stop && trainer_save_due(trainer))
            LS_TRY(trainer_save_begin(trainer));
    }
    LS_TRY(trainer_save_now(trainer));
    if (trainer->step < total_steps)
        st = LS_FAIL(LS_STOP, "stopped after step %" PRId64 " of %" PRId64 "; state saved",
                     trainer->step, config_stages_steps(&trainer->stages));
done:
    if (trainer->rank == 0)
        display_end(&trainer->display);
    return st;
}
