/* Order of what is queued, the same on all ranks: the vectors, which the first layers of both
 * encoders read; the EMA, since the target pass comes first; the weights.  `next` says how far the
 * model has taken each of them. */
#include "worker/spread.h"

#include <stdlib.h>

#include "comm/gathers.h"
#include "core/files.h"

enum { VECTORS_MARK, FIRST_MARK };

struct spread {
    struct spread_options options;
    struct comm_gathers *gathers[JEPA_COPIES];
    int64_t next[JEPA_COPIES]; /* bucket that is taken next; none is under way from the last on */
    struct comm_request *vectors;
    bool vectors_due; /* summed, or being summed, and not taken yet */
};

int64_t spread_marks(const struct division *division)
{
    return FIRST_MARK + JEPA_COPIES * division_buckets(division, division->count);
}

static ls_status take_vectors(struct spread *spread)
{
    ls_status st = LS_OK;
    if (!spread->vectors_due)
        return LS_OK;
    spread->vectors_due = false;
    if (spread->options.device != NULL)
        LS_TRY(comm_device_order(spread->options.device, VECTORS_MARK));
    else
        LS_TRY(comm_wait(spread->options.group, &spread->vectors));
    LS_TRY(jepa_vectors_take(spread->options.jepa));
done:
    return st;
}

/* Take the buckets of a copy that hold what lies before element `end`. */
static ls_status take_copy(struct spread *spread, enum jepa_copy which, int64_t end)
{
    ls_status st = LS_OK;
    struct comm_gathers *gathers = spread->gathers[which];
    const struct division *division = &spread->options.division;
    int64_t buckets = comm_gathers_count(gathers);
    if (end < division->count && division_buckets(division, end) < buckets)
        buckets = division_buckets(division, end);
    for (; spread->next[which] < buckets; spread->next[which]++) {
        LS_TRY(comm_gathers_reach(gathers, spread->next[which]));
        LS_TRY(jepa_copy_take(spread->options.jepa, which, spread->next[which]));
    }
done:
    return st;
}

/* The model's demand.  Where the EMA is not sent it moves with the weights. */
static ls_status answer(void *context, enum jepa_copy which, int64_t end)
{
    ls_status st = LS_OK;
    struct spread *spread = context;
    bool ema = which == JEPA_COPY_EMA;
    if (ema && !jepa_gathers_ema(spread->options.jepa)) {
        which = JEPA_COPY_WEIGHTS;
        const int64_t encoder = jepa_parameters(spread->options.jepa)->encoder_count;
        end = end < encoder ? end : encoder;
    }
    LS_TRY(take_vectors(spread));
    LS_TRY(take_copy(spread, which, end));
done:
    return st;
}

ls_status spread_open(struct spread **out, const struct spread_options *options)
{
    ls_status st = LS_OK;
    struct spread *spread = NULL;
    int64_t mark = FIRST_MARK;
    LS_TRY(core_alloc(&spread, 1));
    spread->options = *options;
    for (int c = 0; c < JEPA_COPIES; c++) {
        struct jepa_copy_place place = jepa_copy_place(options->jepa, (enum jepa_copy)c);
        LS_TRY(comm_gathers_open(&spread->gathers[c], &(struct comm_gathers_options){
                                                          .group = options->group,
                                                          .device = options->device,
                                                          .first_mark = mark,
                                                          .data = place.data,
                                                          .total = place.total,
                                                          .element_bytes = place.element_bytes,
                                                          .division = options->division}));
        spread->next[c] = comm_gathers_count(spread->gathers[c]);
        mark += spread->next[c];
    }
    jepa_set_demand(options->jepa, answer, spread);
    *out = spread;
    spread = NULL;
done:
    spread_close(&spread);
    return st;
}

void spread_close(struct spread **spread)
{
    if (*spread == NULL)
        return;
    for (int c = 0; c < JEPA_COPIES; c++)
        comm_gathers_close(&(*spread)->gathers[c]);
    free(*spread);
    *spread = NULL;
}

static ls_status start_vectors(struct spread *spread)
{
    ls_status st = LS_OK;
    int64_t count = 0;
    float *vectors = jepa_vectors(spread->options.jepa, &count);
    if (count == 0)
        return LS_OK;
    LS_TRY(jepa_vectors_bring(spread->options.jepa));
    if (spread->options.device != NULL) {
        LS_TRY(comm_device_sum_start(spread->options.device, vectors, count));
        LS_TRY(comm_device_mark(spread->options.device, VECTORS_MARK));
    } else {
        LS_TRY(comm_sum_start(spread->options.group, &spread->vectors, vectors, count));
    }
    spread->vectors_due = true;
done:
    return st;
}

static ls_status start_copy(struct spread *spread, enum jepa_copy which)
{
    ls_status st = LS_OK;
    struct comm_gathers *gathers = spread->gathers[which];
    spread->next[which] = 0;
    for (int64_t b = 0; b < comm_gathers_count(gathers); b++) {
        LS_TRY(jepa_copy_bring(spread->options.jepa, which, b));
        LS_TRY(comm_gathers_start(gathers, b));
    }
done:
    return st;
}

ls_status spread_start(struct spread *spread)
{
    ls_status st = LS_OK;
    LS_TRY(start_vectors(spread));
    if (jepa_gathers_ema(spread->options.jepa))
        LS_TRY(start_copy(spread, JEPA_COPY_EMA));
    LS_TRY(start_copy(spread, JEPA_COPY_WEIGHTS));
done:
    return st;
}

ls_status spread_settle(struct spread *spread)
{
    ls_status st = LS_OK;
    LS_TRY(take_vectors(spread));
    for (int c = 0; c < JEPA_COPIES; c++) {
        LS_TRY(take_copy(spread, (enum jepa_copy)c, INT64_MAX));
        LS_TRY(comm_gathers_wait(spread->gathers[c]));
    }
done:
    return st;
}

ls_status spread_all(struct spread *spread)
{
    ls_status st = LS_OK;
    LS_TRY(start_vectors(spread));
    /* One after the other: their copies on the host may share memory. */
    LS_TRY(start_copy(spread, JEPA_COPY_EMA));
    LS_TRY(spread_settle(spread));
    LS_TRY(start_copy(spread, JEPA_COPY_WEIGHTS));
    LS_TRY(spread_settle(spread));
done:
    return st;
}
