/* Gradient buckets over comm_sum_start or comm_device_sum_start, or their likes for slices.
 *
 * A bucket is complete when as many elements as it has were reported: ranges never overlap, so a
 * count is enough.  Buckets are queued in their own order, from the end of the gradient: a bucket
 * that is complete early waits for those before it, so that ranks whose ranges come in different
 * orders still queue the same sums. */
#include "comm/buckets.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/files.h"
#include "core/flight.h"

struct bucket {
    int64_t offset, count;
    int64_t reported; /* elements of this step */
    struct comm_request *request;
};

struct comm_buckets {
    struct comm_group *group;
    struct comm_device *device; /* NULL: host memory */
    float *gradient;
    int64_t count;
    int64_t width; /* elements of every bucket but the one at the front, or where they are divided
                    * the one at the end */
    int64_t slice; /* of a divided bucket to a rank; 0: every rank gets all */
    struct bucket *buckets;
    int64_t bucket_count;
    int64_t queued; /* buckets [0, queued) are with the group */
};

/* Number of the bucket that holds the element before `end`. */
static int64_t bucket_of(const struct comm_buckets *buckets, int64_t end)
{
    if (buckets->slice > 0)
        return buckets->bucket_count - 1 - (end - 1) / buckets->width;
    return (buckets->count - end) / buckets->width;
}

/* Cut the gradient; `width` and `slice` are set. */
static ls_status cut(struct comm_buckets *buckets)
{
    ls_status st = LS_OK;
    int64_t width = buckets->width;
    int64_t end = buckets->count;
    buckets->bucket_count = (buckets->count + width - 1) / width;
    LS_TRY(core_alloc(&buckets->buckets, buckets->bucket_count));
    for (int64_t i = 0; i < buckets->bucket_count; i++) {
        struct bucket *bucket = &buckets->buckets[i];
        int64_t over = buckets->slice > 0 && end % width != 0 ? end % width : width;
        bucket->offset = end > over ? end - over : 0;
        bucket->count = end - bucket->offset;
        end = bucket->offset;
    }
done:
    return st;
}

static ls_status open_buckets(struct comm_buckets **out, const struct comm_buckets *wanted)
{
    ls_status st = LS_OK;
    struct comm_buckets *buckets = NULL;
    LS_TRY(core_alloc(&buckets, 1));
    *buckets = *wanted;
    LS_TRY(cut(buckets));
    *out = buckets;
    buckets = NULL;
done:
    comm_buckets_close(&buckets);
    return st;
}

ls_status comm_buckets_open(struct comm_buckets **out, struct comm_group *group,
                            struct comm_device *device, float *gradient, int64_t count,
                            int64_t bucket_bytes)
{
    int64_t width = bucket_bytes / (int64_t)sizeof *gradient;
    if (count < 1 || width < 1)
        return LS_FAIL(LS_USAGE, "buckets of %" PRId64 " bytes for %" PRId64 " elements",
                       bucket_bytes, count);
    return open_buckets(out, &(struct comm_buckets){.group = group,
                                                    .device = device,
                                                    .gradient = gradient,
                                                    .count = count,
                                                    .width = width});
}

ls_status comm_buckets_open_divided(struct comm_buckets **out, struct comm_group *group,
                                    struct comm_device *device, float *gradient,
                                    const struct division *division)
{
    if (division->count < 1 || division->slice < 1 || division->ranks != comm_size(group))
        return LS_FAIL(LS_USAGE, "a space of %" PRId64 " elements divided over %d of %d ranks",
                       division->count, division->ranks, comm_size(group));
    return open_buckets(out, &(struct comm_buckets){.group = group,
                                                    .device = device,
                                                    .gradient = gradient,
                                                    .count = division->count,
                                                    .width = division_width(division),
                                                    .slice = division->slice});
}

void comm_buckets_close(struct comm_buckets **buckets)
{
    if (*buckets == NULL)
        return;
    free((*buckets)->buckets);
    free(*buckets);
    *buckets = NULL;
}

int64_t comm_buckets_count(const struct comm_buckets *buckets)
{
    return buckets->bucket_count;
}

void comm_buckets_begin(struct comm_buckets *buckets)
{
    for (int64_t i = 0; i < buckets->bucket_count; i++)
        buckets->buckets[i].reported = 0;
    buckets->queued = 0;
}

static ls_status start_sum(struct comm_buckets *buckets, struct bucket *bucket)
{
    float *data = buckets->gradient + bucket->offset;
    bool divided = buckets->slice > 0;
    if (buckets->device != NULL)
        return divided ? comm_device_sum_slices_start(buckets->device, data, buckets->slice)
                       : comm_device_sum_start(buckets->device, data, bucket->count);
    return divided ? comm_sum_slices_start(buckets->group, &bucket->request, data, bucket->count,
                                           buckets->slice)
                   : comm_sum_start(buckets->group, &bucket->request, data, bucket->count);
}

static ls_status queue_complete(struct comm_buckets *buckets)
{
    ls_status st = LS_OK;
    while (buckets->queued < buckets->bucket_count) {
        struct bucket *bucket = &buckets->buckets[buckets->queued];
        if (bucket->reported < bucket->count)
            break;
        flight_bucket(buckets->queued);
        LS_TRY(start_sum(buckets, bucket));
        buckets->queued++;
    }
done:
    return st;
}

ls_status comm_buckets_ready(struct comm_buckets *buckets, int64_t offset, int64_t count)
{
    if (offset < 0 || count < 0 || offset > buckets->count - count)
        return LS_FAIL(LS_USAGE,
                       "range [%" PRId64 ", +%" PRId64 ") is outside of a gradient of %" PRId64,
                       offset, count, buckets->count);
    int64_t end = offset + count;
    while (end > offset) {
        struct bucket *bucket = &buckets->buckets[bucket_of(buckets, end)];
        int64_t begin = bucket->offset > offset ? bucket->offset : offset;
        bucket->reported += end - begin;
        if (bucket->reported > bucket->count)
            return LS_FAIL(LS_USAGE,
                           "gradient elements [%" PRId64 ", +%" PRId64 ") were reported twice",
                           begin, end - begin);
        end = begin;
    }
    return queue_complete(buckets);
}

ls_status comm_buckets_wait(struct comm_buckets *buckets)
{
    ls_status st = LS_OK;
    if (buckets->queued < buckets->bucket_count) {
        const struct bucket *bucket = &buckets->buckets[buckets->queued];
        st = LS_FAIL(LS_USAGE,
                     "only %" PRId64 " of %" PRId64 " gradient elements from %" PRId64
                     " on were reported",
                     bucket->reported, bucket->count, bucket->offset);
        goto done;
    }
    if (buckets->device != NULL)
        return comm_device_wait(buckets->device);
    for (int64_t i = 0; i < buckets->bucket_count; i++)
        LS_TRY(comm_wait(buckets->group, &buckets->buckets[i].request));
done:
    return st;
}
