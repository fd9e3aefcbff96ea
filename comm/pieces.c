/* The pieces of collectives, as the progress thread moves them.
 *
 * A collective is point-to-point messages between all pairs of ranks, so that the thread knows
 * which rank a collective waits for.  A sum is cut into pieces; of each piece every rank receives
 * its slice from all others, adds the contributions in rank order and sends the result to all: 2 *
 * (size - 1) / size of the bytes in each direction, which is the least an all-reduce can do, and an
 * order of additions that depends on nothing but the ranks.  Several pieces are in flight, so that
 * one is added while others travel. */
#include <string.h>

#include "comm/internal.h"
#include "core/clock.h"
#include "core/trace.h"

enum {
    TAGS = 8192, /* MPI guarantees tags up to 32767 */
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

ls_status comm_piece_advance(struct comm_group *group, struct comm_slot *slot, bool *moved)
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

ls_status comm_pieces_start(struct comm_group *group, bool *moved)
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
