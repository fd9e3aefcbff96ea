/* The progress thread: the only one that calls MPI.
 *
 * A collective is point-to-point messages between all pairs of ranks, so that the thread knows
 * which rank a collective waits for.  A sum is cut into pieces; of each piece every rank receives
 * its slice from all others, adds the contributions in rank order and sends the result to all: 2 *
 * (size - 1) / size of the bytes in each direction, which is the least an all-reduce can do, and an
 * order of additions that depends on nothing but the ranks.  Several pieces are in flight, so that
 * one is added while others travel.
 *
 * Nothing here spins: between two looks the thread sleeps, shortly when somebody waits, longer when
 * the rank computes and needs the core. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "comm/internal.h"
#include "core/clock.h"
#include "core/trace.h"

enum {
    WAITED_FOR_SLEEP_NS = 20000,
    IN_FLIGHT_SLEEP_NS = 100000,
    LONGEST_SLEEP_NS = 400000, /* a 10 Gbit/s link fills half a megabyte in it */
    LOOKS_BETWEEN_DOUBLINGS = 32,
    LOOKS_COUNTED = 1000,
    IDLE_SLEEP_NS = 5000000, /* MPI may still hold messages that it called sent */
    TAGS = 8192,             /* MPI guarantees tags up to 32767 */
    OTHER_TAG = 2 * TAGS,
    BLOCK = 2048 /* elements added at a time: two blocks stay in the first-level cache */
};

int64_t comm_slice(int64_t *first, int64_t count, int rank, int size)
{
    /* Slices start at multiples of 16 elements, a cache line. */
    int64_t width = ((count + size - 1) / size + 15) / 16 * 16;
    int64_t begin = width * rank < count ? width * rank : count;
    int64_t end = begin + width < count ? begin + width : count;
    *first = begin;
    return end - begin;
}

static ls_status receive(struct comm_group *group, struct comm_slot *slot, void *to, size_t bytes,
                         int from)
{
    if (bytes == 0)
        return LS_OK;
    slot->peers[slot->total] = from;
    slot->receives++;
    return comm_check_mpi(MPI_Irecv(to, (int)bytes, MPI_BYTE, from, slot->tag, group->communicator,
                                    &slot->requests[slot->total++]),
                          "receive");
}

static ls_status send(struct comm_group *group, struct comm_slot *slot, const void *from,
                      size_t bytes, int to)
{
    if (bytes == 0)
        return LS_OK;
    slot->peers[slot->total] = to;
    return comm_check_mpi(MPI_Isend(from, (int)bytes, MPI_BYTE, to, slot->tag, group->communicator,
                                    &slot->requests[slot->total++]),
                          "send");
}

int64_t comm_piece_elements(const struct comm_request *request, int size)
{
    int64_t all =
        COMM_PIECE_ELEMENTS * (int64_t)(sizeof(float) / comm_element_bytes(request->kind));
    int64_t each = all / size / 16 * 16;
    return request->slice == 0 ? all : each > 16 ? each : 16;
}

/* Rank `rank`'s part of a piece, elements [*first, *first + return value) of the request's data. */
static int64_t part_of(const struct comm_group *group, const struct comm_slot *slot, int rank,
                       int64_t *first)
{
    const struct comm_request *request = slot->request;
    if (request->slice == 0) {
        int64_t count = comm_slice(first, slot->count, rank, group->size);
        *first += slot->offset;
        return count;
    }
    int64_t begin = request->slice * rank + slot->offset;
    int64_t end = begin + slot->count;
    *first = begin < request->count ? begin : request->count;
    return (end < request->count ? end : request->count) - *first;
}

/* Where the slice of this rank comes in from the `index`-th other rank. */
static float *received_slice(const struct comm_slot *slot, int64_t width, int index)
{
    return slot->received + (size_t)(width * index);
}

/* Phase 0 of a sum's piece: my contribution to every owner, everybody's to my slice. */
static ls_status scatter_piece(struct comm_group *group, struct comm_slot *slot)
{
    ls_status st = LS_OK;
    const float *data = slot->request->data;
    int64_t first = 0;
    int64_t mine = part_of(group, slot, group->rank, &first);
    int index = 0;
    for (int r = 0; r < group->size; r++)
        if (r != group->rank)
            LS_TRY(receive(group, slot, received_slice(slot, mine, index++),
                           (size_t)mine * sizeof *data, r));
    for (int step = 1; step < group->size; step++) {
        int owner = (group->rank + step) % group->size; /* not all to one rank at a time */
        int64_t theirs = part_of(group, slot, owner, &first);
        LS_TRY(send(group, slot, data + first, (size_t)theirs * sizeof *data, owner));
    }
done:
    return st;
}

/* Phase 1 of a sum, and all of a gather: my part to all, everybody's into their parts. */
static ls_status gather_piece(struct comm_group *group, struct comm_slot *slot)
{
    ls_status st = LS_OK;
    char *data = slot->request->data;
    const int64_t each = (int64_t)comm_element_bytes(slot->request->kind);
    int64_t first = 0;
    for (int r = 0; r < group->size; r++)
        if (r != group->rank) {
            int64_t theirs = part_of(group, slot, r, &first);
            LS_TRY(receive(group, slot, data + first * each, (size_t)(theirs * each), r));
        }
    int64_t mine = part_of(group, slot, group->rank, &first);
    for (int step = 1; step < group->size; step++)
        LS_TRY(send(group, slot, data + first * each, (size_t)(mine * each),
                    (group->rank + step) % group->size));
done:
    return st;
}

/* Add the contributions to my slice in rank order: float addition is not associative, and a resumed
 * run must match bit for bit. */
static void add_slice(const struct comm_group *group, struct comm_slot *slot)
{
    int64_t first = 0;
    int64_t mine = part_of(group, slot, group->rank, &first);
    float *own = (float *)slot->request->data + first;
    for (int64_t begin = 0; begin < mine; begin += BLOCK) {
        float sum[BLOCK];
        int64_t count = mine - begin < BLOCK ? mine - begin : BLOCK;
        int index = 0;
        for (int r = 0; r < group->size; r++) {
            const float *part = r == group->rank ? own : received_slice(slot, mine, index++);
            if (r == 0) {
                memcpy(sum, part + begin, (size_t)count * sizeof *sum);
                continue;
            }
            for (int64_t i = 0; i < count; i++)
                sum[i] += part[begin + i];
        }
        memcpy(own + begin, sum, (size_t)count * sizeof *sum);
    }
}

static ls_status start_other(struct comm_group *group, struct comm_slot *slot)
{
    ls_status st = LS_OK;
    struct comm_request *request = slot->request;
    size_t bytes = request->bytes;
    bool exchange = request->kind == COMM_EXCHANGE;
    if (!exchange && group->rank != request->root)
        return receive(group, slot, request->staging, bytes, request->root);
    for (int r = 0; r < group->size && exchange; r++)
        if (r != group->rank)
            LS_TRY(receive(group, slot, request->staging + (size_t)r * bytes, bytes, r));
    const char *mine = request->staging + (exchange ? (size_t)group->rank * bytes : 0);
    for (int step = 1; step < group->size; step++)
        LS_TRY(send(group, slot, mine, bytes, (group->rank + step) % group->size));
done:
    return st;
}

/* Take the next piece of the queue's first request into a free slot.  The mutex is held. */
static void take_piece(struct comm_queue *queue, struct comm_slot *slot, int64_t *pieces, int size)
{
    struct comm_request *request = queue->first;
    bool bulk = comm_is_bulk(request->kind);
    int64_t number = (*pieces)++ % TAGS;
    int64_t most = comm_piece_elements(request, size);
    slot->request = request;
    slot->tag = bulk ? (int)(2 * number) : (int)(OTHER_TAG + number);
    slot->phase = 0;
    slot->receives = slot->total = 0;
    slot->offset = request->pieces_started * most;
    slot->count = (request->slice > 0 ? request->slice : request->count) - slot->offset;
    if (slot->count > most)
        slot->count = most;
    request->pieces_started++;
    if (request->pieces_started == request->pieces) {
        queue->first = request->next;
        if (queue->first == NULL)
            queue->last = NULL;
        request->next = NULL;
    }
}

static void finish_piece(struct comm_group *group, struct comm_slot *slot)
{
    struct comm_request *request = slot->request;
    slot->request = NULL;
    request->pieces_done++;
    if (request->pieces_done < request->pieces)
        return;
    (void)pthread_mutex_lock(&group->mutex);
    request->done = true;
    if (comm_is_bulk(request->kind)) {
        group->busy_bytes += comm_request_bytes(request);
        group->sums_unfinished--;
        if (group->sums_unfinished == 0) {
            const double now_s = clock_now_s();
            group->busy_s += now_s - group->busy_since_s;
            trace_span("sums over ranks", "sums", group->busy_since_s, now_s);
        }
    }
    (void)pthread_cond_broadcast(&group->done);
    (void)pthread_mutex_unlock(&group->mutex);
}

/* Look at a slot; `*moved` is set when something happened. */
static ls_status advance_slot(struct comm_group *group, struct comm_slot *slot, bool *moved)
{
    ls_status st = LS_OK;
    int all_there = 0;
    if (slot->request == NULL)
        return LS_OK;
    LS_TRY(comm_check_mpi(MPI_Testall(slot->total, slot->requests, &all_there, MPI_STATUSES_IGNORE),
                          "transfer"));
    if (!all_there)
        return LS_OK;
    *moved = true;
    bool summed = slot->request->kind == COMM_SUM || slot->request->kind == COMM_SUM_SLICES;
    if (summed && slot->phase == 0)
        add_slice(group, slot);
    if (slot->request->kind == COMM_SUM && slot->phase == 0) {
        slot->phase = 1;
        slot->tag++;
        slot->receives = slot->total = 0;
        LS_TRY(gather_piece(group, slot));
    } else {
        finish_piece(group, slot);
    }
done:
    return st;
}

static ls_status start_piece(struct comm_group *group, struct comm_slot *slot)
{
    switch (slot->request->kind) {
    case COMM_SUM:
    case COMM_SUM_SLICES:
        return scatter_piece(group, slot);
    case COMM_GATHER:
        return gather_piece(group, slot);
    default:
        return start_other(group, slot);
    }
}

/* Start what there is a free slot for. */
static ls_status start_pieces(struct comm_group *group, bool *moved)
{
    ls_status st = LS_OK;
    for (int i = 0; i <= COMM_SUM_SLOTS; i++) {
        bool sums = i < COMM_SUM_SLOTS;
        struct comm_slot *slot = sums ? &group->sum_slots[i] : &group->other_slot;
        if (slot->request != NULL)
            continue;
        struct comm_queue *queue = sums ? &group->sums : &group->others;
        (void)pthread_mutex_lock(&group->mutex);
        if (queue->first != NULL)
            take_piece(queue, slot, sums ? &group->sum_pieces : &group->other_pieces, group->size);
        (void)pthread_mutex_unlock(&group->mutex);
        if (slot->request == NULL)
            continue;
        *moved = true;
        LS_TRY(start_piece(group, slot));
    }
done:
    return st;
}

static bool in_flight(const struct comm_group *group)
{
    bool busy = group->other_slot.request != NULL;
    for (int i = 0; i < COMM_SUM_SLOTS; i++)
        busy = busy || group->sum_slots[i].request != NULL;
    return busy;
}

/* Add the ranks of requests [first, end) that are not done to `missing[size]`. */
static void mark_missing(const struct comm_slot *slot, int first, int end, bool *missing)
{
    for (int i = first; slot->request != NULL && i < end; i++) {
        int there = 1;
        if (slot->requests[i] != MPI_REQUEST_NULL &&
            MPI_Request_get_status(slot->requests[i], &there, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            there = 1;
        if (!there)
            missing[slot->peers[i]] = true;
    }
}

/* "WORDS rank 1, 3" of the ranks whose receives, or sends, are not done; "" when all are. */
static void name_missing(char *out, struct comm_group *group, bool sends, const char *words)
{
    size_t used = 0;
    bool *missing = calloc((size_t)group->size, sizeof *missing);
    out[0] = '\0';
    if (missing == NULL)
        return;
    for (int i = 0; i <= COMM_SUM_SLOTS; i++) {
        const struct comm_slot *slot =
            i < COMM_SUM_SLOTS ? &group->sum_slots[i] : &group->other_slot;
        mark_missing(slot, sends ? slot->receives : 0, sends ? slot->total : slot->receives,
                     missing);
    }
    for (int r = 0; r < group->size && used < COMM_TEXT_BYTES - 32; r++)
        if (missing[r])
            used += (size_t)snprintf(out + used, COMM_TEXT_BYTES - used, "%s%s%d",
                                     used > 0 ? ", " : words, used > 0 ? "" : " rank ", r);
    free(missing);
}

/* Write into group->missing which ranks the transfers in flight wait for: those that sent nothing,
 * or else those that take nothing. */
static void explain(struct comm_group *group)
{
    char text[COMM_TEXT_BYTES] = "";
    name_missing(text, group, false, "nothing from");
    if (text[0] == '\0')
        name_missing(text, group, true, "not taken by");
    (void)pthread_mutex_lock(&group->mutex);
    memcpy(group->missing, text, sizeof text);
    group->explain = false;
    (void)pthread_cond_broadcast(&group->done);
    (void)pthread_mutex_unlock(&group->mutex);
}

/* How long to sleep after `idle_looks` looks at transfers that did not move: the longer nothing
 * comes, the less a closer watch is worth the core's time. */
static long sleep_ns_for(bool waited_for, int idle_looks)
{
    long sleep_ns = waited_for ? WAITED_FOR_SLEEP_NS : IN_FLIGHT_SLEEP_NS;
    for (int i = LOOKS_BETWEEN_DOUBLINGS; i <= idle_looks && sleep_ns < LONGEST_SLEEP_NS;
         i += LOOKS_BETWEEN_DOUBLINGS)
        sleep_ns *= 2;
    return sleep_ns < LONGEST_SLEEP_NS ? sleep_ns : LONGEST_SLEEP_NS;
}

/* Sleep until there may be something to do.  False when the thread is to end. */
static bool rest(struct comm_group *group, bool failed, bool busy, int idle_looks)
{
    struct timespec until;
    (void)pthread_mutex_lock(&group->mutex);
    int abort_code = group->abort_code;
    bool asked = group->explain;
    bool queued = !failed && (group->sums.first != NULL || group->others.first != NULL);
    long sleep_ns = sleep_ns_for(group->waiters > 0, idle_looks);
    bool stop = group->stop;
    if (!busy && !queued && !stop && !asked && abort_code < 0) {
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += IDLE_SLEEP_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&group->wake, &group->mutex, &until);
        sleep_ns = 0;
    }
    (void)pthread_mutex_unlock(&group->mutex);
    if (abort_code >= 0)
        (void)MPI_Abort(MPI_COMM_WORLD, abort_code);
    if (asked)
        explain(group);
    if (busy && idle_looks > 0 && sleep_ns > 0)
        (void)nanosleep(&(struct timespec){.tv_nsec = sleep_ns}, NULL);
    return !stop;
}

static void break_group(struct comm_group *group, ls_status st)
{
    (void)pthread_mutex_lock(&group->mutex);
    if (group->broken == LS_OK) {
        group->broken = st;
        (void)snprintf(group->broken_text, COMM_TEXT_BYTES, "%s", status_message());
    }
    (void)pthread_cond_broadcast(&group->done);
    (void)pthread_mutex_unlock(&group->mutex);
}

void *comm_progress_run(void *argument)
{
    struct comm_group *group = argument;
    bool failed = false;
    int idle_looks = 0;
    (void)prctl(PR_SET_TIMERSLACK,
                1000UL); /* ns; the default of 50 us would triple the short sleep */
    for (bool running = true; running;) {
        ls_status st = LS_OK;
        bool moved = false;
        if (!failed) {
            st = start_pieces(group, &moved);
            for (int i = 0; i < COMM_SUM_SLOTS && st == LS_OK; i++)
                st = advance_slot(group, &group->sum_slots[i], &moved);
            if (st == LS_OK)
                st = advance_slot(group, &group->other_slot, &moved);
        }
        if (st != LS_OK) {
            failed = true;
            break_group(group, st);
        }
        bool busy = !failed && in_flight(group);
        if (moved)
            idle_looks = 0;
        else if (idle_looks < LOOKS_COUNTED)
            idle_looks++;
        running = rest(group, failed, busy, idle_looks);
        if (!busy && !failed && group->size > 1) {
            int flag = 0;
            (void)MPI_Iprobe(MPI_ANY_SOURCE, 0, group->communicator, &flag, MPI_STATUS_IGNORE);
        }
    }
    return NULL;
}
