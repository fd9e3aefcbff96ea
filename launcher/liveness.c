/* The clock is this process's own: when it was stopped itself (Ctrl-Z, a suspended machine) nobody
 * is blamed for what it did not hear. */
#include "launcher/liveness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"

enum { BEAT_LONGEST_S = 10, BEATS_IN_SILENCE = 4 };

static const double OWN_PAUSE_S = 5; /* between two looks */

struct heard {
    struct flight_place place;
    double at_s; /* of the last beat */
};

struct liveness {
    struct liveness_options options;
    struct heard *heard;         /* [workers] */
    struct flight_place *places; /* [workers], when they were lost */
    double opened_s, looked_s;
    bool lost;
    char node[FLIGHT_HOST_BYTES];
};

ls_status liveness_open(struct liveness **out, const struct liveness_options *options)
{
    ls_status st = LS_OK;
    struct liveness *liveness = NULL;
    LS_TRY(core_alloc(&liveness, 1));
    liveness->options = *options;
    LS_TRY(core_alloc(&liveness->heard, options->workers));
    LS_TRY(core_alloc(&liveness->places, options->workers));
    liveness->opened_s = liveness->looked_s = clock_now_s();
    *out = liveness;
    liveness = NULL;
done:
    liveness_close(&liveness);
    return st;
}

void liveness_close(struct liveness **liveness)
{
    if (*liveness == NULL)
        return;
    free((*liveness)->heard);
    free((*liveness)->places);
    free(*liveness);
    *liveness = NULL;
}

int64_t liveness_beat_s(const struct liveness *liveness)
{
    double seconds = liveness->options.silence_s / BEATS_IN_SILENCE;
    return seconds > BEAT_LONGEST_S ? BEAT_LONGEST_S : seconds < 1 ? 1 : (int64_t)seconds;
}

bool liveness_take(struct liveness *liveness, const char *line)
{
    struct flight_place place;
    size_t prefix = strlen(FLIGHT_BEAT);
    if (strncmp(line, FLIGHT_BEAT, prefix) != 0)
        return false;
    if (flight_parse(&place, line + prefix) && place.rank < liveness->options.workers)
        liveness->heard[place.rank] = (struct heard){.place = place, .at_s = clock_now_s()};
    return true;
}

/* Places as they are now: who was heard lately spoke. */
static void note_places(struct liveness *liveness, double now_s)
{
    int lost = 0;
    double news_s = fmin(2 * (double)liveness_beat_s(liveness), liveness->options.silence_s);
    for (int r = 0; r < liveness->options.workers; r++) {
        struct heard *heard = &liveness->heard[r];
        double silent_s = now_s - heard->at_s;
        liveness->places[r] = heard->place;
        if (!heard->place.known || silent_s > news_s) {
            liveness->places[r].silent_s = silent_s;
            const char *host = heard->place.host;
            if (lost++ == 0)
                (void)snprintf(liveness->node, sizeof liveness->node, "%s", host);
            else if (strcmp(liveness->node, host) != 0)
                liveness->node[0] = '\0';
        }
    }
    /* All of them: it is not one node's fault. */
    if (lost == liveness->options.workers)
        liveness->node[0] = '\0';
}

bool liveness_lost(struct liveness *liveness)
{
    double now_s = clock_now_s();
    double pause_s = now_s - liveness->looked_s;
    bool lost = false;
    liveness->looked_s = now_s;
    if (pause_s > OWN_PAUSE_S)
        liveness->opened_s += pause_s;
    for (int r = 0; r < liveness->options.workers; r++) {
        struct heard *heard = &liveness->heard[r];
        if (pause_s > OWN_PAUSE_S && heard->place.known)
            heard->at_s = now_s;
        double limit_s =
            heard->place.known ? liveness->options.silence_s : liveness->options.start_s;
        double since_s = heard->place.known ? heard->at_s : liveness->opened_s;
        lost = lost || now_s - since_s > limit_s;
    }
    if (!lost || liveness->lost)
        return false;
    liveness->lost = true;
    note_places(liveness, now_s);
    return true;
}

ls_status liveness_failure(const struct liveness *liveness)
{
    int silent = 0;
    int first = -1;
    if (!liveness->lost)
        return LS_OK;
    for (int r = 0; r < liveness->options.workers; r++)
        if (!liveness->places[r].known || liveness->places[r].silent_s > 0) {
            silent++;
            first = first < 0 ? r : first;
        }
    const struct flight_place *place = &liveness->places[first < 0 ? 0 : first];
    if (!place->known && silent == liveness->options.workers)
        return LS_FAIL(LS_TIMEOUT, "no worker has come up within %g s of the start",
                       liveness->options.start_s);
    if (!place->known)
        return LS_FAIL(LS_TIMEOUT,
                       "rank %d%s has not started within %g s (lockstep.start_timeout_s)", first,
                       silent > 1 ? " (and others)" : "", liveness->options.start_s);
    if (silent == liveness->options.workers)
        return LS_FAIL(LS_TIMEOUT,
                       "nothing was heard of any worker for %g s: they or their "
                       "starter were stopped",
                       liveness->options.silence_s);
    return LS_FAIL(LS_TIMEOUT,
                   "nothing was heard of rank %d on node %s%s for %g s: it was stopped, or its "
                   "node was",
                   first, place->host, silent > 1 ? " (and others)" : "",
                   liveness->options.silence_s);
}

void liveness_explain(const struct liveness *liveness, char *out, size_t bytes, const char *run,
                      int64_t run_epoch)
{
    int workers = liveness->options.workers;
    struct flight_place *places = NULL;
    bool records = false;
    out[0] = '\0';
    if (core_alloc(&places, workers) != LS_OK) {
        status_clear();
        return;
    }
    double now_s = clock_now_s();
    for (int r = 0; r < workers; r++) {
        const struct heard *heard = &liveness->heard[r];
        if (flight_read(&places[r], run, run_epoch, r)) {
            records = true;
            continue;
        }
        places[r] = heard->place;
        places[r].silent_s = now_s - heard->at_s;
    }
    if (records || liveness->lost)
        flight_explain(out, bytes, liveness->lost ? liveness->places : places, workers);
    free(places);
}

const char *liveness_lost_node(const struct liveness *liveness)
{
    return liveness->lost ? liveness->node : "";
}
