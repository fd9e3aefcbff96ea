/* Stateless draws of videos.  In a permuted epoch the position of a sample is counted, not stored:
 * micro-batch q = step * M + micro_batch of the run is the k-th of its group, and its samples stand
 * at k * B, k * B + 1, ... in the endless sequence of the group's epochs. */
#include "data/draw.h"

#include <math.h>
#include <stdlib.h>

#include "core/files.h"

struct entry {
    int group;
    int64_t videos;
    int64_t first;      /* where it starts in its group's sequence of videos */
    double chance;      /* weight within its group, summed up to and including this dataset */
    double *cumulative; /* [videos] video weights summed up; NULL: all alike */
};

struct group {
    int frames;
    int64_t videos;
    double chance; /* group weights summed up to and including this group */
    double weight; /* sum of its datasets' weights */
    int64_t later; /* videos of this group and those after it */
};

struct draw {
    struct entry *entries;
    struct group *groups;
    int count, group_count;
    bool replace; /* draw with replacement, by weights */
    uint64_t seed;
    int micro_batches, batch_size;
};

static bool has_video_weights(const struct draw_dataset *datasets, int count)
{
    for (int d = 0; d < count; d++)
        if (datasets[d].video_weights != NULL)
            return true;
    return false;
}

static ls_status sum_video_weights(struct entry *entry, const double *weights, int dataset)
{
    ls_status st = LS_OK;
    double sum = 0.0;
    LS_TRY(core_alloc(&entry->cumulative, entry->videos));
    for (int64_t v = 0; v < entry->videos; v++) {
        if (!(weights[v] >= 0.0) || isinf(weights[v])) {
            st = LS_FAIL(LS_USAGE, "data.datasets[%d]: video %lld has weight %g; weights are >= 0",
                         dataset, (long long)v, weights[v]);
            goto done;
        }
        sum += weights[v];
        entry->cumulative[v] = sum;
    }
    if (!(sum > 0.0) || isinf(sum))
        st = LS_FAIL(LS_USAGE, "data.datasets[%d]: the weights of its videos sum to %g", dataset,
                     sum);
done:
    return st;
}

static int find_group(struct draw *draw, int frames)
{
    int group = 0;
    while (group < draw->group_count && draw->groups[group].frames != frames)
        group++;
    if (group == draw->group_count) {
        draw->groups[group].frames = frames;
        draw->group_count++;
    }
    return group;
}

/* Sum the datasets up within their groups. */
static ls_status add_datasets(struct draw *draw, const struct draw_dataset *datasets, bool weighted)
{
    ls_status st = LS_OK;
    for (int d = 0; d < draw->count; d++) {
        struct entry *entry = &draw->entries[d];
        entry->group = find_group(draw, datasets[d].frames);
        entry->videos = datasets[d].videos;
        double weight = datasets[d].weight;
        if (datasets[d].video_weights != NULL && entry->videos > 0)
            LS_TRY(sum_video_weights(entry, datasets[d].video_weights, d));
        if (!weighted && entry->cumulative != NULL)
            weight = entry->cumulative[entry->videos - 1];
        else if (!weighted)
            weight = (double)entry->videos;
        if (!(weight >= 0.0) || isinf(weight) || (entry->videos == 0 && weight > 0.0)) {
            st = LS_FAIL(LS_USAGE, "data.datasets[%d]: weight %g for %lld videos", d, weight,
                         (long long)entry->videos);
            goto done;
        }
        struct group *group = &draw->groups[entry->group];
        entry->first = group->videos;
        group->videos += entry->videos;
        group->weight += weight;
        entry->chance = group->weight;
    }
done:
    return st;
}

/* Sum the groups up; a group that is never drawn stays, because its place is its mask token. */
static ls_status add_groups(struct draw *draw)
{
    double sum = 0.0;
    int64_t later = 0;
    for (int g = draw->group_count - 1; g >= 0; g--) {
        later += draw->groups[g].videos;
        draw->groups[g].later = later;
    }
    for (int g = 0; g < draw->group_count; g++) {
        sum += draw->groups[g].weight;
        draw->groups[g].chance = sum;
    }
    if (!(sum > 0.0) || isinf(sum))
        return LS_FAIL(LS_USAGE, "data.datasets: no videos to draw from");
    return LS_OK;
}

ls_status draw_open(struct draw **out, const struct draw_dataset *datasets, int count,
                    bool weighted, uint64_t seed, int micro_batches, int batch_size)
{
    ls_status st = LS_OK;
    struct draw *draw = NULL;
    LS_TRY(core_alloc(&draw, 1));
    LS_TRY(core_alloc(&draw->entries, count));
    LS_TRY(core_alloc(&draw->groups, count));
    draw->count = count;
    draw->replace = weighted || has_video_weights(datasets, count);
    draw->seed = seed;
    draw->micro_batches = micro_batches;
    draw->batch_size = batch_size;
    LS_TRY(add_datasets(draw, datasets, weighted));
    LS_TRY(add_groups(draw));
    *out = draw;
    draw = NULL;
done:
    draw_close(&draw);
    return st;
}

void draw_close(struct draw **draw)
{
    if (*draw == NULL)
        return;
    for (int d = 0; (*draw)->entries != NULL && d < (*draw)->count; d++)
        free((*draw)->entries[d].cumulative);
    free((*draw)->entries);
    free((*draw)->groups);
    free(*draw);
    *draw = NULL;
}

int draw_group_count(const struct draw *draw)
{
    return draw->group_count;
}

int draw_group_frames(const struct draw *draw, int group)
{
    return draw->groups[group].frames;
}

/* The group of micro-batch `*turn` of the run, and its number within the group into `*turn`.
 *
 * Of the turns 0 .. q-1 group 0 gets floor(q * videos / all videos), evenly spread; what it leaves
 * is numbered again and shared among the other groups in the same way. */
static int alternate(const struct draw *draw, int64_t *turn)
{
    int group = 0;
    for (; group + 1 < draw->group_count; group++) {
        const struct group *share = &draw->groups[group];
        __extension__ typedef unsigned __int128 wide;
        int64_t before = (int64_t)((wide)*turn * (wide)share->videos / (wide)share->later);
        int64_t after = (int64_t)(((wide)*turn + 1) * (wide)share->videos / (wide)share->later);
        if (after > before) {
            *turn = before;
            break;
        }
        *turn -= before;
    }
    return group;
}

static int64_t turn_of(const struct draw *draw, int64_t step, int micro_batch)
{
    return step * draw->micro_batches + micro_batch;
}

int draw_group(const struct draw *draw, int64_t step, int micro_batch)
{
    if (draw->group_count == 1)
        return 0;
    if (!draw->replace) {
        int64_t turn = turn_of(draw, step, micro_batch);
        return alternate(draw, &turn);
    }
    struct random_stream stream;
    random_open(&stream, draw->seed, RANDOM_GROUP, (uint64_t)step, (uint32_t)micro_batch, 0);
    double point = random_uniform(&stream, 0.0, draw->groups[draw->group_count - 1].chance);
    int chosen = 0;
    for (int g = 0; g < draw->group_count; g++) {
        if (!(draw->groups[g].weight > 0.0))
            continue;
        chosen = g;
        if (point < draw->groups[g].chance)
            break;
    }
    return chosen;
}

void draw_sample_open(struct draw_sample *out, const struct draw *draw, int64_t step,
                      int micro_batch, int sample)
{
    random_open(&out->stream, draw->seed, RANDOM_VIDEO, (uint64_t)step, (uint32_t)micro_batch,
                (uint32_t)sample);
    out->step = step;
    out->micro_batch = micro_batch;
    out->sample = sample;
    out->group = draw_group(draw, step, micro_batch);
    out->taken = 0;
}

/* First index whose sum is above `point`. */
static int64_t search(const double *cumulative, int64_t count, double point)
{
    int64_t low = 0;
    int64_t high = count - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (cumulative[middle] > point)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void draw_by_weight(int *dataset, int64_t *video, struct draw_sample *sample,
                           const struct draw *draw)
{
    double point = random_uniform(&sample->stream, 0.0, draw->groups[sample->group].weight);
    int chosen = -1;
    for (int d = 0; d < draw->count; d++) {
        const struct entry *entry = &draw->entries[d];
        if (entry->group != sample->group || entry->videos == 0)
            continue;
        chosen = d;
        if (point < entry->chance)
            break;
    }
    const struct entry *entry = &draw->entries[chosen];
    *dataset = chosen;
    if (entry->cumulative == NULL)
        *video = (int64_t)random_below(&sample->stream, (uint64_t)entry->videos);
    else
        *video = search(entry->cumulative, entry->videos,
                        random_uniform(&sample->stream, 0.0, entry->cumulative[entry->videos - 1]));
}

/* Place in the group's sequence of videos that a sample's first draw has. */
static int64_t permuted_place(const struct draw_sample *sample, const struct draw *draw)
{
    int64_t turn = turn_of(draw, sample->step, sample->micro_batch);
    uint64_t group = (uint64_t)alternate(draw, &turn);
    uint64_t videos = (uint64_t)draw->groups[group].videos;
    uint64_t position = (uint64_t)turn * (uint64_t)draw->batch_size + (uint64_t)sample->sample;
    uint64_t epoch = position / videos | group << 48;
    return (int64_t)random_permute(draw->seed, epoch, videos, position % videos);
}

void draw_sample_next(int *dataset, int64_t *video, struct draw_sample *sample,
                      const struct draw *draw)
{
    const int taken = sample->taken++;
    if (draw->replace) {
        draw_by_weight(dataset, video, sample, draw);
        return;
    }
    int64_t videos = draw->groups[sample->group].videos;
    int64_t place = taken == 0 ? permuted_place(sample, draw)
                               : (int64_t)random_below(&sample->stream, (uint64_t)videos);
    int d = 0;
    while (draw->entries[d].group != sample->group ||
           place >= draw->entries[d].first + draw->entries[d].videos)
        d++;
    *dataset = d;
    *video = place - draw->entries[d].first;
}
