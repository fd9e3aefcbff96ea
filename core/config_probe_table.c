/* The keys of a probe's config, in the order in which they are dumped and documented. */
#include "core/config_probe_table.h"

#include <string.h>

#define AT(member) .offset = offsetof(struct config_probe, member)
#define AT_HEAD(member) .offset = offsetof(struct config_probe_head, member)
#define BOOL .type = CONFIG_TYPE_BOOL, .low = 0, .high = 1
#define INT(lowest, highest) .type = CONFIG_TYPE_INT, .low = (lowest), .high = (highest)
#define INT64(lowest, highest) .type = CONFIG_TYPE_INT64, .low = (lowest), .high = (highest)
#define DOUBLE(lowest, highest) .type = CONFIG_TYPE_DOUBLE, .low = (lowest), .high = (highest)
#define PAIR(lowest, highest) .type = CONFIG_TYPE_PAIR, .low = (lowest), .high = (highest)
#define TEXT .type = CONFIG_TYPE_TEXT
#define IGNORED .type = CONFIG_TYPE_IGNORED
#define CHOICE(list) .type = CONFIG_TYPE_CHOICE, .choices = (list)

static const char *const inits[] = {"both", "pretrained", "random", NULL};
static const char *const networks[] = {"target_encoder", "encoder", NULL};
static const char *const dtypes[] = {"false", "true", NULL}; /* as enum config_dtype */
static const char *const only_false[] = {"false", NULL};
static const char *const only_true[] = {"true", NULL};
static const char *const only_eval[] = {"video_classification_frozen", NULL};
static const char *const only_videos[] = {"VideoDataset", "videodataset", NULL};
static const char *const only_multiclip[] = {
    "evals.video_classification_frozen.modelcustom.vit_encoder_multiclip", NULL};
static const char *const nothing[] = {"null", NULL};

enum {
    REQUIRED = CONFIG_REQUIRED,
    NULLABLE = CONFIG_NULLABLE,
    OURS = CONFIG_OURS,
    ABOVE = CONFIG_ABOVE_LOW,
    OMIT = CONFIG_OMIT_ZERO,
    ASCENDING = CONFIG_ASCENDING
};

/* clang-format off */
const struct config_key config_probe_keys[] = {
    {"eval_name", IGNORED, .choices = only_eval,
     .help = "The evaluation: only `video_classification_frozen`."},
    {"folder", TEXT, AT(base.folder), .flags = REQUIRED,
     .help = "Folder of the probe's own files; results go to the run that the encoder comes from (docs/formats.md)."},
    {"tag", TEXT, AT(tag), .flags = NULLABLE,
     .help = "Begins the names of the results' files; `probe` by default."},
    {"nodes", INT(1, 65536), AT(base.nodes), .initial = "1",
     .help = "Machines; with `tasks_per_node` it gives M, the micro-batches of a step."},
    {"tasks_per_node", INT(1, 1024), AT(base.tasks_per_node), .initial = "1",
     .help = "Workers a machine.  M = nodes x tasks_per_node stays what it is with more or fewer workers."},
    {"cpus_per_task", INT(1, 4096), AT(base.cpus_per_task), .flags = NULLABLE | OMIT,
     .help = "CPU cores of a worker, for SLURM."},
    {"mem_per_gpu", TEXT, AT(base.mem_per_gpu), .flags = NULLABLE,
     .help = "Host memory of a worker, for SLURM."},
    {"max_workers", IGNORED, .help = "Of the public starter."},
    {"num_workers", INT(1, 256), AT(base.data.num_workers), .initial = "2",
     .help = "Decoding threads of a worker."},
    {"resume_checkpoint", IGNORED, .help = "A probe that was stopped starts anew."},
    {"val_only", IGNORED, .choices = only_false, .help = "Must be false."},
    {"init", CHOICE(inits), AT(init), .initial = "both", .flags = OURS,
     .help = "What is probed: the `pretrained` encoder, the same one at `random` initial weights, or `both`, one after the other."},
    {"seed", INT64(0, 9e15), AT(base.meta.seed), .initial = "0", .flags = OURS,
     .help = "Seed of draws, of the classifiers' and of the random encoder's first weights."},
    {"knn", INT(0, 1000), AT(knn), .initial = "10", .flags = OURS,
     .help = "Neighbours of the k-NN figure; 0: none."},

    {"experiment.classifier.num_heads", INT(1, 1024), AT(pool_heads), .initial = "16",
     .help = "Attention heads of the classifiers; they divide the encoder's width."},
    {"experiment.classifier.num_probe_blocks", INT(1, 64), AT(pool_blocks), .initial = "1",
     .help = "Blocks of the attentive pooler; the last one is the query's."},

    {"experiment.data.dataset_type", IGNORED, .choices = only_videos, .help = "Only `VideoDataset`."},
    {"experiment.data.dataset_train", TEXT, AT(train), .flags = REQUIRED,
     .help = "Packed dataset with labels, or a list of `path label` lines that is packed first."},
    {"experiment.data.dataset_val", TEXT, AT(test), .flags = REQUIRED, .help = "The same for the test."},
    {"experiment.data.labels", INT(0, 1000000000), AT(labels), .initial = "0", .flags = OURS | OMIT,
     .help = "Labelled videos of `dataset_train` that are used, as many of each class as can be, the first ones of the data set; 0: all."},
    {"experiment.data.num_classes", INT(2, 1000000), AT(classes), .flags = NULLABLE | OMIT,
     .help = "Number of classes; by default one more than the largest label of `dataset_train`."},
    {"experiment.data.frames_per_clip", INT(1, 1024), AT(frames_per_clip), .initial = "16",
     .help = "Frames of a clip."},
    {"experiment.data.frame_step", INT(0, 1000), AT(base.data.frame_step), .initial = "4",
     .help = "Every how many frames a clip takes one; 0: as `fps` says."},
    {"experiment.data.fps", DOUBLE(0, 1000), AT(base.data.fps), .initial = "0.0", .flags = OURS,
     .help = "With `frame_step: 0`: frames a second that a clip takes, by the pretraining's rule."},
    {"experiment.data.clip_duration", IGNORED, .choices = nothing, .help = "Not available: use `frame_step`."},
    {"experiment.data.num_segments", INT(1, 64), AT(segments), .initial = "1",
     .help = "Clips of a video, spread over it; a classifier sees the tokens of all of them."},
    {"experiment.data.num_views_per_segment", INT(1, 64), AT(views), .initial = "1",
     .help = "At the test, crops along the frame's long side; softmax outputs are averaged over them."},
    {"experiment.data.resolution", INT(1, 8192), AT(resolution), .initial = "224",
     .help = "Pixels of a clip's square frames; need not be the pretraining's."},
    {"experiment.data.normalization", IGNORED, .choices = nothing, .help = "Always the encoder's own."},
    {"experiment.data.augment", BOOL, AT(augment), .initial = "true", .flags = OURS,
     .help = "Training clips are random in time and crop.  `false`: they are taken as at a test with one view, and their features are made once and kept in memory."},
    {"experiment.data.random_resize_scale", PAIR(0, 1), AT(base.data_aug.random_resize_scale), .initial = "[0.08, 1.0]", .flags = OURS | ABOVE | ASCENDING,
     .help = "Area of a training crop as a share of the frame."},
    {"experiment.data.random_resize_aspect_ratio", PAIR(0, 100), AT(base.data_aug.random_resize_aspect_ratio), .initial = "[0.75, 1.3333333333333333]", .flags = OURS | ABOVE | ASCENDING,
     .help = "Aspect ratio of a training crop."},
    {"experiment.data.test_scale", DOUBLE(0, 1), AT(test_scale), .initial = "0.875", .flags = OURS | ABOVE,
     .help = "With one view: side of the central test crop over the frame's short side (public: 224/256).  More views take the whole short side."},

    {"experiment.optimization.batch_size", INT(1, 65536), AT(base.data.batch_size), .flags = REQUIRED,
     .help = "Videos of a micro-batch.  A step has M x batch_size videos."},
    {"experiment.optimization.num_epochs", INT(1, 1000000), AT(epochs), .flags = REQUIRED,
     .help = "Passes over the training videos."},
    {"experiment.optimization.use_bfloat16", CHOICE(dtypes), AT(base.meta.dtype), .initial = "false",
     .help = "Matrix products and activations in bfloat16."},
    {"experiment.optimization.use_pos_embed", IGNORED, .choices = only_false, .help = "Must be false."},
    {"experiment.optimization.multihead_kwargs", IGNORED,
     .help = "List of 1 to 256 classifiers that are trained at once; the keys of each are below."},

    {"model_kwargs.checkpoint", TEXT, AT(checkpoint), .flags = REQUIRED,
     .help = "The encoder: a run folder (its newest good checkpoint) or one checkpoint's folder.  `lockstep import` makes one from safetensors."},
    {"model_kwargs.module_name", IGNORED, .choices = only_multiclip,
     .help = "Only the public encoder of several clips."},
    {"model_kwargs.pretrain_kwargs.encoder.checkpoint_key", CHOICE(networks), AT(network), .initial = "target_encoder",
     .help = "Which network of the checkpoint: `target_encoder` (EMA) or `encoder`."},
    {"model_kwargs.pretrain_kwargs.encoder.model_name", TEXT, AT(model_name), .flags = NULLABLE,
     .help = "Must be the checkpoint's, when given."},
    {"model_kwargs.pretrain_kwargs.encoder.patch_size", INT(1, 1024), AT(patch_size), .flags = NULLABLE | OMIT,
     .help = "Must be the checkpoint's, when given."},
    {"model_kwargs.pretrain_kwargs.encoder.tubelet_size", INT(1, 64), AT(tubelet_size), .flags = NULLABLE | OMIT,
     .help = "Must be the checkpoint's, when given."},
    {"model_kwargs.pretrain_kwargs.encoder.img_temporal_dim_size", IGNORED, .choices = nothing, .help = "Must be null."},
    {"model_kwargs.pretrain_kwargs.encoder.uniform_power", IGNORED, .help = "Has no effect with rotary positions."},
    {"model_kwargs.pretrain_kwargs.encoder.use_rope", IGNORED, .choices = only_true, .help = "Must be true."},
    {"model_kwargs.pretrain_kwargs.encoder.use_silu", IGNORED, .choices = only_false, .help = "Must be false."},
    {"model_kwargs.pretrain_kwargs.encoder.use_sdpa", IGNORED, .help = "Attention is always fused."},
    {"model_kwargs.pretrain_kwargs.encoder.use_activation_checkpointing", IGNORED, .help = "The encoder is not trained."},
    {"model_kwargs.wrapper_kwargs.max_frames", IGNORED, .help = "Of position embeddings, which are not used."},
    {"model_kwargs.wrapper_kwargs.use_pos_embed", IGNORED, .choices = only_false, .help = "Must be false."},
};
const int config_probe_key_count = sizeof config_probe_keys / sizeof *config_probe_keys;

const struct config_key config_probe_head_keys[] = {
    {"lr", DOUBLE(0, 1000), AT_HEAD(lr), .flags = REQUIRED, .help = "Learning rate after the warm-up; falls by cosine to `final_lr`."},
    {"start_lr", DOUBLE(0, 1000), AT_HEAD(start_lr), .initial = "0.0", .help = "Learning rate before the warm-up."},
    {"final_lr", DOUBLE(0, 1000), AT_HEAD(final_lr), .initial = "0.0", .help = "Learning rate at the end."},
    {"warmup", DOUBLE(0, 1e6), AT_HEAD(warmup), .initial = "0.0", .help = "Linear warm-up in epochs."},
    {"weight_decay", DOUBLE(0, 1000), AT_HEAD(weight_decay), .flags = REQUIRED, .help = "Weight decay of AdamW, on all parameters; goes by cosine to `final_weight_decay`."},
    {"final_weight_decay", DOUBLE(0, 1000), AT_HEAD(final_weight_decay), .flags = REQUIRED, .help = "Weight decay at the end."},
};
/* clang-format on */
const int config_probe_head_key_count =
    sizeof config_probe_head_keys / sizeof *config_probe_head_keys;

int config_probe_key_find(const char *path)
{
    for (int i = 0; i < config_probe_key_count; i++)
        if (strcmp(config_probe_keys[i].path, path) == 0)
            return i;
    return -1;
}
