/* Going back over steps whose loss or gradient was not finite: the next start takes the newest
 * checkpoint, which is from before them, and passes over their draws.  RUN/skipped.json carries the
 * draws to that start; the checkpoints that it writes hold them too. */
#include <cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "worker/trainer.h"

enum { FILE_LIMIT_BYTES = 1 << 24, DRAWS_MAX = 1 << 20, CLIPS_TOLD = 32 };

/* The draws that a step of this stage (counted from 0) uses, as the loader has it. */
static int64_t draw_of(const struct trainer *trainer, int64_t step)
{
    for (int i = 0; i < trainer->skipped_count; i++)
        step += trainer->skipped[i] <= step;
    return step;
}

static ls_status add_draw(cJSON *draws, int64_t draw)
{
    cJSON *number = cJSON_CreateNumber((double)draw);
    if (number == NULL || cJSON_AddItemToArray(draws, number) == 0) {
        cJSON_Delete(number);
        return LS_FAIL(LS_NOMEM, "out of memory for the list of skipped draws");
    }
    return LS_OK;
}

void trainer_tell_clips(const struct trainer *trainer)
{
    int count = trainer->micro_count * trainer->config->data.batch_size;
    for (int i = 0; i < count && i < CLIPS_TOLD; i++) {
        const struct loader_clip_source *clip = &trainer->clips[i];
        const struct dataset *dataset = trainer->datasets[clip->dataset];
        log_warn("bad_clip dataset=%s video=\"%s\" frames=%" PRId64 "..%" PRId64
                 " frame_step=%" PRId64,
                 dataset_path(dataset), dataset_video(dataset, clip->video).name, clip->first_frame,
                 clip->last_frame, clip->frame_step);
    }
    if (count > CLIPS_TOLD)
        log_warn("bad_clip more=%d", count - CLIPS_TOLD);
}

void trainer_tell_bad_step(const struct trainer *trainer, const struct step_metrics *metrics,
                           int bad_rank)
{
    char text[256];
    bool spike = metrics->spike_score > 0;
    const char *by = spike ? "loss_spike" : "not_finite";
    int used = snprintf(text, sizeof text, "step skipped=%s loss=%g grad_norm=%g first_rank=%d", by,
                        metrics->loss, metrics->grad_norm, bad_rank);
    if (spike)
        used = snprintf(text, sizeof text,
                        "step skipped=loss_spike loss=%g score=%.1f limit=%g window=%d",
                        metrics->loss, metrics->spike_score,
                        trainer->config->optimization.loss_spike, trainer->spikes.window);
    (void)snprintf(text + used, sizeof text - (size_t)used, " in_a_row=%d", trainer->bad_steps);
    log_warn("%s", text);
    events_add(trainer->events,
               &(struct event){.step = metrics->step,
                               .kind = "bad_step",
                               .warning = true,
                               .by = by,
                               .text = text,
                               .values = {{"in_a_row", trainer->bad_steps},
                                          {"loss", metrics->loss},
                                          {"score", metrics->spike_score}},
                               .settings = {"optimization.lr", "optimization.warmup",
                                            "optimization.grad_clip"}});
}

ls_status trainer_rollback_write(const struct trainer *trainer)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *json = cJSON_CreateObject();
    cJSON *draws = cJSON_AddArrayToObject(json, "draws");
    int64_t last = trainer->step - trainer->config->first_step;
    if (draws == NULL || cJSON_AddNumberToObject(json, "stage", trainer->config->stage) == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the list of skipped draws");
        goto done;
    }
    for (int i = 0; i < trainer->skipped_count; i++)
        LS_TRY(add_draw(draws, trainer->skipped[i]));
    for (int64_t step = last - trainer->bad_steps + 1; step <= last; step++)
        LS_TRY(add_draw(draws, draw_of(trainer, step)));
    text = cJSON_PrintUnformatted(json);
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the list of skipped draws");
        goto done;
    }
    LS_TRY(core_format(&path, "%s/skipped.json", trainer->options->run));
    LS_TRY(files_replace(path, text, strlen(text)));
    events_add(trainer->events,
               &(struct event){.step = trainer->step + 1,
                               .kind = "rollback",
                               .warning = true,
                               .text = "back to the newest checkpoint, past these steps' draws",
                               .values = {{"bad_steps", trainer->bad_steps}}});
done:
    cJSON_Delete(json);
    free(text);
    free(path);
    return st;
}

ls_status trainer_count_bad_step(struct trainer *trainer, const struct step_metrics *metrics,
                                 int bad_rank)
{
    trainer->bad_steps++;
    if (trainer->rank == 0)
        trainer_tell_bad_step(trainer, metrics, bad_rank);
    if (trainer->bad_steps < trainer->config->run.max_bad_steps)
        return LS_OK;
    if (trainer->rank == 0) {
        trainer->rollback = trainer_rollback_write(trainer) == LS_OK;
        if (!trainer->rollback)
            log_warn("rollback impossible: %s", status_text());
    }
    trainer->agreed = true;
    trainer->own = trainer->rank == 0;
    return LS_FAIL(LS_DATA,
                   "step %" PRId64 ": loss or gradient was %s in %d steps in a row "
                   "(lockstep.max_bad_steps): lower optimization.lr, or lengthen warmup",
                   trainer->step + 1,
                   metrics->spike_score > 0 ? "not finite or a spike" : "not finite",
                   trainer->bad_steps);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Sort, and leave each number once; how many remain. */
static int make_set(int64_t *list, int count)
{
    int kept = 0;
    qsort(list, (size_t)count, sizeof *list, compare);
    for (int i = 0; i < count; i++)
        if (kept == 0 || list[i] != list[kept - 1])
            list[kept++] = list[i];
    return kept;
}

/* The draws of the file and those that are skipped already, together. */
static ls_status merge(struct trainer *trainer, const cJSON *draws, const char *path)
{
    ls_status st = LS_OK;
    int64_t *list = NULL;
    int count = 0;
    int more = cJSON_GetArraySize(draws);
    const cJSON *item = NULL;
    if (!cJSON_IsArray(draws) || more > DRAWS_MAX)
        return LS_FAIL(LS_DATA, "%s: not a list of skipped draws; remove it to use all draws",
                       path);
    LS_TRY(core_alloc(&list, trainer->skipped_count + more + 1));
    for (int i = 0; i < trainer->skipped_count; i++)
        list[count++] = trainer->skipped[i];
    cJSON_ArrayForEach(item, draws)
    {
        if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1e15) {
            st = LS_FAIL(LS_DATA,
                         "%s: a skipped draw is no step number; remove it to use all draws", path);
            goto done;
        }
        list[count++] = (int64_t)item->valuedouble;
    }
    free(trainer->skipped);
    trainer->skipped_count = make_set(list, count);
    trainer->skipped = list;
    list = NULL;
done:
    free(list);
    return st;
}

/* Rank 0. */
static ls_status read_file(struct trainer *trainer)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *json = NULL;
    LS_TRY(core_format(&path, "%s/skipped.json", trainer->options->run));
    if (!files_exists(path))
        goto done;
    LS_TRY(files_read(&text, NULL, path, FILE_LIMIT_BYTES));
    json = cJSON_Parse(text);
    const cJSON *stage = cJSON_GetObjectItemCaseSensitive(json, "stage");
    if (!cJSON_IsNumber(stage) || stage->valueint == trainer->config->stage)
        LS_TRY(merge(trainer, cJSON_GetObjectItemCaseSensitive(json, "draws"), path));
done:
    cJSON_Delete(json);
    free(text);
    free(path);
    return st;
}

ls_status trainer_rollback_read(struct trainer *trainer)
{
    ls_status st = LS_OK;
    int32_t count = 0;
    int64_t *list = NULL;
    LS_TRY(trainer_agree(trainer, trainer->rank == 0 ? read_file(trainer) : LS_OK));
    count = trainer->skipped_count;
    LS_TRY(comm_broadcast(trainer->group, &count, sizeof count, 0));
    if (count == 0)
        goto done;
    LS_TRY(trainer_agree(trainer, core_alloc(&list, count)));
    if (trainer->rank == 0)
        memcpy(list, trainer->skipped, (size_t)count * sizeof *list);
    LS_TRY(comm_broadcast(trainer->group, list, (size_t)count * sizeof *list, 0));
    free(trainer->skipped);
    trainer->skipped = list;
    trainer->skipped_count = count;
    list = NULL;
    log_info("skipped_draws steps=%d last=%" PRId64, count, trainer->skipped[count - 1]);
done:
    free(list);
    return st;
}
