/* lockstep-worker: one rank of a training run.  Everything that ends the program ends it in
 * `leave`. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"
#include "core/log.h"
#include "core/run.h"
#include "core/version.h"
#include "core/watchdog.h"
#include "worker/plan.h"
#include "worker/prober.h"
#include "worker/show.h"
#include "worker/signals.h"
#include "worker/trainer.h"

enum { LEAVE_TIMEOUT_S = 10, CLOSE_TIMEOUT_S = 90, RECORDS_S = 1 };

/* OpenMP threads that spin ruin shared cores (2 ranks x 2 threads on 2 cores: 645 GFLOP/s against
 * 1475).  Its library reads the variable before main. */
static void make_openmp_passive(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") != NULL || setenv("OMP_WAIT_POLICY", "passive", 1) != 0)
        return;
    (void)execv("/proc/self/exe", argv);
    log_warn("openmp asked=passive used=default reason=cannot_start_again");
}

/* The record by which the launcher knows how this rank ended. */
static void write_record(const struct trainer *trainer, ls_status st)
{
    bool good = st == LS_OK || st == LS_STOP;
    char host[FLIGHT_HOST_BYTES] = "";
    if (good ? trainer->rank != 0 : trainer->agreed && !trainer->own)
        return;
    struct run_end end = {.rank = trainer->rank,
                          .step = trainer->step,
                          .status = st,
                          .rollback = trainer->rollback,
                          .message = good ? NULL : (char *)status_message()};
    /* A command that starts one worker tells its failure itself. */
    if (!good && !trainer->options->show && trainer->options->features == NULL)
        log_error("%s", status_text());
    if (trainer->unsound && gethostname(host, sizeof host - 1) == 0)
        end.node = host;
    if (run_end_write(trainer->options->run, trainer->options->run_epoch, &end) != LS_OK)
        log_warn("no end record: %s", status_text());
}

/* What this rank did last, for the launcher's report; before the record says that it leaves. */
static void write_flight(ls_status st)
{
    char text[512];
    if (st != LS_COMM && st != LS_TIMEOUT)
        return;
    (void)snprintf(text, sizeof text, "%s", status_message());
    if (flight_write() != LS_OK) {
        log_warn("no flight record: %s", status_text());
        (void)status_adopt(st, text);
    }
}

/* All ranks together when they agreed; else this one ends the job for all. */
static int leave(struct trainer *trainer, ls_status st)
{
    bool good = st == LS_OK || st == LS_STOP;
    write_flight(st);
    trainer_phase(trainer, "end", trainer->step, good ? CLOSE_TIMEOUT_S : LEAVE_TIMEOUT_S);
    write_record(trainer, st);
    if (good) {
        watchdog_closing(trainer->step, CLOSE_TIMEOUT_S);
        trainer_close(trainer);
        comm_close(&trainer->group);
        return 0;
    }
    int code = status_exit_code(st);
    comm_device_abort(trainer->device_sums);
    if (trainer->agreed) {
        /* The rank with the cause writes its record before anybody ends the job. */
        if (comm_barrier(trainer->group) != LS_OK)
            status_clear();
    } else {
        clock_sleep_s(RECORDS_S); /* others that time out write theirs before the job ends */
    }
    comm_abort(trainer->group, code);
}

int main(int argc, char **argv)
{
    struct worker_options options;
    struct trainer trainer = {0};
    make_openmp_passive(argv);
    version_set_commit(LOCKSTEP_COMMIT);
    ls_status st = worker_options_parse(&options, argc, argv);
    if (st == LS_OK && options.help) {
        worker_options_help();
        return 0;
    }
    if (st == LS_OK && options.memory) {
        st = worker_plan_print(&options);
        if (st == LS_OK)
            return 0;
    }
    if (st == LS_OK)
        st = worker_signals_open();
    if (st == LS_OK && options.show) {
        trainer.options = &options;
        trainer.own = true;
        st = show_run(&options);
        write_record(&trainer, st);
        return status_exit_code(st);
    }
    if (st != LS_OK) {
        log_error("%s", status_text());
        return status_exit_code(st);
    }
    files_raise_limit();
    if (options.probe) {
        st = prober_run(&trainer, &options);
    } else {
        st = trainer_open(&trainer, &options);
        if (st == LS_OK)
            st = trainer_run(&trainer);
    }
    return leave(&trainer, st);
}
