/* The flight record: the last events of this rank, kept in a fixed ring, written when the run
 * fails.  Beside it the rank's place, which it also tells the launcher while it lives (a beat on
 * stderr).  From the places of all ranks the launcher says who did not arrive.
 *
 *     RUN/flight/EPOCH-RANK.json   {PLACE,"events":[[time_s,step,phase,kind,sequence,bucket,bytes],
 *                                  ...]}
 *     a beat                       lockstep-beat {PLACE}
 *
 * `sequence` (of its kind) and `kind` are of the newest collective that this rank entered,
 * `entered` counts them all: ranks enter the same ones in the same order. */
#ifndef LOCKSTEP_CORE_FLIGHT_H
#define LOCKSTEP_CORE_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum {
    FLIGHT_EVENTS = 512,
    FLIGHT_HOST_BYTES = 65,
    FLIGHT_NAME_BYTES = 16,
    FLIGHT_BEAT_BYTES = 512
};

#define FLIGHT_BEAT "lockstep-beat "

struct flight_place {
    int64_t step;
    int64_t entered, sequence;
    double stood_still_s; /* a pause of the whole process that ended just now; 0: none */
    double silent_s; /* filled by the launcher: since it was heard last; 0: it spoke at the end */
    int rank;
    bool known;
    bool waits;                    /* for that collective; else the rank does its own work */
    char phase[FLIGHT_NAME_BYTES]; /* start, load, data, compute, decide, reduce, update, save, end
                                    */
    char kind[FLIGHT_NAME_BYTES];
    char host[FLIGHT_HOST_BYTES];
};

/* Start recording for this rank; events before are kept.  `run` is borrowed.  Local, once. */
void flight_open(const char *run, int64_t run_epoch, int rank);

/* The rank goes on to `phase` (static text) of `step`.  Local, any thread. */
void flight_phase(const char *phase, int64_t step);

/* The next collective is of this gradient bucket.  Local, the thread that enters it. */
void flight_bucket(int64_t bucket);

/* The rank enters a collective.  `kind` is static text.  Local, any thread. */
void flight_collective(const char *kind, int64_t sequence, int64_t bytes);

/* The rank begins, or ends, to wait for its newest collective.  Local, any thread. */
void flight_waits(bool waits);

/* The process did not run for `seconds`.  Local, any thread. */
void flight_stood_still(double seconds);

/* Write the record; nothing is allocated on the heap.  Without flight_open nothing is written.
 * Local, any thread.  Errors: LS_IO. */
ls_status flight_write(void) LS_MUST_CHECK;

/* A beat, closed by a newline, into out[FLIGHT_BEAT_BYTES]; its length.  Local, any thread. */
size_t flight_beat(char *out);

/* The place that a record or the JSON of a beat tells; false (and nothing known) when it is not
 * one.  Local. */
bool flight_parse(struct flight_place *out, const char *json);

/* The place in a rank's record of that epoch; false where there is none.  Local. */
bool flight_read(struct flight_place *out, const char *run, int64_t run_epoch, int rank);

/* Who of places[size] (index: rank) did not arrive and what the others wait for, in one line, into
 * out[bytes]; "" when the places tell nothing.  Silent and unknown ranks did not arrive, where
 * others spoke; else those that stood still; else those that entered fewer collectives.  Local. */
void flight_explain(char *out, size_t bytes, const struct flight_place *places, int size);

#endif
