/* The progress thread: the only one that calls MPI (pieces.c is its too).
 *
 * Nothing here spins: between two looks the thread sleeps, shortly when somebody waits, longer when
 * the rank computes and needs the core. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "comm/internal.h"

enum {
    WAITED_FOR_SLEEP_NS = 20000,
    IN_FLIGHT_SLEEP_NS = 100000,
    LONGEST_SLEEP_NS = 400000, /* a 10 Gbit/s link fills half a megabyte in it */
    LOOKS_BETWEEN_DOUBLINGS = 32,
    LOOKS_COUNTED = 1000,
    IDLE_SLEEP_NS = 5000000 /* MPI may still hold messages that it called sent */
};

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
            st = comm_pieces_start(group, &moved);
            for (int i = 0; i < COMM_SUM_SLOTS && st == LS_OK; i++)
                st = comm_piece_advance(group, &group->sum_slots[i], &moved);
            if (st == LS_OK)
                st = comm_piece_advance(group, &group->other_slot, &moved);
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
