/* Counts of draws ride on the sums of a step, so that every rank knows those of all; they are saved
 * and taken up with the state.  So the step at which a run gives up is a function of its draws, and
 * of nothing else: neither of the number of workers nor of where it was stopped and resumed. */
#include "worker/draws.h"

#include <cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "data/clip_maker.h"
#include "worker/trainer.h"

enum { TOLD_BYTES = 512 };

struct draws {
    int count; /* of datasets */
    struct draw_count *run, *step;
    struct bad_videos bad_videos; /* of the step */
    uint64_t *named;              /* one bit a video of all datasets */
    int64_t *named_first;         /* [datasets] first bit */
};

ls_status draws_open(struct draws **out, struct dataset *const *datasets, int count)
{
    ls_status st = LS_OK;
    struct draws *draws = NULL;
    int64_t videos = 0;
    LS_TRY(core_alloc(&draws, 1));
    draws->count = count;
    LS_TRY(core_alloc(&draws->run, count));
    LS_TRY(core_alloc(&draws->step, count));
    LS_TRY(core_alloc(&draws->named_first, count));
    for (int d = 0; d < count; d++) {
        draws->named_first[d] = videos;
        videos += dataset_video_count(datasets[d]);
    }
    LS_TRY(core_alloc(&draws->named, videos / 64 + 1));
    *out = draws;
    draws = NULL;
done:
    draws_close(&draws);
    return st;
}

void draws_close(struct draws **draws)
{
    if (*draws == NULL)
        return;
    free((*draws)->run);
    free((*draws)->step);
    free((*draws)->named);
    free((*draws)->named_first);
    free(*draws);
    *draws = NULL;
}

void draws_begin_step(struct draws *draws)
{
    memset(draws->step, 0, (size_t)draws->count * sizeof *draws->step);
    draws->bad_videos = (struct bad_videos){.count = 0};
}

void draws_take(struct draws *draws, const struct loader_batch *batch)
{
    for (int clip = 0; clip < batch->clips; clip++)
        draws->step[batch->sources[clip].dataset].drawn++;
    for (int d = 0; d < draws->count; d++) {
        draws->step[d].drawn += batch->bad_draws[d];
        draws->step[d].bad += batch->bad_draws[d];
    }
    bad_videos_merge(&draws->bad_videos, batch->bad_videos);
}

const struct bad_videos *draws_bad_videos(const struct draws *draws)
{
    return &draws->bad_videos;
}

bool draws_name(struct draws *draws, const struct bad_video *video)
{
    const int64_t bit = draws->named_first[video->dataset] + video->video;
    const uint64_t mask = (uint64_t)1 << (bit % 64);
    const bool first = (draws->named[bit / 64] & mask) == 0;
    draws->named[bit / 64] |= mask;
    return first;
}

void draws_put(double *out, const struct draws *draws)
{
    for (int d = 0; d < draws->count; d++) {
        *out++ = (double)draws->step[d].drawn;
        *out++ = (double)draws->step[d].bad;
    }
}

int64_t draws_add(struct draws *draws, const double *sums)
{
    int64_t bad = 0;
    for (int d = 0; d < draws->count; d++, sums += 2) {
        draws->run[d].drawn += (int64_t)sums[0];
        draws->run[d].bad += (int64_t)sums[1];
        bad += (int64_t)sums[1];
    }
    return bad;
}

struct draw_count draws_of(const struct draws *draws, int dataset)
{
    return draws->run[dataset];
}

int draws_worst(const struct draws *draws, double max_bad_share)
{
    int worst = -1;
    double most = 0;
    for (int d = 0; d < draws->count; d++) {
        const struct draw_count *one = &draws->run[d];
        double share = one->drawn > 0 ? (double)one->bad / (double)one->drawn : 0;
        if ((double)one->bad > clip_bad_limit(max_bad_share, one->drawn) && share > most) {
            worst = d;
            most = share;
        }
    }
    return worst;
}

ls_status draws_refuse(const struct draws *draws, int dataset, const char *path,
                       double max_bad_share, const struct reasons *reasons)
{
    char text[TOLD_BYTES];
    const struct draw_count *one = &draws->run[dataset];
    reasons_text(text, sizeof text, reasons, dataset);
    return LS_FAIL(LS_DATA,
                   "%s: %" PRId64 " of %" PRId64 " draws could not be decoded, more than "
                   "data.max_bad_share (%g) allows%s%s; run `lockstep verify` on it",
                   path, one->bad, one->drawn, max_bad_share, text[0] != '\0' ? ": " : "", text);
}

static cJSON *numbers(const struct draws *draws, bool bad)
{
    cJSON *list = cJSON_CreateArray();
    for (int d = 0; list != NULL && d < draws->count; d++) {
        int64_t value = bad ? draws->run[d].bad : draws->run[d].drawn;
        if (cJSON_AddItemToArray(list, cJSON_CreateNumber((double)value)) == 0) {
            cJSON_Delete(list);
            return NULL;
        }
    }
    return list;
}

static bool add_numbers(cJSON *json, const char *key, const struct draws *draws, bool bad)
{
    cJSON *list = numbers(draws, bad);
    if (cJSON_AddItemToObject(json, key, list) != 0)
        return true;
    cJSON_Delete(list);
    return false;
}

ls_status draws_write(char **out, const struct draws *draws, struct hash128 datasets)
{
    ls_status st = LS_OK;
    char hash[HASH_TEXT_BYTES];
    cJSON *json = cJSON_CreateObject();
    hash_text(hash, datasets);
    if (json == NULL || cJSON_AddStringToObject(json, "datasets", hash) == NULL ||
        !add_numbers(json, "drawn", draws, false) || !add_numbers(json, "bad", draws, true) ||
        (*out = cJSON_PrintUnformatted(json)) == NULL)
        st = LS_FAIL(LS_NOMEM, "out of memory for the counts of draws");
    cJSON_Delete(json);
    return st;
}

/* A whole number that a double holds. */
static bool read_number(int64_t *out, const cJSON *list, int index)
{
    const cJSON *one = cJSON_GetArrayItem(list, index);
    const double value = cJSON_IsNumber(one) ? one->valuedouble : -1;
    if (!(value >= 0 && value <= 9007199254740992.0))
        return false;
    *out = (int64_t)value;
    return (double)*out == value;
}

bool draws_read(struct draws *draws, const char *text, struct hash128 datasets)
{
    char hash[HASH_TEXT_BYTES];
    cJSON *json = cJSON_Parse(text);
    const cJSON *stored = cJSON_GetObjectItemCaseSensitive(json, "datasets");
    const cJSON *drawn = cJSON_GetObjectItemCaseSensitive(json, "drawn");
    const cJSON *bad = cJSON_GetObjectItemCaseSensitive(json, "bad");
    hash_text(hash, datasets);
    bool good = cJSON_IsString(stored) && strcmp(stored->valuestring, hash) == 0 &&
                cJSON_GetArraySize(drawn) == draws->count &&
                cJSON_GetArraySize(bad) == draws->count;
    draws_begin_step(draws);
    for (int d = 0; good && d < draws->count; d++)
        good = read_number(&draws->step[d].drawn, drawn, d) &&
               read_number(&draws->step[d].bad, bad, d) &&
               draws->step[d].bad <= draws->step[d].drawn;
    if (good)
        memcpy(draws->run, draws->step, (size_t)draws->count * sizeof *draws->run);
    cJSON_Delete(json);
    return good;
}

/* Rank 0 names the bad videos of all ranks, each once.  Collective. */
static ls_status name_bad_videos(const struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct bad_videos *all = NULL;
    const struct bad_videos *mine = draws_bad_videos(trainer->draws);
    LS_TRY(core_alloc(&all, trainer->size));
    LS_TRY(comm_exchange(trainer->group, mine, sizeof *mine, all));
    for (int r = 0; trainer->rank == 0 && r < trainer->size; r++)
        for (int64_t i = 0; i < all[r].count; i++) {
            const struct bad_video *one = &all[r].list[i];
            if (draws_name(trainer->draws, one))
                log_warn("video_replaced dataset=%s video=%" PRId64 " reason=\"%s\"",
                         dataset_path(trainer->datasets[one->dataset]), one->video, one->text);
        }
done:
    free(all);
    return st;
}

ls_status trainer_judge_draws(struct trainer *trainer, int64_t *replaced, const double *sums)
{
    ls_status st = LS_OK;
    const double share = trainer->config->data.max_bad_share;
    struct reasons *all = NULL;
    *replaced = draws_add(trainer->draws, sums);
    if (*replaced > 0)
        LS_TRY(name_bad_videos(trainer));
    const int worst = draws_worst(trainer->draws, share);
    if (worst < 0)
        return LS_OK;
    const struct reasons mine = loader_counters(trainer->loader).reasons;
    LS_TRY(core_alloc(&all, trainer->size));
    LS_TRY(comm_exchange(trainer->group, &mine, sizeof mine, all));
    for (int r = 1; r < trainer->size; r++)
        reasons_merge(&all[0], &all[r]);
    trainer->agreed = true;
    trainer->own = trainer->rank == 0;
    st =
        draws_refuse(trainer->draws, worst, dataset_path(trainer->datasets[worst]), share, &all[0]);
done:
    free(all);
    return st;
}

void trainer_tell_draws(const struct trainer *trainer)
{
    for (int d = 0; d < trainer->config->data.dataset_count; d++) {
        const struct draw_count count = draws_of(trainer->draws, d);
        if (count.bad > 0)
            log_info("draws dataset=%s drawn=%" PRId64 " replaced=%" PRId64,
                     dataset_path(trainer->datasets[d]), count.drawn, count.bad);
    }
}
