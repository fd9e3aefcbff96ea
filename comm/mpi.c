/* The group: joining and leaving the MPI job.  MPI_Init and MPI_Finalize run on the main thread, as
 * MPI demands; everything between is the progress thread's (progress.c). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/internal.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"

enum { ABORT_GRACE_MS = 2000 };

ls_status comm_check_mpi(int code, const char *what)
{
    if (code == MPI_SUCCESS)
        return LS_OK;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
        (void)snprintf(text, sizeof text, "unknown error");
    return LS_FAIL(LS_COMM, "MPI cannot %s: %s (code %d)", what, text, code);
}

static ls_status join_job(struct comm_group *group)
{
    ls_status st = LS_OK;
    MPI_Comm node = MPI_COMM_NULL;
    int provided = 0;
    /* A process that mpirun did not start would look for an orted and for ssh: not needed for one.
     */
    if (setenv("OMPI_MCA_ess_singleton_isolated", "1", 0) != 0)
        return LS_FAIL(LS_NOMEM, "out of memory for the environment");
    LS_TRY(comm_check_mpi(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided), "start"));
    LS_TRY(comm_check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                          "return errors"));
    if (provided < MPI_THREAD_SERIALIZED) {
        st = LS_FAIL(LS_COMM, "this MPI library allows calls from the main thread only "
                              "(MPI_THREAD_SERIALIZED is needed)");
        goto done;
    }
    LS_TRY(comm_check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &group->communicator), "make a group"));
    LS_TRY(comm_check_mpi(MPI_Comm_set_errhandler(group->communicator, MPI_ERRORS_RETURN),
                          "return errors"));
    LS_TRY(comm_check_mpi(MPI_Comm_rank(group->communicator, &group->rank), "tell the rank"));
    LS_TRY(comm_check_mpi(MPI_Comm_size(group->communicator, &group->size), "tell the size"));
    LS_TRY(comm_check_mpi(MPI_Comm_split_type(group->communicator, MPI_COMM_TYPE_SHARED,
                                              group->rank, MPI_INFO_NULL, &node),
                          "group ranks by node"));
    LS_TRY(comm_check_mpi(MPI_Comm_rank(node, &group->local_rank), "tell the local rank"));
    LS_TRY(comm_check_mpi(MPI_Comm_size(node, &group->local_size), "tell the local size"));
    LS_TRY(comm_check_mpi(MPI_Comm_free(&node), "free a group"));
done:
    return st;
}

static ls_status open_slot(struct comm_slot *slot, int size, bool sums)
{
    ls_status st = LS_OK;
    size_t peers = (size_t)size - 1;
    if (peers == 0)
        return LS_OK;
    LS_TRY(core_alloc_bytes((void **)&slot->requests, 2 * peers, sizeof(MPI_Request)));
    LS_TRY(core_alloc(&slot->peers, 2 * peers));
    if (sums) {
        int64_t first = 0;
        LS_TRY(core_alloc(&slot->received,
                          peers * (size_t)comm_slice(&first, COMM_PIECE_ELEMENTS, 0, size)));
    }
done:
    return st;
}

static void close_slot(struct comm_slot *slot)
{
    free(slot->requests);
    free(slot->peers);
    free(slot->received);
}

static ls_status open_locks(struct comm_group *group)
{
    ls_status st = LS_OK;
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0)
        return LS_FAIL(LS_NOMEM, "out of memory for a lock");
    if (pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0) {
        st = LS_FAIL(LS_FAILED, "this system has no monotonic clock for condition variables");
        goto done;
    }
    group->mutex_ready = pthread_mutex_init(&group->mutex, NULL) == 0;
    group->wake_ready = pthread_cond_init(&group->wake, &monotonic) == 0;
    group->done_ready = pthread_cond_init(&group->done, &monotonic) == 0;
    if (!group->mutex_ready || !group->wake_ready || !group->done_ready)
        st = LS_FAIL(LS_NOMEM, "out of memory for a lock");
done:
    (void)pthread_condattr_destroy(&monotonic);
    return st;
}

static ls_status start_thread(struct comm_group *group)
{
    /* Signals are for the main thread: it must wake from its waits. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return LS_FAIL(LS_FAILED, "cannot block signals");
    int code = pthread_create(&group->thread, NULL, comm_progress_run, group);
    if (pthread_sigmask(SIG_SETMASK, &before, NULL) != 0)
        code = code != 0 ? code : EXIT_FAILURE;
    if (code != 0)
        return LS_FAIL(LS_NOMEM, "cannot start the thread that makes MPI progress");
    group->thread_started = true;
    return LS_OK;
}

static void free_group(struct comm_group *group)
{
    while (group->allocated != NULL) {
        struct comm_request *before = group->allocated->allocated_before;
        free(group->allocated->staging);
        free(group->allocated);
        group->allocated = before;
    }
    for (int i = 0; i < COMM_SUM_SLOTS; i++)
        close_slot(&group->sum_slots[i]);
    close_slot(&group->other_slot);
    if (group->mutex_ready)
        (void)pthread_mutex_destroy(&group->mutex);
    if (group->wake_ready)
        (void)pthread_cond_destroy(&group->wake);
    if (group->done_ready)
        (void)pthread_cond_destroy(&group->done);
    free(group->missing);
    free(group->broken_text);
    free(group);
}

ls_status comm_open(struct comm_group **out, const struct comm_options *options)
{
    ls_status st = LS_OK;
    struct comm_group *group = NULL;
    LS_TRY(core_alloc(&group, 1));
    group->abort_code = -1;
    comm_set_timeout(group, options->timeout_s);
    LS_TRY(core_alloc(&group->missing, COMM_TEXT_BYTES));
    LS_TRY(core_alloc(&group->broken_text, COMM_TEXT_BYTES));
    LS_TRY(open_locks(group));
    flight_collective("MPI_Init", 0, 0);
    flight_waits(true);
    LS_TRY(join_job(group));
    flight_waits(false);
    for (int i = 0; i < COMM_SUM_SLOTS; i++)
        LS_TRY(open_slot(&group->sum_slots[i], group->size, true));
    LS_TRY(open_slot(&group->other_slot, group->size, false));
    LS_TRY(start_thread(group));
    *out = group;
    group = NULL;
done:
    if (group != NULL)
        free_group(group);
    return st;
}

static void stop_thread(struct comm_group *group)
{
    (void)pthread_mutex_lock(&group->mutex);
    group->stop = true;
    (void)pthread_cond_signal(&group->wake);
    (void)pthread_mutex_unlock(&group->mutex);
    (void)pthread_join(group->thread, NULL);
}

void comm_close(struct comm_group **group)
{
    if (*group == NULL)
        return;
    /* MPI_Finalize has no deadline, the barrier does: nobody enters the former before all came. */
    if (comm_barrier(*group) == LS_OK) {
        stop_thread(*group);
        (void)MPI_Comm_free(&(*group)->communicator);
        (void)MPI_Finalize();
        free_group(*group);
    }
    *group = NULL;
}

_Noreturn void comm_abort(struct comm_group *group, int exit_code)
{
    if (group != NULL && group->thread_started && group->size > 1) {
        (void)pthread_mutex_lock(&group->mutex);
        group->abort_code = exit_code;
        (void)pthread_cond_signal(&group->wake);
        (void)pthread_mutex_unlock(&group->mutex);
        /* The thread may be stuck inside MPI.  mpirun then ends the job because a process left
         * without MPI_Finalize (measured: 3 s). */
        clock_sleep_s(ABORT_GRACE_MS / 1e3);
    }
    _exit(exit_code);
}

int comm_rank(const struct comm_group *group)
{
    return group->rank;
}

int comm_size(const struct comm_group *group)
{
    return group->size;
}

int comm_local_rank(const struct comm_group *group)
{
    return group->local_rank;
}

int comm_local_size(const struct comm_group *group)
{
    return group->local_size;
}

bool comm_is_broken(struct comm_group *group)
{
    (void)pthread_mutex_lock(&group->mutex);
    bool broken = group->broken != LS_OK;
    (void)pthread_mutex_unlock(&group->mutex);
    return broken;
}

void comm_set_timeout(struct comm_group *group, double timeout_s)
{
    group->timeout_s = timeout_s > 0 ? timeout_s : 600.0;
}
