/* The callers' side: requests are queued here and waited for with a deadline.  Nothing in this file
 * calls MPI. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/internal.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"

enum { EXPLAIN_GRACE_S = 1 };

const char *comm_kind_name(enum comm_kind kind)
{
    static const char *const name[COMM_KINDS] = {[COMM_SUM] = "sum",
                                                 [COMM_SUM_SLICES] = "sum of slices",
                                                 [COMM_GATHER] = "gather",
                                                 [COMM_EXCHANGE] = "exchange",
                                                 [COMM_BROADCAST] = "broadcast"};
    return name[kind];
}

bool comm_is_bulk(enum comm_kind kind)
{
    return kind <= COMM_GATHER;
}

size_t comm_element_bytes(enum comm_kind kind)
{
    return kind == COMM_GATHER ? 1 : sizeof(float);
}

int64_t comm_request_bytes(const struct comm_request *request)
{
    if (comm_is_bulk(request->kind))
        return request->count * (int64_t)comm_element_bytes(request->kind);
    return (int64_t)request->bytes;
}

/* A request from the free list, or a new one: after the first steps nothing is allocated. */
static ls_status take_request(struct comm_request **out, struct comm_group *group)
{
    struct comm_request *request = NULL;
    (void)pthread_mutex_lock(&group->mutex);
    if (group->free_requests != NULL) {
        request = group->free_requests;
        group->free_requests = request->next;
    }
    (void)pthread_mutex_unlock(&group->mutex);
    if (request == NULL) {
        ls_status st = core_alloc(&request, 1);
        if (st != LS_OK)
            return st;
        (void)pthread_mutex_lock(&group->mutex);
        request->allocated_before = group->allocated;
        group->allocated = request;
        (void)pthread_mutex_unlock(&group->mutex);
    }
    request->next = NULL;
    request->data = NULL;
    request->count = 0;
    request->slice = 0;
    request->bytes = 0;
    request->pieces = request->pieces_started = request->pieces_done = 0;
    request->done = false;
    *out = request;
    return LS_OK;
}

static void give_back_request(struct comm_group *group, struct comm_request *request)
{
    (void)pthread_mutex_lock(&group->mutex);
    request->next = group->free_requests;
    group->free_requests = request;
    (void)pthread_mutex_unlock(&group->mutex);
}

/* Room for `bytes` of the request's own copy. */
static ls_status reserve_staging(struct comm_request *request, size_t bytes)
{
    if (bytes <= request->staging_bytes)
        return LS_OK;
    char *larger = realloc(request->staging, bytes);
    if (larger == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for %zu bytes to exchange", bytes);
    request->staging = larger;
    request->staging_bytes = bytes;
    return LS_OK;
}

static ls_status broken_status(const struct comm_group *group)
{
    return status_adopt(group->broken, group->broken_text);
}

/* Hand a filled request to the progress thread. */
static ls_status queue_request(struct comm_group *group, struct comm_request *request)
{
    ls_status st = LS_OK;
    bool bulk = comm_is_bulk(request->kind);
    struct comm_queue *queue = bulk ? &group->sums : &group->others;
    (void)pthread_mutex_lock(&group->mutex);
    request->sequence = queue->sequence++;
    flight_collective(comm_kind_name(request->kind), request->sequence,
                      comm_request_bytes(request));
    if (group->broken != LS_OK) {
        st = broken_status(group);
    } else if (group->size == 1 || request->pieces == 0) {
        request->done = true;
    } else {
        if (queue->last == NULL)
            queue->first = request;
        else
            queue->last->next = request;
        queue->last = request;
        if (bulk && group->sums_unfinished++ == 0)
            group->busy_since_s = clock_now_s();
        (void)pthread_cond_signal(&group->wake);
    }
    (void)pthread_mutex_unlock(&group->mutex);
    return st;
}

/* Ask the progress thread who is missing, and break the group.  The mutex is held. */
static ls_status time_out(struct comm_group *group, const struct comm_request *request)
{
    struct timespec until = clock_deadline(EXPLAIN_GRACE_S);
    group->explain = true;
    while (group->explain)
        if (pthread_cond_timedwait(&group->done, &group->mutex, &until) == ETIMEDOUT)
            break;
    if (group->broken != LS_OK) /* the transfer failed meanwhile: that says more */
        return broken_status(group);
    bool known = !group->explain && group->missing[0] != '\0';
    group->broken = LS_FAIL(
        LS_TIMEOUT,
        "%s number %" PRId64 " of %" PRId64 " bytes did not end within %g s%s%s", /* one line */
        comm_kind_name(request->kind), request->sequence, comm_request_bytes(request),
        group->timeout_s, known ? ": " : "", known ? group->missing : "");
    (void)snprintf(group->broken_text, COMM_TEXT_BYTES, "%s", status_message());
    return group->broken;
}

/* Wait until the request is done. */
static ls_status wait_request(struct comm_group *group, struct comm_request *request)
{
    ls_status st = LS_OK;
    struct timespec until = clock_deadline(group->timeout_s);
    (void)pthread_mutex_lock(&group->mutex);
    group->waiters++;
    flight_waits(true);
    while (!request->done && st == LS_OK) {
        if (group->broken != LS_OK)
            st = broken_status(group);
        else if (pthread_cond_timedwait(&group->done, &group->mutex, &until) == ETIMEDOUT &&
                 !request->done)
            st = time_out(group, request);
    }
    group->waiters--;
    if (st == LS_OK) /* else the record says what it waits for */
        flight_waits(false);
    (void)pthread_mutex_unlock(&group->mutex);
    return st;
}

/* `slice` 0: every piece is dealt out anew. */
static ls_status start_bulk(struct comm_group *group, struct comm_request **out,
                            enum comm_kind kind, void *data, int64_t count, int64_t slice)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    if (count < 0 || slice < 0 || (kind != COMM_SUM && slice == 0) ||
        (slice > 0 && (count - 1) / slice >= group->size))
        return LS_FAIL(LS_USAGE,
                       "a %s of %" PRId64 " elements in slices of %" PRId64 " of %d ranks",
                       comm_kind_name(kind), count, slice, group->size);
    LS_TRY(take_request(&request, group));
    request->kind = kind;
    request->data = data;
    request->count = count;
    request->slice = slice;
    int64_t each = comm_piece_elements(request, group->size);
    int64_t dealt = slice > 0 && slice < count ? slice : count;
    request->pieces = (dealt + each - 1) / each;
    LS_TRY(queue_request(group, request));
    *out = request;
    request = NULL;
done:
    if (request != NULL)
        give_back_request(group, request);
    return st;
}

ls_status comm_sum_start(struct comm_group *group, struct comm_request **out, float *data,
                         int64_t count)
{
    return start_bulk(group, out, COMM_SUM, data, count, 0);
}

ls_status comm_sum_slices_start(struct comm_group *group, struct comm_request **out, float *data,
                                int64_t count, int64_t slice)
{
    return start_bulk(group, out, COMM_SUM_SLICES, data, count, slice);
}

ls_status comm_gather_start(struct comm_group *group, struct comm_request **out, void *data,
                            int64_t bytes, int64_t slice)
{
    return start_bulk(group, out, COMM_GATHER, data, bytes, slice);
}

ls_status comm_wait(struct comm_group *group, struct comm_request **request)
{
    if (*request == NULL)
        return LS_OK;
    ls_status st = wait_request(group, *request);
    if (st == LS_OK)
        give_back_request(group, *request);
    /* After a failure the progress thread may still hold it: it is left to the process's end. */
    *request = NULL;
    return st;
}

/* Exchange (root -1) or broadcast, on a copy of the caller's data.  `*out` holds what came, in its
 * staging, until it is given back. */
static ls_status run_other(struct comm_group *group, struct comm_request **out, const void *mine,
                           size_t bytes, int root)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    bool exchange = root < 0;
    if (bytes > INT_MAX || root >= group->size)
        return LS_FAIL(LS_USAGE, "an exchange of %zu bytes a rank from rank %d", bytes, root);
    LS_TRY(take_request(&request, group));
    LS_TRY(reserve_staging(request, exchange ? (size_t)group->size * bytes : bytes));
    request->kind = exchange ? COMM_EXCHANGE : COMM_BROADCAST;
    request->root = root;
    request->bytes = bytes;
    request->pieces = bytes > 0 ? 1 : 0;
    if (bytes > 0 && (exchange || root == group->rank))
        memcpy(request->staging + (exchange ? (size_t)group->rank * bytes : 0), mine, bytes);
    LS_TRY(queue_request(group, request));
    *out = request;
    request = NULL;
    LS_TRY(wait_request(group, *out));
done:
    if (request != NULL)
        give_back_request(group, request);
    return st;
}

ls_status comm_exchange(struct comm_group *group, const void *mine, size_t bytes, void *all)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    LS_TRY(run_other(group, &request, mine, bytes, -1));
    if (bytes > 0)
        memcpy(all, request->staging, (size_t)group->size * bytes);
    give_back_request(group, request);
done:
    return st;
}

ls_status comm_broadcast(struct comm_group *group, void *data, size_t bytes, int root)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    if (root < 0)
        return LS_FAIL(LS_USAGE, "a broadcast from rank %d", root);
    LS_TRY(run_other(group, &request, data, bytes, root));
    if (bytes > 0)
        memcpy(data, request->staging, bytes);
    give_back_request(group, request);
done:
    return st;
}

ls_status comm_barrier(struct comm_group *group)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    LS_TRY(run_other(group, &request, "", 1, -1));
    give_back_request(group, request);
done:
    return st;
}

ls_status comm_sum_f64(struct comm_group *group, double *values, int64_t count)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    if (count < 0)
        return LS_FAIL(LS_USAGE, "a sum of %" PRId64 " elements", count);
    size_t bytes = (size_t)count * sizeof *values;
    LS_TRY(run_other(group, &request, values, bytes, -1));
    for (int r = 0; r < group->size; r++) {
        const double *part = (const double *)(void *)(request->staging + (size_t)r * bytes);
        for (int64_t i = 0; i < count; i++)
            values[i] = r == 0 ? part[i] : values[i] + part[i];
    }
    give_back_request(group, request);
done:
    return st;
}

struct comm_counters comm_counters(struct comm_group *group)
{
    (void)pthread_mutex_lock(&group->mutex);
    double now_s = clock_now_s();
    if (group->sums_unfinished > 0) {
        group->busy_s += now_s - group->busy_since_s;
        group->busy_since_s = now_s;
    }
    struct comm_counters counters = {.busy_s = group->busy_s, .bytes = group->busy_bytes};
    group->busy_s = 0;
    group->busy_bytes = 0;
    (void)pthread_mutex_unlock(&group->mutex);
    return counters;
}
