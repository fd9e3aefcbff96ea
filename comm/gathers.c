/* Gathers over comm_gather_start or comm_device_gather_start.  On the host a bucket's request says
 * whether it is under way; between cards its mark does, and `newest` is the one to wait for. */
#include "comm/gathers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/files.h"
#include "core/flight.h"

struct comm_gathers {
    struct comm_gathers_options options;
    int64_t count;
    struct comm_request **requests; /* [count] */
    int64_t newest;                 /* bucket that was started last; -1: all is done */
};

ls_status comm_gathers_open(struct comm_gathers **out, const struct comm_gathers_options *options)
{
    ls_status st = LS_OK;
    struct comm_gathers *gathers = NULL;
    LS_TRY(core_alloc(&gathers, 1));
    gathers->options = *options;
    gathers->count = division_buckets(&options->division, options->total);
    gathers->newest = -1;
    LS_TRY(core_alloc_bytes((void **)&gathers->requests, (size_t)gathers->count,
                            sizeof(struct comm_request *)));
    *out = gathers;
    gathers = NULL;
done:
    comm_gathers_close(&gathers);
    return st;
}

void comm_gathers_close(struct comm_gathers **gathers)
{
    if (*gathers == NULL)
        return;
    free((void *)(*gathers)->requests);
    free(*gathers);
    *gathers = NULL;
}

int64_t comm_gathers_count(const struct comm_gathers *gathers)
{
    return gathers->count;
}

ls_status comm_gathers_start(struct comm_gathers *gathers, int64_t bucket)
{
    ls_status st = LS_OK;
    const struct comm_gathers_options *o = &gathers->options;
    int64_t width = division_width(&o->division);
    int64_t slice = o->division.slice * o->element_bytes;
    char *data = (char *)o->data + bucket * width * o->element_bytes;
    if (bucket < 0 || bucket >= gathers->count || gathers->requests[bucket] != NULL)
        return LS_FAIL(LS_USAGE, "bucket %" PRId64 " of %" PRId64 " to gather", bucket,
                       gathers->count);
    flight_bucket(bucket);
    if (o->device != NULL) {
        LS_TRY(comm_device_gather_start(o->device, data, slice));
        LS_TRY(comm_device_mark(o->device, o->first_mark + bucket));
    } else {
        int64_t left = o->total - bucket * width;
        LS_TRY(comm_gather_start(o->group, &gathers->requests[bucket], data,
                                 (left < width ? left : width) * o->element_bytes, slice));
    }
    gathers->newest = bucket;
done:
    return st;
}

ls_status comm_gathers_reach(struct comm_gathers *gathers, int64_t bucket)
{
    const struct comm_gathers_options *o = &gathers->options;
    if (gathers->newest < 0 || bucket >= gathers->count)
        return LS_OK;
    return o->device != NULL ? comm_device_order(o->device, o->first_mark + bucket)
                             : comm_wait(o->group, &gathers->requests[bucket]);
}

ls_status comm_gathers_wait(struct comm_gathers *gathers)
{
    ls_status st = LS_OK;
    const struct comm_gathers_options *o = &gathers->options;
    if (gathers->newest < 0)
        return LS_OK;
    if (o->device != NULL)
        LS_TRY(comm_device_reach(o->device, o->first_mark + gathers->newest));
    for (int64_t b = 0; o->device == NULL && b < gathers->count; b++)
        LS_TRY(comm_wait(o->group, &gathers->requests[b]));
    gathers->newest = -1;
done:
    return st;
}
