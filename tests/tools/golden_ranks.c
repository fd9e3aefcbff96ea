/* golden_ranks FILE...: as build/golden, with the micro-batches dealt to MPI ranks and gradients
 * summed by comm/.  Run under mpirun.  Every rank checks; rank 0 prints.  Exit code: 0 all hold, 1
 * a miss. */
#include <stdio.h>

#include "comm/comm.h"
#include "core/log.h"
#include "model/device.h"
#include "tests/support/golden_pretrain.h"
#include "tests/support/test_device.h"

static ls_status sum_floats(void *context, float *values, int64_t count)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    LS_TRY(comm_sum_start(context, &request, values, count));
    LS_TRY(comm_wait(context, &request));
done:
    return st;
}

static ls_status sum_doubles(void *context, double *values, int64_t count)
{
    return comm_sum_f64(context, values, count);
}

static ls_status check_file(struct golden_report *report, const char *path,
                            const struct golden_run *run)
{
    ls_status st = LS_OK;
    struct golden *golden = NULL;
    LS_TRY(golden_open(&golden, path));
    LS_TRY(golden_pretrain(report, golden, run));
    if (run->rank == 0)
        (void)printf("%s: %d ranks, %d quantities, %d missed; worst error/bound %.3f (%s)\n", path,
                     run->size, report->checked, report->missed, report->worst, report->worst_name);
    if (report->missed > 0)
        st = LS_FAIL(LS_FAILED, "%s: %d quantities missed, worst %s", path, report->missed,
                     report->worst_name);
done:
    golden_close(&golden);
    return st;
}

int main(int argc, char **argv)
{
    ls_status st = LS_OK;
    struct comm_group *group = NULL;
    struct model_device device = {0};
    enum config_device wanted;
    LS_TRY(test_device_wanted(&wanted));
    LS_TRY(comm_open(&group, &(struct comm_options){.timeout_s = 60}));
    log_open(comm_rank(group), LOG_LEVEL_WARN);
    LS_TRY(model_device_open(&device, wanted, 1, comm_local_rank(group), true));
    for (int i = 1; i < argc; i++) {
        struct golden_report report = {0};
        struct golden_run run = {.table = device.table,
                                 .device = device.device,
                                 .dtype = OP_F32,
                                 .workers = 1,
                                 .rank = comm_rank(group),
                                 .size = comm_size(group),
                                 .sum_floats = sum_floats,
                                 .sum_doubles = sum_doubles,
                                 .context = group};
        LS_TRY(check_file(&report, argv[i], &run));
    }
done:
    if (st != LS_OK) {
        log_error("golden_ranks: %s", status_text());
        comm_abort(group, status_exit_code(st));
    }
    model_device_close(&device);
    comm_close(&group);
    return 0;
}
