/* comm.h in a build without MPI (BUNDLE=1): a job of one rank.  Sums are what they were, exchanges
 * are copies, and there is nobody to wait for. */
#include "comm/comm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"

struct comm_group {
    double timeout_s;
};

ls_status comm_open(struct comm_group **out, const struct comm_options *options)
{
    ls_status st = LS_OK;
    struct comm_group *group = NULL;
    *out = NULL;
    LS_TRY(core_alloc(&group, 1));
    group->timeout_s = options->timeout_s;
    *out = group;
done:
    return st;
}

void comm_close(struct comm_group **group)
{
    free(*group);
    *group = NULL;
}

_Noreturn void comm_abort(struct comm_group *group, int exit_code)
{
    (void)group;
    _exit(exit_code);
}

int comm_rank(const struct comm_group *group)
{
    (void)group;
    return 0;
}

int comm_size(const struct comm_group *group)
{
    (void)group;
    return 1;
}

int comm_local_rank(const struct comm_group *group)
{
    (void)group;
    return 0;
}

int comm_local_size(const struct comm_group *group)
{
    (void)group;
    return 1;
}

bool comm_is_broken(struct comm_group *group)
{
    (void)group;
    return false;
}

void comm_set_timeout(struct comm_group *group, double timeout_s)
{
    group->timeout_s = timeout_s;
}

ls_status comm_sum_start(struct comm_group *group, struct comm_request **out, float *data,
                         int64_t count)
{
    (void)group;
    (void)data;
    *out = NULL;
    return count < 0 ? LS_FAIL(LS_USAGE, "a sum of %lld elements", (long long)count) : LS_OK;
}

ls_status comm_sum_slices_start(struct comm_group *group, struct comm_request **out, float *data,
                                int64_t count, int64_t slice)
{
    (void)slice;
    return comm_sum_start(group, out, data, count);
}

ls_status comm_gather_start(struct comm_group *group, struct comm_request **out, void *data,
                            int64_t bytes, int64_t slice)
{
    (void)slice;
    return comm_sum_start(group, out, data, bytes);
}

ls_status comm_wait(struct comm_group *group, struct comm_request **request)
{
    (void)group;
    *request = NULL;
    return LS_OK;
}

ls_status comm_exchange(struct comm_group *group, const void *mine, size_t bytes, void *all)
{
    (void)group;
    memcpy(all, mine, bytes);
    return LS_OK;
}

ls_status comm_sum_f64(struct comm_group *group, double *values, int64_t count)
{
    (void)group;
    (void)values;
    (void)count;
    return LS_OK;
}

ls_status comm_broadcast(struct comm_group *group, void *data, size_t bytes, int root)
{
    (void)group;
    (void)data;
    (void)bytes;
    return root == 0 ? LS_OK : LS_FAIL(LS_USAGE, "a broadcast from rank %d of one rank", root);
}

ls_status comm_barrier(struct comm_group *group)
{
    (void)group;
    return LS_OK;
}

ls_status comm_agree(struct comm_group *group, ls_status mine)
{
    (void)group;
    return mine;
}

struct comm_counters comm_counters(struct comm_group *group)
{
    (void)group;
    return (struct comm_counters){0};
}
