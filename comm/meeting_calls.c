/* The collectives of ranks that meet in a file: what each does with the pieces of all ranks. */
#include <inttypes.h>
#include <string.h>

#include "comm/meeting.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void take_sum(const struct meeting_work *work, int rank, const char *piece, int64_t offset,
                     int64_t bytes)
{
    float *to = (float *)work->to + offset / (int64_t)sizeof(float);
    const float *from = (const float *)(const void *)piece;
    for (int64_t i = 0; i < bytes / (int64_t)sizeof(float); i++)
        to[i] = rank == 0 ? from[i] : to[i] + from[i];
}

/* Of the piece only what lies in this rank's slice. */
static void take_slice(const struct meeting_work *work, int rank, const char *piece, int64_t offset,
                       int64_t bytes)
{
    int64_t begin = work->own * work->each * (int64_t)sizeof(float);
    int64_t end = least(begin + work->each * (int64_t)sizeof(float), offset + bytes);
    begin = begin > offset ? begin : offset;
    if (begin < end)
        take_sum(work, rank, piece + (begin - offset), begin, end - begin);
}

static void take_sum_f64(const struct meeting_work *work, int rank, const char *piece,
                         int64_t offset, int64_t bytes)
{
    double *to = (double *)work->to + offset / (int64_t)sizeof(double);
    const double *from = (const double *)(const void *)piece;
    for (int64_t i = 0; i < bytes / (int64_t)sizeof(double); i++)
        to[i] = rank == 0 ? from[i] : to[i] + from[i];
}

static void take_place(const struct meeting_work *work, int rank, const char *piece, int64_t offset,
                       int64_t bytes)
{
    if (bytes > 0)
        memmove((char *)work->to + rank * work->each + offset, piece, (size_t)bytes);
}

static void take_root(const struct meeting_work *work, int rank, const char *piece, int64_t offset,
                      int64_t bytes)
{
    if (rank == work->each && bytes > 0)
        memmove((char *)work->to + offset, piece, (size_t)bytes);
}

static void take_nothing(const struct meeting_work *work, int rank, const char *piece,
                         int64_t offset, int64_t bytes)
{
    (void)work;
    (void)rank;
    (void)piece;
    (void)offset;
    (void)bytes;
}

static ls_status refuse(enum meeting_kind kind, int64_t count, int64_t slice)
{
    return LS_FAIL(LS_USAGE, "a %s of %" PRId64 " elements in slices of %" PRId64,
                   meeting_kind_name(kind), count, slice);
}

ls_status comm_sum_start(struct comm_group *group, struct comm_request **out, float *data,
                         int64_t count)
{
    int64_t bytes = count * (int64_t)sizeof *data;
    const struct meeting_work work = {.kind = MEETING_SUM,
                                      .mine = (const char *)data,
                                      .bytes = bytes,
                                      .longest = bytes,
                                      .take = take_sum,
                                      .to = data};
    *out = NULL;
    return count < 0 ? refuse(MEETING_SUM, count, 0) : meeting_run(group, &work);
}

ls_status comm_sum_slices_start(struct comm_group *group, struct comm_request **out, float *data,
                                int64_t count, int64_t slice)
{
    int64_t bytes = count * (int64_t)sizeof *data;
    const struct meeting_work work = {.kind = MEETING_SUM_SLICES,
                                      .mine = (const char *)data,
                                      .bytes = bytes,
                                      .longest = bytes,
                                      .take = take_slice,
                                      .to = data,
                                      .each = slice,
                                      .own = group->rank};
    *out = NULL;
    if (count < 0 || slice <= 0 || (count - 1) / slice >= group->size)
        return refuse(MEETING_SUM_SLICES, count, slice);
    return meeting_run(group, &work);
}

ls_status comm_gather_start(struct comm_group *group, struct comm_request **out, void *data,
                            int64_t bytes, int64_t slice)
{
    int64_t begin = least(group->rank * slice, bytes);
    const struct meeting_work work = {.kind = MEETING_GATHER,
                                      .mine = (const char *)data + begin,
                                      .bytes = least(bytes - begin, slice),
                                      .longest = least(slice, bytes),
                                      .take = take_place,
                                      .to = data,
                                      .each = slice};
    *out = NULL;
    if (bytes < 0 || slice <= 0 || (bytes - 1) / slice >= group->size)
        return refuse(MEETING_GATHER, bytes, slice);
    return meeting_run(group, &work);
}

ls_status comm_wait(struct comm_group *group, struct comm_request **request)
{
    *request = NULL;
    return meeting_state(group);
}

ls_status comm_exchange(struct comm_group *group, const void *mine, size_t bytes, void *all)
{
    const struct meeting_work work = {.kind = MEETING_EXCHANGE,
                                      .mine = mine,
                                      .bytes = (int64_t)bytes,
                                      .longest = (int64_t)bytes,
                                      .take = take_place,
                                      .to = all,
                                      .each = (int64_t)bytes};
    return meeting_run(group, &work);
}

ls_status comm_sum_f64(struct comm_group *group, double *values, int64_t count)
{
    int64_t bytes = count * (int64_t)sizeof *values;
    const struct meeting_work work = {.kind = MEETING_SUM_F64,
                                      .mine = (const char *)values,
                                      .bytes = bytes,
                                      .longest = bytes,
                                      .take = take_sum_f64,
                                      .to = values};
    return count < 0 ? refuse(MEETING_SUM_F64, count, 0) : meeting_run(group, &work);
}

ls_status comm_broadcast(struct comm_group *group, void *data, size_t bytes, int root)
{
    const struct meeting_work work = {.kind = MEETING_BROADCAST,
                                      .mine = data,
                                      .bytes = (int64_t)bytes,
                                      .longest = (int64_t)bytes,
                                      .take = take_root,
                                      .to = data,
                                      .each = root};
    if (root < 0 || root >= group->size)
        return LS_FAIL(LS_USAGE, "a broadcast from rank %d of %d", root, group->size);
    return meeting_run(group, &work);
}

ls_status comm_barrier(struct comm_group *group)
{
    const struct meeting_work work = {.kind = MEETING_BARRIER, .mine = "", .take = take_nothing};
    return meeting_run(group, &work);
}

struct comm_counters comm_counters(struct comm_group *group)
{
    struct comm_counters counters = group->counters;
    group->counters = (struct comm_counters){0};
    return counters;
}
