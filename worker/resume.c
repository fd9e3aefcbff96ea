/* Where a run goes on from: its own newest good checkpoint, else the one that the config names,
 * else
 * initial weights.  Rank 0 chooses, all ranks load the same. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "worker/trainer.h"

enum { LOAD_ELEMENTS = 4 << 20, PATH_BYTES = 4096 };

enum origin_kind { ORIGIN_NOTHING, ORIGIN_OWN, ORIGIN_READ, ORIGIN_ANNEAL };

struct origin { /* broadcast by rank 0 */
    enum origin_kind kind;
    char path[PATH_BYTES];
};

static ls_status set_origin(struct origin *out, enum origin_kind kind, const char *path)
{
    if (strlen(path) >= sizeof out->path)
        return LS_FAIL(LS_USAGE, "%s: the path is too long", path);
    out->kind = kind;
    memcpy(out->path, path, strlen(path) + 1);
    return LS_OK;
}

static ls_status choose_origin(struct origin *out, const struct trainer *trainer)
{
    struct checkpoint *newest = NULL;
    const struct config *config = trainer->config;
    memset(out, 0, sizeof *out);
    ls_status st = checkpoint_open_newest(&newest, trainer->saving.folder);
    if (st == LS_OK) {
        st = set_origin(out, ORIGIN_OWN, checkpoint_info(newest)->path);
        checkpoint_close(&newest);
        return st;
    }
    if (st != LS_EOF)
        return st;
    status_clear();
    if (config->optimization.is_anneal && config->optimization.anneal_ckpt != NULL)
        return set_origin(out, ORIGIN_ANNEAL, config->optimization.anneal_ckpt);
    if (config->meta.load_checkpoint && config->meta.read_checkpoint != NULL)
        return set_origin(out, ORIGIN_READ, config->meta.read_checkpoint);
    return LS_OK;
}

/* The stored parameter of that name. */
static const struct checkpoint_parameter *find_stored(const struct checkpoint_info *info,
                                                      const char *name)
{
    for (int i = 0; i < info->parameter_count; i++)
        if (strcmp(info->parameters[i].name, name) == 0)
            return &info->parameters[i];
    return NULL;
}

static bool same_shape(const struct checkpoint_parameter *stored, const struct parameter *mine)
{
    bool same = stored->dimensions == mine->dimensions && stored->offset == mine->offset &&
                stored->count == mine->count;
    for (int d = 0; d < mine->dimensions && same; d++)
        same = stored->shape[d] == mine->shape[d];
    return same;
}

/* Adam step counts by name; fails when the checkpoint is of another model. */
static ls_status match_parameters(int64_t *adam_steps, const struct checkpoint_info *info,
                                  const struct parameters *mine)
{
    for (int i = 0; i < mine->count; i++) {
        const struct checkpoint_parameter *stored = find_stored(info, mine->table[i].name);
        if (stored == NULL)
            return LS_FAIL(LS_CHECKPOINT,
                           "%s: no parameter %s: it is of another model than the "
                           "config's",
                           info->path, mine->table[i].name);
        if (!same_shape(stored, &mine->table[i]))
            return LS_FAIL(LS_CHECKPOINT,
                           "%s: parameter %s has another shape: it is of another "
                           "model than the config's",
                           info->path, mine->table[i].name);
        adam_steps[i] = stored->adam_step;
    }
    if (info->parameter_count != mine->count)
        return LS_FAIL(LS_CHECKPOINT, "%s: %d parameters, the config's model has %d", info->path,
                       info->parameter_count, mine->count);
    return LS_OK;
}

static ls_status load_array(struct trainer *trainer, const struct checkpoint *checkpoint, int array,
                            float *buffer)
{
    ls_status st = LS_OK;
    int64_t total = saver_array_total(array, jepa_parameters(trainer->jepa));
    for (int64_t offset = 0; offset < total; offset += LOAD_ELEMENTS) {
        int64_t count = total - offset < LOAD_ELEMENTS ? total - offset : LOAD_ELEMENTS;
        LS_TRY(
            checkpoint_read(checkpoint, &(struct checkpoint_array){.name = saver_array_names[array],
                                                                   .data = buffer,
                                                                   .offset = offset,
                                                                   .count = count,
                                                                   .total = total}));
        struct jepa_state range = {.offset = offset, .count = count};
        float **into[SAVER_ARRAYS] = {&range.weights, &range.moment1, &range.moment2, &range.ema};
        *into[array] = buffer;
        LS_TRY(jepa_state_upload(trainer->jepa, &range));
    }
done:
    return st;
}

static ls_status load(struct trainer *trainer, const struct origin *origin)
{
    ls_status st = LS_OK;
    struct checkpoint *checkpoint = NULL;
    float *buffer = NULL;
    int64_t *adam_steps = NULL;
    const struct parameters *parameters = jepa_parameters(trainer->jepa);
    LS_TRY(checkpoint_open(&checkpoint, origin->path));
    const struct checkpoint_info *info = checkpoint_info(checkpoint);
    LS_TRY(core_alloc(&adam_steps, parameters->count));
    LS_TRY(match_parameters(adam_steps, info, parameters));
    LS_TRY(core_alloc(&buffer, LOAD_ELEMENTS));
    for (int a = 0; a < SAVER_ARRAYS; a++)
        LS_TRY(load_array(trainer, checkpoint, a, buffer));
    LS_TRY(jepa_state_upload(trainer->jepa, &(struct jepa_state){.adam_steps = adam_steps}));
    if (origin->kind == ORIGIN_ANNEAL) {
        log_info("anneal from=\"%s\" its_step=%" PRId64, info->path, info->step);
        goto done; /* the cool-down counts its own steps and draws */
    }
    trainer->step = info->step;
    if (info->skipped_count > 0) {
        LS_TRY(core_alloc(&trainer->skipped, info->skipped_count));
        memcpy(trainer->skipped, info->skipped,
               (size_t)info->skipped_count * sizeof *trainer->skipped);
        trainer->skipped_count = info->skipped_count;
    }
    if (origin->kind == ORIGIN_OWN)
        trainer->saving.saved_step = info->step;
    log_info("resume from=\"%s\" finished_steps=%" PRId64, info->path, info->step);
    trainer_compare_facts(trainer, info->facts_json);
done:
    free(adam_steps);
    free(buffer);
    checkpoint_close(&checkpoint);
    return st;
}

static ls_status take_over(struct trainer *trainer)
{
    if (trainer->rank != 0)
        return LS_OK;
    return checkpoint_take_over(trainer->saving.folder, trainer->options->run_epoch,
                                trainer->saving.saved_step);
}

static ls_status bring_state(struct trainer *trainer, const struct origin *origin)
{
    if (origin->kind != ORIGIN_NOTHING)
        return load(trainer, origin);
    log_info("start seed=%" PRId64, trainer->config->meta.seed);
    return jepa_initialize(trainer->jepa, (uint64_t)trainer->config->meta.seed);
}

ls_status trainer_resume(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct origin *origin = NULL;
    LS_TRY(trainer_agree(trainer, core_alloc(&origin, 1)));
    LS_TRY(trainer_agree(trainer, trainer->rank == 0 ? choose_origin(origin, trainer) : LS_OK));
    LS_TRY(comm_broadcast(trainer->group, origin, sizeof *origin, 0));
    LS_TRY(trainer_agree(trainer, bring_state(trainer, origin)));
    LS_TRY(trainer_agree(trainer, take_over(trainer)));
done:
    free(origin);
    return st;
}
