/* Everything follows from the slice: the bucket of element e is e / (ranks * slice), its rank
 * (e / slice) % ranks. */
#include "core/division.h"

static int64_t ceiling(int64_t count, int64_t each)
{
    return count / each + (count % each != 0);
}

struct division division_make(int64_t count, int64_t bucket_elements, int ranks)
{
    struct division division = {.count = count, .ranks = ranks < 1 ? 1 : ranks};
    const int64_t blocks = ceiling(count, DIVISION_BLOCK);
    const int64_t least = division.ranks;
    int64_t wanted = bucket_elements / DIVISION_BLOCK;
    wanted = wanted < least ? least : wanted;
    /* As many buckets as were asked for, all alike: else the first ranks would have a slice more.
     */
    const int64_t buckets = ceiling(blocks, wanted);
    const int64_t slices = (buckets < 1 ? 1 : buckets) * division.ranks;
    const int64_t slice = ceiling(blocks, slices);
    division.slice = (slice < 1 ? 1 : slice) * DIVISION_BLOCK;
    return division;
}

int64_t division_width(const struct division *division)
{
    return division->slice * division->ranks;
}

int64_t division_buckets(const struct division *division, int64_t total)
{
    return ceiling(total, division_width(division));
}

int64_t division_padded(const struct division *division, int64_t total)
{
    return division_buckets(division, total) * division_width(division);
}

int64_t division_part(int64_t *offset, const struct division *division, int64_t bucket, int rank,
                      int64_t total)
{
    const int64_t first = bucket * division_width(division) + rank * division->slice;
    const int64_t left = total - first;
    *offset = left > 0 ? first : total;
    if (left <= 0)
        return 0;
    return left < division->slice ? left : division->slice;
}

int64_t division_share(const struct division *division, int rank, int64_t total)
{
    const int64_t width = division_width(division);
    int64_t offset = 0;
    const int64_t whole = total / width;
    return whole * division->slice + division_part(&offset, division, whole, rank, total);
}
