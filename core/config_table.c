/* The keys of a config, in the order in which they are dumped and documented. */
#include "core/config_table.h"

#include <assert.h>
#include <string.h>

/* Pairs and sizes are written through the address of their first member. */
static_assert(offsetof(struct config_optimization, beta2) ==
                  offsetof(struct config_optimization, beta1) + sizeof(double),
              "betas lie side by side");
static_assert(offsetof(struct config_data, crop_width) ==
                  offsetof(struct config_data, crop_height) + sizeof(int),
              "crop sizes lie side by side");
static_assert(sizeof(enum config_dtype) == sizeof(int), "choices are stored as int");

#define AT(member) .offset = offsetof(struct config, member)
#define AT_MASK(member) .offset = offsetof(struct config_mask, member)
#define BOOL .type = CONFIG_TYPE_BOOL, .low = 0, .high = 1
#define ONLY(value) .type = CONFIG_TYPE_BOOL, .low = (value), .high = (value)
#define INT(lowest, highest) .type = CONFIG_TYPE_INT, .low = (lowest), .high = (highest)
#define INT64(lowest, highest) .type = CONFIG_TYPE_INT64, .low = (lowest), .high = (highest)
#define DOUBLE(lowest, highest) .type = CONFIG_TYPE_DOUBLE, .low = (lowest), .high = (highest)
#define PAIR(lowest, highest) .type = CONFIG_TYPE_PAIR, .low = (lowest), .high = (highest)
#define TEXT .type = CONFIG_TYPE_TEXT
#define IGNORED .type = CONFIG_TYPE_IGNORED
#define CHOICE(list) .type = CONFIG_TYPE_CHOICE, .choices = (list)

static const char *const dtypes[] = {"float32", "bfloat16", NULL};
static const char *const samplings[] = {"frames", "timestamps", NULL};
static const char *const save_intervals[] = {"steps", "minutes", "auto", NULL};
static const char *const best_metrics[] = {"loss", "target_std", "target_rank", "prediction_cosine",
                                           NULL};
static const char *const bests[] = {"min", "max", NULL};
static const char *const optimizer_states[] = {"replicated", "sharded", NULL};
static const char *const only_false[] = {"false", NULL};
static const char *const no_skip[] = {"0", "-1", NULL};
static const char *const starters[] = {"auto", "mpirun", "srun", NULL};
static const char *const gpu_comms[] = {"auto", "nccl", "mpi", NULL};
static const char *const devices[] = {"auto", "cpu", "cuda", "emulated", NULL};

enum {
    REQUIRED = CONFIG_REQUIRED,
    NULLABLE = CONFIG_NULLABLE,
    OURS = CONFIG_OURS,
    RESULT = CONFIG_RESULT,
    ABOVE = CONFIG_ABOVE_LOW,
    BELOW = CONFIG_BELOW_HIGH,
    OMIT = CONFIG_OMIT_ZERO,
    OF_RUN = CONFIG_OF_RUN,
    ASCENDING = CONFIG_ASCENDING
};

/* clang-format off */
const struct config_key config_keys[] = {
    {"app", TEXT, AT(app), .initial = "vjepa", .flags = OF_RUN,
     .help = "The program; only `vjepa` (pretraining and cool-down) is available."},
    {"nodes", INT(1, 65536), AT(nodes), .initial = "1",
     .help = "Machines; with `tasks_per_node` it gives M, the micro-batches of a step."},
    {"tasks_per_node", INT(1, 1024), AT(tasks_per_node), .initial = "1",
     .help = "Workers a machine.  M = nodes x tasks_per_node stays what it is when a run has more or fewer workers."},
    {"cpus_per_task", INT(1, 4096), AT(cpus_per_task), .flags = NULLABLE | OMIT,
     .help = "CPU cores of a worker, for SLURM."},
    {"mem_per_gpu", TEXT, AT(mem_per_gpu), .flags = NULLABLE,
     .help = "Host memory of a worker, for SLURM, for example `220G`."},
    {"folder", TEXT, AT(folder), .flags = REQUIRED | OF_RUN,
     .help = "The run folder: checkpoints, metrics, the resolved config."},
    {"name", TEXT, AT(name), .flags = OURS | NULLABLE,
     .help = "What the run, or a stage of it, is called in logs."},

    {"data.dataset_type", IGNORED, .help = "One kind of dataset is read."},
    {"data.datasets", .type = CONFIG_TYPE_PATHS, AT(data.datasets), .flags = REQUIRED,
     .help = "Packed datasets (folders), or lists of `path label` lines that are packed first."},
    {"data.datasets_weights", .type = CONFIG_TYPE_WEIGHTS, .low = 0, .high = 1e9, .flags = NULLABLE | RESULT,
     .help = "Share of each dataset, normalised: videos are then drawn with replacement.  Without it each epoch is a permutation of all videos."},
    {"data.dataset_fpcs", .type = CONFIG_TYPE_FRAMES, .low = 1, .high = 1024, .flags = REQUIRED | RESULT,
     .help = "Frames per clip of each dataset; as many entries as `datasets`."},
    {"data.batch_size", INT(1, 65536), AT(data.batch_size), .flags = REQUIRED | RESULT,
     .help = "Clips of a micro-batch.  A step has M x batch_size clips."},
    {"data.crop_size", .type = CONFIG_TYPE_SIZE, .low = 1, .high = 8192, AT(data.crop_height), .initial = "224", .flags = RESULT,
     .help = "Pixels of a clip's frames: one number for a square, or `[height, width]`."},
    {"data.patch_size", INT(1, 1024), AT(data.patch_size), .initial = "16", .flags = RESULT,
     .help = "Pixels of a patch's side; divides the crop size."},
    {"data.tubelet_size", INT(1, 64), AT(data.tubelet_size), .initial = "2", .flags = RESULT,
     .help = "Frames of a patch; divides the frames per clip."},
    {"data.fps", DOUBLE(0, 1000), AT(data.fps), .flags = NULLABLE | RESULT | ABOVE | OMIT,
     .help = "Frames a second that a clip takes; this or `frame_step`."},
    {"data.frame_step", INT(1, 1000), AT(data.frame_step), .flags = NULLABLE | OURS | RESULT | OMIT,
     .help = "Every how many frames a clip takes one; 1 is every frame."},
    {"data.sampling", CHOICE(samplings), AT(data.sampling), .initial = "frames", .flags = OURS | RESULT,
     .help = "`frames`: the public rule, a whole number of frames from one to the next; `timestamps`: the frames shown nearest to t0 + k / fps, right for variable frame rates (needs `fps`)."},
    {"data.num_workers", INT(0, 256), AT(data.num_workers), .initial = "1",
     .help = "Decoding threads of a worker."},
    {"data.max_bad_share", DOUBLE(0, 1), AT(data.max_bad_share), .initial = "0.05", .flags = OURS,
     .help = "Share of a dataset's draws that may fail (and be replaced) before the run stops."},
    {"data.packed_folder", TEXT, AT(data.packed_folder), .flags = OURS | NULLABLE,
     .help = "Where lists of videos are packed to; by default `datasets` in the run folder."},
    {"data.persistent_workers", IGNORED, .help = "Loader threads always persist."},
    {"data.pin_mem", IGNORED, .help = "Buffers are pinned where a device wants it."},

    {"data_aug.auto_augment", ONLY(0), AT(data_aug.auto_augment), .initial = "false", .flags = RESULT,
     .help = "Not available."},
    {"data_aug.motion_shift", BOOL, AT(data_aug.motion_shift), .initial = "false", .flags = RESULT,
     .help = "The crop box moves over the clip, at equal steps from one drawn box to another."},
    {"data_aug.random_resize_aspect_ratio", PAIR(0, 100), AT(data_aug.random_resize_aspect_ratio), .initial = "[0.75, 1.3333333333333333]", .flags = RESULT | ABOVE | ASCENDING,
     .help = "Aspect ratio of the crop box, drawn uniformly in its logarithm."},
    {"data_aug.random_resize_scale", PAIR(0, 100), AT(data_aug.random_resize_scale), .initial = "[0.3, 1.0]", .flags = RESULT | ABOVE | ASCENDING,
     .help = "Area of the crop box as a share of the frame, drawn uniformly."},
    {"data_aug.reprob", DOUBLE(0, 1), AT(data_aug.reprob), .initial = "0.0", .flags = RESULT,
     .help = "Probability that a box of the clip, 2 to 33 % of the picture, becomes noise (random erasing)."},
    {"data_aug.horizontal_flip", BOOL, AT(data_aug.horizontal_flip), .initial = "true", .flags = RESULT,
     .help = "Flips a clip with probability 0.5."},

    {"loss.loss_exp", DOUBLE(0, 16), AT(loss_exp), .initial = "1.0", .flags = RESULT | ABOVE,
     .help = "Exponent p of the loss mean(abs(prediction - target)^p) / p."},

    {"mask", .type = CONFIG_TYPE_MASKS, AT(masks), .flags = REQUIRED | RESULT,
     .help = "List of 1 to 8 mask groups."},

    {"meta.dtype", CHOICE(dtypes), AT(meta.dtype), .initial = "float32", .flags = RESULT,
     .help = "Compute type of matrix products and activations; weights, moments and EMA are always float32."},
    {"meta.eval_freq", INT(1, 1e9), AT(meta.eval_freq), .initial = "100",
     .help = "Steps between figures of `target_rank`."},
    {"meta.load_checkpoint", BOOL, AT(meta.load_checkpoint), .initial = "true", .flags = OF_RUN,
     .help = "Whether `read_checkpoint` is read.  A run always goes on from the newest checkpoint of its own folder; `--fresh` starts anew."},
    {"meta.read_checkpoint", TEXT, AT(meta.read_checkpoint), .flags = NULLABLE | OF_RUN,
     .help = "Checkpoint to start from while the run folder has none of its own."},
    {"meta.save_every_freq", INT(-1, 1e9), AT(meta.save_every_freq), .initial = "0",
     .help = "Epochs between checkpoints that are kept for good; 0 or -1: none."},
    {"meta.save_interval", CHOICE(save_intervals), AT(meta.save_interval), .initial = "steps", .flags = OURS,
     .help = "What decides when to save: `steps` (`save_freq_steps`), `minutes` (`save_freq_minutes`), or `auto`, the square-root rule from the measured cost of a save and `lockstep.expected_mtbf_hours`."},
    {"meta.save_freq_steps", INT(1, 1e9), AT(meta.save_freq_steps), .initial = "300", .flags = OURS,
     .help = "Steps between checkpoints, for `save_interval: steps`."},
    {"meta.save_freq_minutes", DOUBLE(0, 1e6), AT(meta.save_freq_minutes), .initial = "15.0", .flags = OURS | ABOVE,
     .help = "Minutes between checkpoints, for `save_interval: minutes`; the most that `auto` may choose."},
    {"meta.keep_last", INT(1, 1e6), AT(meta.keep_last), .initial = "3", .flags = OURS,
     .help = "How many of the newest checkpoints are kept."},
    {"meta.keep_best", INT(0, 1e6), AT(meta.keep_best), .initial = "0", .flags = OURS,
     .help = "How many checkpoints are kept beside them because `best_metric` was best, in the mean of the 50 steps before."},
    {"meta.best_metric", CHOICE(best_metrics), AT(meta.best_metric), .initial = "loss", .flags = OURS,
     .help = "What `keep_best` goes by."},
    {"meta.best_is", CHOICE(bests), AT(meta.best_is), .initial = "min", .flags = OURS,
     .help = "Whether the smallest or the largest value is the best."},
    {"meta.seed", INT64(0, 9e15), AT(meta.seed), .initial = "0", .flags = RESULT,
     .help = "Seed of everything that is drawn."},
    {"meta.skip_batches", IGNORED, .choices = no_skip,
     .help = "Batches to skip: only 0 or -1, since a resumed run draws what it would have drawn."},
    {"meta.sync_gc", IGNORED, .help = "There is no garbage collector."},
    {"meta.use_sdpa", IGNORED, .help = "Attention is always fused."},

    {"model.model_name", TEXT, AT(model.model_name), .initial = "custom",
     .help = "The encoder: one of the table below, or `custom` with the four keys that follow."},
    {"model.embed_dim", INT(1, 65536), AT(model.embed_dim), .flags = OURS | RESULT,
     .help = "Width of a custom encoder."},
    {"model.depth", INT(1, 1024), AT(model.depth), .flags = OURS | RESULT,
     .help = "Blocks of a custom encoder."},
    {"model.num_heads", INT(1, 1024), AT(model.num_heads), .flags = OURS | RESULT,
     .help = "Attention heads of a custom encoder; the width of a head must be even."},
    {"model.mlp_ratio", DOUBLE(0, 64), AT(model.mlp_ratio), .flags = OURS | RESULT | ABOVE,
     .help = "MLP width over width of a custom encoder; 4 by default."},
    {"model.init_std", DOUBLE(0, 10), AT(model.init_std), .initial = "0.02", .flags = OURS | RESULT | ABOVE,
     .help = "Standard deviation of initial weights, encoder and predictor."},
    {"model.pred_depth", INT(1, 1024), AT(model.pred_depth), .initial = "12", .flags = RESULT,
     .help = "Blocks of the predictor."},
    {"model.pred_embed_dim", INT(1, 65536), AT(model.pred_embed_dim), .initial = "384", .flags = RESULT,
     .help = "Width of the predictor."},
    {"model.pred_num_heads", INT(1, 1024), AT(model.pred_num_heads), .flags = NULLABLE | RESULT,
     .help = "Attention heads of the predictor; by default those of the encoder."},
    {"model.pred_mlp_ratio", DOUBLE(0, 64), AT(model.pred_mlp_ratio), .initial = "4.0", .flags = OURS | RESULT | ABOVE,
     .help = "MLP width over width of the predictor."},
    {"model.uniform_power", IGNORED, .help = "Splits the channels of fixed position embeddings, which rotary positions replace."},
    {"model.use_activation_checkpointing", BOOL, AT(model.use_activation_checkpointing), .initial = "false",
     .help = "Recompute blocks in the backward pass to save memory."},
    {"model.use_mask_tokens", ONLY(1), AT(model.use_mask_tokens), .initial = "true", .flags = RESULT,
     .help = "Must be true: a predictor without mask tokens is not available."},
    {"model.zero_init_mask_tokens", BOOL, AT(model.zero_init_mask_tokens), .initial = "true", .flags = RESULT,
     .help = "Mask tokens start at 0, else at random with `init_std`."},
    {"model.use_rope", ONLY(1), AT(model.use_rope), .initial = "true", .flags = RESULT,
     .help = "Must be true: only rotary positions are available."},
    {"model.use_silu", ONLY(0), AT(model.use_silu), .initial = "false", .flags = RESULT,
     .help = "Must be false: blocks have a GELU MLP."},
    {"model.use_pred_silu", IGNORED, .choices = only_false,
     .help = "Must be false: blocks have a GELU MLP."},
    {"model.wide_silu", IGNORED, .help = "Has an effect only with `use_silu`, which is not available."},
    {"model.compile_model", IGNORED, .help = "There is nothing to compile."},

    {"optimization.is_anneal", BOOL, AT(optimization.is_anneal), .initial = "false", .flags = RESULT,
     .help = "Cool-down: start from `anneal_ckpt`, learning rate falls linearly from `lr` to `final_lr`."},
    {"optimization.anneal_ckpt", TEXT, AT(optimization.anneal_ckpt), .flags = NULLABLE | OF_RUN,
     .help = "Checkpoint that a cool-down starts from."},
    {"optimization.resume_anneal", IGNORED,
     .help = "A run, cool-down or not, always goes on from its own newest checkpoint; `--fresh` starts anew."},
    {"optimization.epochs", INT(1, 1e8), AT(optimization.epochs), .flags = NULLABLE,
     .help = "Length of the run in epochs of `ipe` steps; this or `steps`."},
    {"optimization.steps", INT64(1, 1e9), AT(optimization.total_steps), .flags = NULLABLE | OURS,
     .help = "Length of the run in steps; this or `epochs`."},
    {"optimization.ipe", INT(1, 1e9), AT(optimization.ipe), .flags = NULLABLE | OMIT,
     .help = "Steps of an epoch; by default one pass over the data, or all of `steps`."},
    {"optimization.ipe_scale", DOUBLE(0, 1000), AT(optimization.ipe_scale), .initial = "1.0", .flags = ABOVE,
     .help = "Horizon of the schedules over the length of the run: above 1 they stop short of their final values."},
    {"optimization.warmup", DOUBLE(0, 1e9), AT(optimization.warmup), .flags = NULLABLE,
     .help = "Linear warm-up of the learning rate in epochs; this or `warmup_steps`."},
    {"optimization.warmup_steps", INT64(0, 1e9), AT(optimization.warmup_steps), .flags = NULLABLE | OURS,
     .help = "Linear warm-up of the learning rate in steps; this or `warmup`."},
    {"optimization.start_lr", DOUBLE(0, 1000), AT(optimization.start_lr), .flags = REQUIRED | RESULT,
     .help = "Learning rate before the warm-up."},
    {"optimization.lr", DOUBLE(0, 1000), AT(optimization.lr), .flags = REQUIRED | RESULT,
     .help = "Learning rate after the warm-up; of one step, whatever the number of workers."},
    {"optimization.final_lr", DOUBLE(0, 1000), AT(optimization.final_lr), .flags = REQUIRED | RESULT,
     .help = "Learning rate at the end of the schedule (cosine; linear in a cool-down)."},
    {"optimization.weight_decay", DOUBLE(0, 1000), AT(optimization.weight_decay), .flags = REQUIRED | RESULT,
     .help = "Weight decay of AdamW at the start; none for biases and 1-D parameters."},
    {"optimization.final_weight_decay", DOUBLE(0, 1000), AT(optimization.final_weight_decay), .flags = REQUIRED | RESULT,
     .help = "Weight decay at the end of the schedule (cosine)."},
    {"optimization.ema", PAIR(0, 1), AT(optimization.ema), .flags = REQUIRED | RESULT,
     .help = "Share of the old target kept at each update, from first to last (linear)."},
    {"optimization.betas", PAIR(0, 1), AT(optimization.beta1), .initial = "[0.9, 0.999]", .flags = RESULT | BELOW,
     .help = "Decay of AdamW's two moments."},
    {"optimization.eps", DOUBLE(0, 1), AT(optimization.eps), .initial = "1.0e-8", .flags = RESULT | ABOVE,
     .help = "AdamW's epsilon."},
    {"optimization.grad_clip", DOUBLE(0, 1e9), AT(optimization.grad_clip), .initial = "0.0", .flags = OURS | RESULT,
     .help = "Largest norm of the gradient; 0: not clipped."},
    {"optimization.loss_spike", DOUBLE(0, 1e6), AT(optimization.loss_spike), .initial = "0.0", .flags = OURS | RESULT,
     .help = "A step whose loss lies more than this many robust standard deviations above the median of `loss_spike_window` steps updates nothing, like one that is not finite; 0: off.  10 is a careful value."},
    {"optimization.loss_spike_window", INT(8, 1024), AT(optimization.loss_spike_window), .initial = "100", .flags = OURS | RESULT,
     .help = "Steps that `loss_spike` compares a loss with; until there are so many nothing is a spike."},
    {"optimization.optimizer_state", CHOICE(optimizer_states), AT(optimization.optimizer_state), .initial = "replicated", .flags = OURS,
     .help = "`sharded`: each worker keeps and updates its range of moments and weights."},

    {"lockstep.device", CHOICE(devices), AT(run.device), .initial = "auto", .flags = OURS,
     .help = "Where the model computes; `auto` takes a GPU where one is found, and says so.  `emulated` is for test builds."},
    {"lockstep.threads", INT(0, 1024), AT(run.threads), .initial = "0", .flags = OURS,
     .help = "Compute threads of a worker; 0: cores / workers of the machine.  Bits depend on it."},
    {"lockstep.start_timeout_s", DOUBLE(0, 1e6), AT(run.start_timeout_s), .initial = "300.0", .flags = OURS | ABOVE,
     .help = "Seconds for the workers to find each other."},
    {"lockstep.step_timeout_s", DOUBLE(0, 1e6), AT(run.step_timeout_s), .initial = "0.0", .flags = OURS,
     .help = "Seconds for a step; 0: 10 times the median of the last steps, at least 60 (the first ones have `start_timeout_s`)."},
    {"lockstep.save_timeout_s", DOUBLE(0, 1e6), AT(run.save_timeout_s), .initial = "1800.0", .flags = OURS | ABOVE,
     .help = "Seconds for saving or loading a checkpoint."},
    {"lockstep.silence_timeout_s", DOUBLE(0, 1e6), AT(run.silence_timeout_s), .initial = "60.0", .flags = OURS | ABOVE,
     .help = "Seconds without a sign of life of a worker after which the launcher ends and restarts all."},
    {"lockstep.starter", CHOICE(starters), AT(run.starter), .initial = "auto", .flags = OURS,
     .help = "What starts the workers: `mpirun`, or in a SLURM job `srun --mpi=pmix`.  `auto`: mpirun where it is found."},
    {"lockstep.max_restarts", INT(0, 1000000), AT(run.max_restarts), .initial = "3", .flags = OURS,
     .help = "Restarts after failures within any `restart_window_s`."},
    {"lockstep.restart_window_s", DOUBLE(0, 1e9), AT(run.restart_window_s), .initial = "3600.0", .flags = OURS | ABOVE,
     .help = "Seconds in which `max_restarts` are counted."},
    {"lockstep.min_workers", INT(0, 65536), AT(run.min_workers), .initial = "0", .flags = OURS,
     .help = "Fewest workers that a restart may go on with, without machines that failed twice; 0: all are needed."},
    {"lockstep.memory_mb", INT(0, 1 << 24), AT(run.memory_mb), .initial = "0", .flags = OURS,
     .help = "Memory that a worker's model may take on its device, MiB: as few blocks as that needs are recomputed in the backward pass, in place of all or none of them (`model.use_activation_checkpointing`).  Results are the same bits.  0: not looked at."},
    {"lockstep.bucket_mb", INT(1, 4096), AT(run.bucket_mb), .initial = "25", .flags = OURS,
     .help = "Gradient bucket of an all-reduce, MiB."},
    {"lockstep.gpu_comm", CHOICE(gpu_comms), AT(run.gpu_comm), .initial = "auto", .flags = OURS,
     .help = "How workers on GPUs sum gradients: `nccl` from card to card, `mpi` through host memory; `auto`: NCCL where the build has it and every worker has a card of its own."},
    {"lockstep.deterministic", BOOL, AT(run.deterministic), .initial = "false", .flags = OURS,
     .help = "On GPUs, do all sums in a fixed order (backward of attention; NCCL by ring and simple protocol), so that repeats are bit-equal; slower.  CPUs always do."},
    {"lockstep.bucket_tokens", INT(0, 65536), AT(run.bucket_tokens), .initial = "0", .flags = OURS,
     .help = "On a GPU, lengths of sequences are padded to multiples of this.  0: a power of two from 8 to 128, about a 64th of a clip's tokens.  On the CPU nothing is padded."},
    {"lockstep.prefetch", INT(1, 1024), AT(run.prefetch), .initial = "2", .flags = OURS,
     .help = "Micro-batches decoded ahead."},
    {"lockstep.max_failed_saves", INT(1, 1000000), AT(run.max_failed_saves), .initial = "10", .flags = OURS,
     .help = "Saves that fail in a row before the run ends (exit code 15); until then each is a warning and is tried again."},
    {"lockstep.expected_mtbf_hours", DOUBLE(0, 1e6), AT(run.expected_mtbf_hours), .initial = "24.0", .flags = OURS | ABOVE,
     .help = "Hours between failures of the whole job, for `meta.save_interval: auto`."},
    {"lockstep.tensorboard", BOOL, AT(run.tensorboard), .initial = "true", .flags = OURS,
     .help = "Write every number of `metrics.jsonl` to `RUN/tensorboard/` too, for `tensorboard --logdir`."},
    {"lockstep.ranks_freq", INT(0, 100000), AT(run.ranks_freq), .initial = "50", .flags = OURS,
     .help = "Steps between lines of `ranks.jsonl`, in which a slow worker and its slow part are named.  0: never."},
    {"lockstep.audit_freq", INT(0, 1000000000), AT(run.audit_freq), .initial = "500", .flags = OURS,
     .help = "Steps between audits: weights, moments and EMA of all workers are compared, and before every save.  0: never."},
    {"lockstep.max_bad_steps", INT(1, 1000000), AT(run.max_bad_steps), .initial = "10", .flags = OURS,
     .help = "Steps in a row with a loss that is not finite, or a spike, before the run goes back to its newest checkpoint."},
    {"lockstep.collapse_std_share", DOUBLE(0, 1), AT(run.collapse_std_share), .initial = "0.6", .flags = OURS,
     .help = "Warning and report call it a collapse when `target_std` is below this share of its early value; 0: never."},
    {"lockstep.collapse_rank_share", DOUBLE(0, 1), AT(run.collapse_rank_share), .initial = "0.45", .flags = OURS,
     .help = "The same when `target_rank` is below this share of its first value; 0: never."},

    {"slurm.account", TEXT, AT(slurm.account), .flags = OURS | NULLABLE,
     .help = "Account that is charged."},
    {"slurm.partition", TEXT, AT(slurm.partition), .flags = OURS | NULLABLE,
     .help = "Partition; by default the site's."},
    {"slurm.qos", TEXT, AT(slurm.qos), .flags = OURS | NULLABLE,
     .help = "Quality of service."},
    {"slurm.constraint", TEXT, AT(slurm.constraint), .flags = OURS | NULLABLE,
     .help = "Features that nodes must have."},
    {"slurm.time", TEXT, AT(slurm.time), .flags = OURS | NULLABLE,
     .help = "Time limit of a job, for example `1-12:00:00`; the run goes on in the next."},
    {"slurm.signal", TEXT, AT(slurm.signal), .initial = "USR1@120", .flags = OURS,
     .help = "SLURM's warning, NAME@SECONDS before the end of a job: INT, TERM, USR1 or USR2.  A step and a save must fit into it."},
    {"slurm.gpus_per_node", INT(-1, 1024), AT(slurm.gpus_per_node), .initial = "-1", .flags = OURS,
     .help = "GPUs asked for on a node; -1: `tasks_per_node`, or none where `lockstep.device` is cpu or emulated."},
    {"slurm.extra", TEXT, AT(slurm.extra), .flags = OURS | NULLABLE,
     .help = "More options of sbatch, one a line, for example `--exclusive`."},
    {"slurm.template", TEXT, AT(slurm.template_path), .flags = OURS | NULLABLE,
     .help = "Job script to fill in place of `slurm/train.sbatch`."},
    {"slurm.setup", TEXT, AT(slurm.setup), .flags = OURS | NULLABLE,
     .help = "Shell lines that the job runs first: modules to load, variables of the site."},
    {"slurm.container", TEXT, AT(slurm.container), .flags = OURS | NULLABLE,
     .help = "Words before the worker program, for example `apptainer exec --nv IMAGE`; cut at spaces."},
};
const int config_key_count = sizeof config_keys / sizeof *config_keys;

const struct config_key config_mask_keys[] = {
    {"num_blocks", INT(1, 1024), AT_MASK(num_blocks), .flags = REQUIRED | RESULT,
     .help = "Blocks whose union is predicted."},
    {"spatial_scale", PAIR(0, 1), AT_MASK(spatial_scale), .flags = REQUIRED | RESULT | ABOVE | ASCENDING,
     .help = "Area of a block as a share of the grid, drawn uniformly."},
    {"temporal_scale", PAIR(0, 1), AT_MASK(temporal_scale), .initial = "[1.0, 1.0]", .flags = RESULT | ABOVE | ASCENDING,
     .help = "Length of a block as a share of the clip, drawn uniformly."},
    {"aspect_ratio", PAIR(0, 1000), AT_MASK(aspect_ratio), .flags = REQUIRED | RESULT | ABOVE | ASCENDING,
     .help = "Height over width of a block, drawn uniformly."},
    {"max_temporal_keep", DOUBLE(0, 1), AT_MASK(max_temporal_keep), .initial = "1.0", .flags = RESULT | ABOVE,
     .help = "Share of the clip, from its start, that context may lie in."},
    {"max_keep", INT(1, 100000000), AT_MASK(max_keep), .flags = NULLABLE | RESULT | OMIT,
     .help = "Most context tokens; null: no limit."},
    {"full_complement", BOOL, AT_MASK(full_complement), .initial = "false", .flags = RESULT,
     .help = "Predict everything that is not context, after the context lists are cut to the batch's shortest."},
    {"pred_full_complement", BOOL, AT_MASK(pred_full_complement), .initial = "false", .flags = RESULT,
     .help = "Context is everything that is not predicted, after the lists of predictions are cut to the batch's shortest."},
    {"inv_block", BOOL, AT_MASK(inv_block), .initial = "false", .flags = RESULT,
     .help = "Swap context and prediction."},
};
/* clang-format on */
const int config_mask_key_count = sizeof config_mask_keys / sizeof *config_mask_keys;

const struct config_encoder config_encoders[] = {
    {"vit_tiny", 192, 12, 3, 4.0},
    {"vit_small", 384, 12, 6, 4.0},
    {"vit_base", 768, 12, 12, 4.0},
    {"vit_large", 1024, 24, 16, 4.0},
    {"vit_huge", 1280, 32, 16, 4.0},
    {"vit_giant_xformers", 1408, 40, 22, 48.0 / 11.0},
    {"vit_gigantic_xformers", 1664, 48, 26, 4.0},
};
const int config_encoder_count = sizeof config_encoders / sizeof *config_encoders;

int config_key_find(const char *path)
{
    for (int i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].path, path) == 0)
            return i;
    return -1;
}
