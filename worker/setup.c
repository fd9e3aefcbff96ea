/* Opening a run.  Each stage is local work followed by an agreement, so that a rank that cannot
 * open a dataset is named by all instead of leaving them in the first all-reduce. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/fault.h"
#include "core/files.h"
#include "core/log.h"
#include "core/version.h"
#include "core/watchdog.h"
#include "worker/trainer.h"

enum { MIN_BUCKET_BYTES = 256 << 10, BUCKETS_WANTED = 16, MESSAGE_BYTES = 2048, MPI_START_S = 300 };

/* What the watchdog leaves to collectives that pass their deadline. */
static const double WATCH_SHARE = 0.5;
static const double WATCH_MOST_S = 15;

void trainer_phase(struct trainer *trainer, const char *phase, int64_t step, double limit_s)
{
    if (trainer->group != NULL)
        comm_set_timeout(trainer->group, limit_s);
    if (trainer->device_sums != NULL)
        comm_device_set_timeout(trainer->device_sums, limit_s);
    watchdog_phase(phase, step, limit_s + fmin(WATCH_SHARE * limit_s + 1, WATCH_MOST_S));
}

ls_status trainer_agree(struct trainer *trainer, ls_status mine)
{
    char message[MESSAGE_BYTES] = "";
    if (mine != LS_OK)
        (void)snprintf(message, sizeof message, "%s", status_message());
    ls_status st = comm_agree(trainer->group, mine);
    bool broken = comm_is_broken(trainer->group);
    trainer->agreed = st != LS_OK && !broken;
    trainer->own = mine != LS_OK || broken;
    /* Of its own failures a rank reports its own words: the first is the cause. */
    return mine != LS_OK && st != LS_OK ? status_adopt(mine, message) : st;
}

static ls_status read_config(struct trainer *trainer)
{
    ls_status st = LS_OK;
    char *path = NULL;
    LS_TRY(core_format(&path, "%s/config.yaml", trainer->options->run));
    LS_TRY(config_stages_open(&trainer->stages, path, NULL, 0));
    trainer->config = trainer->stages.list[0];
    LS_TRY(config_stages_resolve(&trainer->stages));
done:
    free(path);
    return st;
}

/* The rank as the starter tells it: MPI_Init may be what hangs. */
static int foreseen_rank(void)
{
    static const char *const names[] = {"LOCKSTEP_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK",
                                        "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        char *end = NULL;
        long rank = text != NULL ? strtol(text, &end, 10) : -1;
        if (text != NULL && end != text && *end == '\0' && rank >= 0 && rank < INT32_MAX)
            return (int)rank;
    }
    return 0;
}

ls_status trainer_join(struct trainer *trainer, ls_status read, double start_timeout_s)
{
    ls_status st = LS_OK;
    const struct comm_options options = {.timeout_s = read == LS_OK ? start_timeout_s : 0};
    char message[MESSAGE_BYTES] = "";
    if (read != LS_OK)
        (void)snprintf(message, sizeof message, "%s", status_message());
    LS_TRY(watchdog_open(&(struct watchdog_options){.run = trainer->options->run,
                                                    .run_epoch = trainer->options->run_epoch,
                                                    .rank = foreseen_rank(),
                                                    .beat_s = (double)trainer->options->beat_s}));
    trainer_phase(trainer, "start", trainer->step, read == LS_OK ? options.timeout_s : MPI_START_S);
    fault_arm_text(getenv("LS_FAULT"), foreseen_rank(), trainer->options->run_epoch);
    (void)fault_point("start");
    LS_TRY(comm_open(&trainer->group, &options));
    trainer->rank = comm_rank(trainer->group);
    trainer->size = comm_size(trainer->group);
    log_open(trainer->rank, LOG_LEVEL_INFO);
    watchdog_rank(trainer->rank);
    LS_TRY(trainer_agree(trainer, read == LS_OK ? LS_OK : status_adopt(read, message)));
    /* The launcher's deadline for this is met. */
    log_info("joined ranks=%d lockstep=\"%s\"", trainer->size, version_text());
done:
    return st;
}

static ls_status deal_micro_batches(struct trainer *trainer)
{
    int micro_batches = trainer->config->micro_batches;
    if (trainer->size > micro_batches)
        return LS_FAIL(LS_USAGE,
                       "%d workers, but a step has only %d micro-batches (nodes * "
                       "tasks_per_node): start at most %d",
                       trainer->size, micro_batches, micro_batches);
    trainer->divided =
        trainer->config->optimization.optimizer_state == CONFIG_SHARDED && trainer->size > 1;
    if (trainer->config->optimization.optimizer_state == CONFIG_SHARDED && !trainer->divided)
        log_info("optimizer_state asked=sharded used=replicated reason=one_worker");
    /* A contiguous run for each rank, sizes differing by at most one. */
    trainer->micro_first = (int)((int64_t)trainer->rank * micro_batches / trainer->size);
    trainer->micro_count =
        (int)((int64_t)(trainer->rank + 1) * micro_batches / trainer->size) - trainer->micro_first;
    return LS_OK;
}

static ls_status open_datasets(struct trainer *trainer)
{
    ls_status st = LS_OK;
    const struct config_data *data = &trainer->config->data;
    int64_t videos = 0;
    LS_TRY(core_alloc_bytes((void **)&trainer->datasets, (size_t)data->dataset_count,
                            sizeof(struct dataset *)));
    for (int i = 0; i < data->dataset_count; i++) {
        LS_TRY(dataset_open(&trainer->datasets[i], data->datasets[i].path));
        int64_t count = dataset_video_count(trainer->datasets[i]);
        log_info("dataset path=\"%s\" videos=%" PRId64, data->datasets[i].path, count);
        videos += count;
    }
    if (trainer->config->optimization.ipe == 0) {
        int64_t ipe = videos / ((int64_t)data->batch_size * trainer->config->micro_batches);
        LS_TRY(config_set_ipe(trainer->config, ipe > 0 ? ipe : 1));
    }
done:
    return st;
}

/* Small models get small buckets: a single one could not travel while backward runs. */
int64_t trainer_bucket_bytes(const struct trainer *trainer, int64_t count)
{
    int64_t most = (int64_t)trainer->config->run.bucket_mb << 20;
    int64_t bytes = count * (int64_t)sizeof(float) / BUCKETS_WANTED;
    if (bytes < MIN_BUCKET_BYTES)
        bytes = MIN_BUCKET_BYTES;
    return bytes < most ? bytes : most;
}

/* Plans for every shape that the config's clips can have. */
static ls_status prepare(struct trainer *trainer)
{
    ls_status st = LS_OK;
    const struct model_device *device = &trainer->device.model;
    const struct config_data *data = &trainer->config->data;
    double start_s = clock_now_s();
    for (int d = 0; d < data->dataset_count; d++)
        LS_TRY(jepa_prepare(trainer->jepa, data->datasets[d].frames_per_clip));
    struct op_plan_counts counts = device->table->plan_counts(device->device);
    if (counts.prepared > 0)
        log_info("plans prepared=%" PRId64 " attention_prepared=%" PRId64
                 " bucket_tokens=%d seconds=%.3f",
                 counts.prepared, counts.attention_prepared, trainer->device.bucket_tokens,
                 clock_now_s() - start_s);
done:
    return st;
}

/* All plans should have been there. */
static void report_plans(const struct trainer *trainer)
{
    const struct model_device *device = &trainer->device.model;
    if (device->device == NULL)
        return;
    struct op_plan_counts counts = device->table->plan_counts(device->device);
    if (counts.hits + counts.misses > 0)
        log_info("plans prepared=%" PRId64 " hits=%" PRId64 " misses=%" PRId64
                 " attention_prepared=%" PRId64 " attention_hits=%" PRId64
                 " attention_misses=%" PRId64 " attention_refused=%" PRId64,
                 counts.prepared, counts.hits, counts.misses, counts.attention_prepared,
                 counts.attention_hits, counts.attention_misses, counts.attention_refused);
}

static ls_status open_model(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct jepa_options options;
    LS_TRY(trainer_model_options(&options, trainer, trainer->divided));
    trainer->division = options.division;
    LS_TRY(jepa_open(&trainer->jepa, &options, trainer->device.model.table,
                     trainer->device.model.device));
    LS_TRY(prepare(trainer));
    log_info("model name=%s parameters=%" PRId64, trainer->config->model.model_name,
             jepa_parameters(trainer->jepa)->true_count);
    trainer->bucket_bytes =
        trainer->divided
            ? division_width(&trainer->division) * (int64_t)sizeof(float)
            : trainer_bucket_bytes(trainer, jepa_parameters(trainer->jepa)->flat_count);
    LS_TRY(trainer_step_open(trainer));
    LS_TRY(trainer_saving_open(trainer));
done:
    return st;
}

/* This rank's part of the way of gradients from rank to rank. */
static ls_status open_sums(struct trainer *trainer)
{
    ls_status st = LS_OK;
    bool on_device = trainer->sums_by == TRAINER_SUMS_DEVICE;
    const struct comm_device_options options = {
        .rank = trainer->rank,
        .size = trainer->size,
        .share = comm_share_by_group,
        .share_context = trainer->group,
        .card = trainer->device.model.card,
        .compute_stream = trainer->device.model.stream,
        .deterministic = trainer->config->run.deterministic,
        .timeout_s = trainer->config->run.start_timeout_s,
        .marks = trainer->divided ? spread_marks(&trainer->division) : 0,
    };
    float *gradient =
        on_device ? jepa_gradient_device(trainer->jepa) : jepa_gradient_host(trainer->jepa);
    if (trainer->sums_by == TRAINER_SUMS_NONE)
        return LS_OK;
    if (on_device)
        LS_TRY(comm_device_open(&trainer->device_sums, &options));
    if (trainer->divided) {
        LS_TRY(comm_buckets_open_divided(&trainer->buckets, trainer->group, trainer->device_sums,
                                         gradient, &trainer->division));
        LS_TRY(
            spread_open(&trainer->spread, &(struct spread_options){.group = trainer->group,
                                                                   .device = trainer->device_sums,
                                                                   .jepa = trainer->jepa,
                                                                   .division = trainer->division}));
    } else {
        LS_TRY(comm_buckets_open(&trainer->buckets, trainer->group, trainer->device_sums, gradient,
                                 jepa_parameters(trainer->jepa)->flat_count,
                                 trainer->bucket_bytes));
    }
    log_info("gradient_sums by=%s ranks=%d buckets=%" PRId64 " bucket_bytes=%" PRId64
             " deterministic=%s optimizer_state=%s",
             on_device ? "nccl" : "mpi", trainer->size, comm_buckets_count(trainer->buckets),
             trainer->bucket_bytes, !on_device || options.deterministic ? "yes" : "no",
             trainer->divided ? "sharded" : "replicated");
done:
    return st;
}

/* After the ranks have found that they are of one mind.  A rank that cannot join ends the job: its
 * peers wait for it in NCCL, not at the next agreement.  Collective. */
static ls_status join_sums(struct trainer *trainer)
{
    ls_status st = LS_OK;
    LS_TRY(trainer_agree(trainer, open_sums(trainer)));
    if (trainer->device_sums != NULL)
        LS_TRY(comm_device_join(trainer->device_sums));
done:
    return st;
}

/* Data and device: what the plan of the rest is made from. */
static ls_status open_basis(struct trainer *trainer)
{
    ls_status st = LS_OK;
    LS_TRY(deal_micro_batches(trainer));
    LS_TRY(open_datasets(trainer));
    LS_TRY(worker_device_open(&trainer->device, trainer->config,
                              trainer->options->device_given ? trainer->options->device
                                                             : trainer->config->run.device,
                              comm_local_rank(trainer->group), comm_local_size(trainer->group)));
done:
    return st;
}

/* Steps that this start of the run does at most. */
static int64_t steps_left(const struct trainer *trainer)
{
    int64_t end = trainer->config->first_step + trainer->config->optimization.total_steps;
    if (trainer->options->stop_at > 0 && trainer->options->stop_at < end)
        end = trainer->options->stop_at;
    return end > trainer->step ? end - trainer->step : 0;
}

/* What depends on the step that the run goes on from. */
static ls_status open_at_step(struct trainer *trainer)
{
    ls_status st = LS_OK;
    LS_TRY(loader_open(&trainer->loader, trainer->config, trainer->datasets,
                       trainer->step - trainer->config->first_step, trainer->micro_first,
                       trainer->micro_count, trainer->skipped, trainer->skipped_count));
    LS_TRY(feed_open(&trainer->feed, trainer->loader, trainer->jepa, &trainer->device.model,
                     steps_left(trainer) * trainer->micro_count));
    trainer->audited_step = -1;
    LS_TRY(audit_open(&trainer->audit,
                      &(struct audit_options){
                          .group = trainer->group,
                          .jepa = trainer->jepa,
                          .run = trainer->options->run,
                          .threads = trainer->device.model.gpu ? 1 : trainer->device.threads,
                          .divided = trainer->divided,
                          .own = trainer->divided ? trainer->rank * trainer->division.slice : 0}));
    if (trainer->rank == 0) {
        LS_TRY(metrics_open(&trainer->metrics, trainer->options->run, trainer->step));
        if (trainer->config->run.tensorboard &&
            tensorboard_open(&trainer->tensorboard, trainer->options->run,
                             trainer->options->run_epoch, trainer->step) != LS_OK) {
            log_warn("tensorboard none: %s", status_text());
            status_clear();
        }
        if (trainer->config->run.ranks_freq > 0 && trainer->size > 1)
            LS_TRY(ranks_open(&trainer->ranks,
                              &(struct ranks_options){.run = trainer->options->run,
                                                      .hosts = trainer->hosts,
                                                      .run_epoch = trainer->options->run_epoch,
                                                      .size = trainer->size,
                                                      .freq = trainer->config->run.ranks_freq}));
        display_open(&trainer->display, trainer->options->progress,
                     config_stages_steps(&trainer->stages));
    }
    LS_TRY(trainer_saving_start(trainer));
done:
    return st;
}

/* Rank 0. */
static ls_status open_watch(struct trainer *trainer)
{
    ls_status st = LS_OK;
    if (trainer->rank != 0)
        return LS_OK;
    LS_TRY(events_open(&trainer->events, trainer->options->run, trainer->options->run_epoch));
    LS_TRY(watch_open(&trainer->watch, &trainer->spikes,
                      &(struct watch_options){.config = trainer->config,
                                              .run = trainer->options->run,
                                              .events = trainer->events,
                                              .jepa = trainer->jepa,
                                              .step = trainer->step}));
    events_add(trainer->events, &(struct event){.step = trainer->step,
                                                .kind = "start",
                                                .text = trainer->step > 0 ? "went on" : "began",
                                                .values = {{"workers", trainer->size}}});
done:
    return st;
}

ls_status trainer_watch_open(struct trainer *trainer)
{
    ls_status st = LS_OK;
    spikes_open(&trainer->spikes, trainer->config->optimization.loss_spike_window);
    LS_TRY(trainer_agree(trainer, open_watch(trainer)));
    LS_TRY(comm_broadcast(trainer->group, &trainer->spikes, sizeof trainer->spikes, 0));
done:
    return st;
}

ls_status trainer_open(struct trainer *trainer, const struct worker_options *options)
{
    ls_status st = LS_OK;
    *trainer = (struct trainer){.options = options, .own = true};
    const ls_status read = read_config(trainer);
    LS_TRY(trainer_join(trainer, read, read == LS_OK ? trainer->config->run.start_timeout_s : 0));
    trainer_phase(trainer, "load", 0, trainer->config->run.save_timeout_s);
    LS_TRY(trainer_choose_origin(trainer));
    trainer_phase(trainer, "start", 0, trainer->config->run.start_timeout_s);
    LS_TRY(trainer_agree(trainer, open_basis(trainer)));
    LS_TRY(trainer_choose_sums(trainer));
    /* No rank takes memory of a card before all that share it have looked at what is free. */
    LS_TRY(trainer_agree(trainer, trainer_plan_memory(trainer)));
    LS_TRY(trainer_agree(trainer, open_model(trainer)));
    LS_TRY(trainer_compare_ranks(trainer));
    LS_TRY(join_sums(trainer));
    trainer_phase(trainer, "load", trainer->step, trainer->config->run.save_timeout_s);
    LS_TRY(trainer_resume(trainer));
    trainer_phase(trainer, "start", trainer->step, trainer->config->run.start_timeout_s);
    LS_TRY(trainer_agree(trainer, open_at_step(trainer)));
    LS_TRY(trainer_watch_open(trainer));
done:
    return st;
}

void trainer_close(struct trainer *trainer)
{
    report_plans(trainer);
    trainer_saving_close(trainer);
    metrics_close(&trainer->metrics);
    tensorboard_close(&trainer->tensorboard);
    watch_close(&trainer->watch);
    events_close(&trainer->events);
    feed_close(&trainer->feed);
    loader_close(&trainer->loader);
    ranks_close(&trainer->ranks);
    free(trainer->hosts);
    trainer->hosts = NULL;
    audit_close(&trainer->audit);
    trainer_step_close(trainer);
    comm_buckets_close(&trainer->buckets);
    spread_close(&trainer->spread);
    comm_device_close(&trainer->device_sums);
    jepa_close(&trainer->jepa);
    worker_device_close(&trainer->device);
    for (int i = 0; trainer->datasets != NULL && i < trainer->config->data.dataset_count; i++)
        dataset_close(&trainer->datasets[i]);
    free((void *)trainer->datasets);
    trainer->datasets = NULL;
    config_stages_close(&trainer->stages);
    trainer->config = NULL;
    free(trainer->origin);
    trainer->origin = NULL;
    free(trainer->skipped);
    trainer->skipped = NULL;
}
