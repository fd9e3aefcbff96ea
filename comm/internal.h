/* What the files of comm/ share: the group, its requests and the pieces in flight. */
#ifndef LOCKSTEP_COMM_INTERNAL_H
#define LOCKSTEP_COMM_INTERNAL_H

#include <mpi.h>
#include <pthread.h>
#include <stdbool.h>

#include "comm/comm.h"

enum {
    COMM_SUM_SLOTS = 4,            /* pieces of sums in flight */
    COMM_PIECE_ELEMENTS = 1 << 20, /* of a piece of a sum; 4 MiB */
    COMM_TEXT_BYTES = 512
};

/* The first three are bulk: they work in the caller's memory, in pieces, in one queue. */
enum comm_kind {
    COMM_SUM,
    COMM_SUM_SLICES,
    COMM_GATHER,
    COMM_EXCHANGE,
    COMM_BROADCAST,
    COMM_KINDS
};

/* A queued collective.  The caller fills it; after it is queued only the progress thread writes to
 * it, until `done`. */
struct comm_request {
    struct comm_request *next;             /* in a queue or in the free list */
    struct comm_request *allocated_before; /* all of a group, for its end */
    enum comm_kind kind;
    int64_t sequence; /* number of this collective in its queue */
    void *data;       /* a bulk request's elements */
    int64_t count;
    int64_t slice; /* elements that are one rank's; 0: every piece is dealt out anew */
    char *staging; /* other kinds work on a copy: a caller that gave up may leave its memory */
    size_t staging_bytes;
    size_t bytes; /* of a rank's contribution */
    int root;
    int64_t pieces, pieces_started, pieces_done;
    bool done; /* guarded by the group's mutex */
};

struct comm_queue { /* requests whose pieces are not all started, in order */
    struct comm_request *first, *last;
    int64_t sequence;
};

/* A piece in flight; private to the progress thread.  `requests` has the receives first. */
struct comm_slot {
    struct comm_request *request; /* NULL: the slot is free */
    int tag;
    int phase;
    int64_t offset, count; /* a bulk piece: of the data, or of every rank's slice */
    float *received;       /* a sum's receive buffer */
    MPI_Request *requests; /* [2 * (size - 1)] */
    int *peers;            /* of each request */
    int receives, total;
};

struct comm_group {
    int rank, size, local_rank, local_size;
    double timeout_s;
    MPI_Comm communicator;
    pthread_t thread;
    bool thread_started, mutex_ready, wake_ready, done_ready;

    pthread_mutex_t mutex;
    pthread_cond_t wake; /* work for the progress thread */
    pthread_cond_t done; /* a request is done, or an explanation is there */
    struct comm_queue sums, others;
    struct comm_request *free_requests, *allocated;
    int waiters;
    bool stop;
    int abort_code;      /* -1: none */
    bool explain;        /* a waiter asks who is missing */
    char *missing;       /* [COMM_TEXT_BYTES] the answer, "nothing from rank 1, 3" */
    ls_status broken;    /* first failure */
    char *broken_text;   /* [COMM_TEXT_BYTES] */
    int sums_unfinished; /* for the counters */
    double busy_since_s, busy_s;
    int64_t busy_bytes;

    /* Private to the progress thread. */
    struct comm_slot sum_slots[COMM_SUM_SLOTS];
    struct comm_slot other_slot;
    int64_t sum_pieces, other_pieces; /* started: the source of tags */
};

/* Translate an MPI code; LS_OK for MPI_SUCCESS.  `what` is the call in words.  Local. */
ls_status comm_check_mpi(int code, const char *what) LS_MUST_CHECK;

/* Start pieces of what is queued, where a slot is free, and look at one slot; `*moved` is set when
 * something happened.  By the progress thread.  Errors: LS_COMM. */
ls_status comm_pieces_start(struct comm_group *group, bool *moved) LS_MUST_CHECK;
ls_status comm_piece_advance(struct comm_group *group, struct comm_slot *slot,
                             bool *moved) LS_MUST_CHECK;

/* Body of the progress thread; `argument` is the group. */
void *comm_progress_run(void *argument);

/* Elements of `count` that rank `rank` adds up in a piece: [*first, *first + return value).  Local.
 */
int64_t comm_slice(int64_t *first, int64_t count, int rank, int size);

/* Whether it is one of the bulk kinds; bytes of its elements.  Local. */
bool comm_is_bulk(enum comm_kind kind);
size_t comm_element_bytes(enum comm_kind kind);

/* Elements of a piece of a bulk request (internal.h): of its data, or with slices of every rank's
 * slice.  Local. */
int64_t comm_piece_elements(const struct comm_request *request, int size);

/* Name of a kind of collective, static. */
const char *comm_kind_name(enum comm_kind kind);

/* Bytes of a request as reported. */
int64_t comm_request_bytes(const struct comm_request *request);

#endif
