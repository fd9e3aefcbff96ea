/* What the files of the group that meets in a file share (BUNDLE=1). */
#ifndef LOCKSTEP_COMM_MEETING_H
#define LOCKSTEP_COMM_MEETING_H

#include "comm/comm.h"

enum { MEETING_TEXT_BYTES = 512 };

/* The first three are bulk, and are counted. */
enum meeting_kind {
    MEETING_SUM,
    MEETING_SUM_SLICES,
    MEETING_GATHER,
    MEETING_EXCHANGE,
    MEETING_SUM_F64,
    MEETING_BROADCAST,
    MEETING_BARRIER
};
struct comm_group {
    int rank, size;
    double timeout_s;
    char *path; /* of the file; NULL when alone */
    struct meeting *meeting;
    size_t meeting_bytes;
    int64_t number; /* of pieces so far */
    ls_status broken;
    char broken_text[MEETING_TEXT_BYTES];
    struct comm_counters counters;
};

/* One collective under way: what is done with each rank's pieces, in rank order. */
struct meeting_work {
    enum meeting_kind kind;
    const char *mine; /* what this rank brings, and its bytes */
    int64_t bytes;
    int64_t longest; /* bytes that any rank brings: as many pieces as these need */
    void (*take)(const struct meeting_work *work, int rank, const char *piece, int64_t offset,
                 int64_t bytes);
    void *to;
    int64_t each; /* gather: bytes of a rank; sum of slices: elements; broadcast: the root */
    int own;      /* sum of slices: this rank */
};

/* The collective, to its end.  Collective over group.  Errors: LS_TIMEOUT naming who did not come;
 * LS_COMM: a rank left, or has another collective; the failure of a broken group. */
ls_status meeting_run(struct comm_group *group, const struct meeting_work *work) LS_MUST_CHECK;

/* Why a group is broken; LS_OK.  Local. */
ls_status meeting_state(const struct comm_group *group) LS_MUST_CHECK;

/* Static. */
const char *meeting_kind_name(enum meeting_kind kind);

#endif
