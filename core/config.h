/* The configuration of a run: the public V-JEPA 2 YAML schema plus a few keys of ours
 * (docs/config.md).
 *
 * One table in core/config_table.c {path, type, field, default, range, help} drives parsing, --set,
 * the dump and docs.  The struct is filled once and then only read. */
#ifndef LOCKSTEP_CORE_CONFIG_H
#define LOCKSTEP_CORE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum config_dtype { CONFIG_FLOAT32, CONFIG_BFLOAT16 };
enum config_sampling { CONFIG_SAMPLING_FRAMES, CONFIG_SAMPLING_TIMESTAMPS };
enum config_save_interval { CONFIG_SAVE_STEPS, CONFIG_SAVE_MINUTES, CONFIG_SAVE_AUTO };
enum config_best_metric {
    CONFIG_BEST_LOSS,
    CONFIG_BEST_TARGET_STD,
    CONFIG_BEST_TARGET_RANK,
    CONFIG_BEST_COSINE
};
enum config_best { CONFIG_BEST_SMALLEST, CONFIG_BEST_LARGEST };
enum config_optimizer_state { CONFIG_REPLICATED, CONFIG_SHARDED };
enum config_gpu_comm { CONFIG_GPU_COMM_AUTO, CONFIG_GPU_COMM_NCCL, CONFIG_GPU_COMM_MPI };
enum config_device {
    CONFIG_DEVICE_AUTO,
    CONFIG_DEVICE_CPU,
    CONFIG_DEVICE_CUDA,
    CONFIG_DEVICE_EMULATED /* test builds only */
};

enum config_starter { CONFIG_STARTER_AUTO, CONFIG_STARTER_MPIRUN, CONFIG_STARTER_SRUN };

enum { CONFIG_MASK_GROUPS_MAX = 8 };

struct config_dataset {
    char *path;          /* a packed dataset (folder) or a `path label` list */
    double weight;       /* as written; NaN when the config gives no weights */
    int frames_per_clip; /* entry of dataset_fpcs */
};

struct config_mask {
    int num_blocks;
    double spatial_scale[2];
    double temporal_scale[2];
    double aspect_ratio[2];
    double max_temporal_keep;
    int max_keep; /* 0: null in the file, no limit */
    bool full_complement;
    bool pred_full_complement;
    bool inv_block;
};

struct config_data {
    struct config_dataset *datasets;
    int dataset_count;
    bool weighted;   /* datasets_weights given: draw with replacement */
    int batch_size;  /* clips a micro-batch */
    int crop_height; /* pixels; crop_size S gives S x S, [H, W] gives both */
    int crop_width;
    int patch_size;   /* pixels */
    int tubelet_size; /* frames */
    double fps;       /* target frames/s of a clip; 0: frame_step is given */
    int frame_step;   /* 0: fps is given; 1: every frame */
    int num_workers;  /* decode threads a rank */
    enum config_sampling sampling;
    double max_bad_share; /* share of failed draws above which a run stops */
    char *packed_folder;  /* where lists are packed to; NULL: RUN/datasets */
};

struct config_augmentation {
    double random_resize_scale[2];
    double random_resize_aspect_ratio[2];
    bool auto_augment; /* refused when true */
    bool motion_shift;
    double reprob;
    bool horizontal_flip;
};

struct config_model {
    char *model_name; /* vit_tiny ... vit_gigantic_xformers, or "custom" */
    int embed_dim, depth, num_heads;
    double mlp_ratio;
    double init_std; /* encoder and predictor */
    int pred_embed_dim, pred_depth, pred_num_heads;
    double pred_mlp_ratio;
    int num_mask_tokens;            /* mask groups x datasets */
    bool use_mask_tokens, use_rope; /* always true: false is refused */
    bool use_silu;                  /* always false: true is refused */
    bool zero_init_mask_tokens;
    bool use_activation_checkpointing;
};

struct config_optimization {
    double lr, start_lr, final_lr;
    double weight_decay, final_weight_decay;
    double ema[2];
    double beta1, beta2, eps;
    double grad_clip;      /* 0: off */
    double loss_spike;     /* robust z-score of a spike; 0: off */
    int loss_spike_window; /* steps that it is held against */
    int epochs;
    int ipe; /* steps an epoch; 0 until config_set_ipe when the config leaves it to the data */
    double ipe_scale;
    double warmup; /* epochs, as in the file */
    bool is_anneal;
    char *anneal_ckpt; /* NULL when absent */
    enum config_optimizer_state optimizer_state;
    /* Resolved from the above, or from our keys `steps` and `warmup_steps`; 0 while ipe is. */
    int64_t total_steps;    /* epochs * ipe */
    int64_t warmup_steps;   /* int(warmup * ipe) */
    int64_t schedule_steps; /* T_max of all schedules: int(ipe_scale * epochs * ipe) */
};

struct config_meta {
    enum config_dtype dtype;
    int eval_freq;                           /* steps between target_rank figures */
    int save_every_freq;                     /* epochs between milestones, public; 0: none */
    enum config_save_interval save_interval; /* what decides when to save, ours */
    int save_freq_steps;                     /* steps between saves, ours */
    double save_freq_minutes;                /* minutes between saves; at most, for `auto` */
    int keep_last;                           /* newest checkpoints kept */
    int keep_best;                           /* and the best ones by a metric */
    enum config_best_metric best_metric;
    enum config_best best_is;
    int64_t seed;
    bool load_checkpoint;
    char *read_checkpoint; /* NULL when absent */
};

struct config_run { /* `lockstep:` section, ours: how it is run, never what is computed */
    enum config_device device;
    int threads; /* compute threads a worker; 0: cores / local ranks */
    double start_timeout_s, save_timeout_s, silence_timeout_s;
    double step_timeout_s;      /* 0: from the steps before */
    int max_failed_saves;       /* in a row, that end the run */
    double expected_mtbf_hours; /* between failures, for `save_interval: auto` */
    enum config_starter starter;
    int max_restarts; /* within any restart_window_s */
    double restart_window_s;
    int min_workers;   /* fewest that a restart may go on with; 0: all */
    int memory_mb;     /* that a worker's model may take; 0: not looked at */
    int bucket_mb;     /* gradient bucket, MiB */
    int bucket_tokens; /* sequences are padded to multiples of it on a GPU; 0: by the clip */
    enum config_gpu_comm gpu_comm;
    bool deterministic; /* sums on GPUs in a fixed order */
    int prefetch;       /* micro-batches decoded ahead */
    int max_bad_steps;
    double collapse_std_share, collapse_rank_share; /* of the early value; 0: no warning */
    bool tensorboard;                               /* event files beside metrics.jsonl */
    int ranks_freq; /* steps between lines of ranks.jsonl; 0: none */
    int audit_freq; /* steps between audits; 0: none, not even before saves */
};

struct config_slurm { /* `slurm:` section, ours: what `lockstep submit` asks for; NULL: not given */
    char *account, *partition, *qos, *constraint;
    char *time;          /* as sbatch takes it */
    char *signal;        /* "USR1@120": SLURM's warning and how many seconds before the end */
    char *extra;         /* more #SBATCH options, one a line */
    char *template_path; /* of the job script */
    char *setup;         /* shell lines before the run starts */
    char *container;     /* words before the worker program */
    int gpus_per_node;   /* -1: one a task where the device is a GPU */
};

struct config {
    char *source; /* file it was read from */
    char *app;
    char *name;             /* of the run or stage, for people; NULL when absent */
    char *folder;           /* the run folder */
    int stage, stage_count; /* which of how many (core/config_stages.h); 0 of 1 without stages */
    int64_t first_step;     /* steps of the stages before this one */
    int nodes, tasks_per_node, cpus_per_task;
    char *mem_per_gpu;
    int micro_batches; /* M = nodes * tasks_per_node */
    struct config_data data;
    struct config_augmentation data_aug;
    double loss_exp;
    struct config_mask masks[CONFIG_MASK_GROUPS_MAX];
    int mask_count;
    struct config_meta meta;
    struct config_model model;
    struct config_optimization optimization;
    struct config_run run;
    struct config_slurm slurm;
};

/* Read, check and resolve a config.
 *
 *   path          YAML file
 *   overrides     `key.path=value` texts from --set, applied in order; borrowed
 *   out           owned by the caller: config_close
 *
 * Local.  Errors: LS_USAGE with one line "FILE:LINE: key: what is wrong, what is allowed (nearest
 * known key: ...)"; LS_IO when it cannot be read.  Ignored keys are logged once, at info level. */
ls_status config_open(struct config **out, const char *path, const char *const *overrides,
                      int override_count) LS_MUST_CHECK;
void config_close(struct config **config);

/* The same for one stage of a file that has `stages`; config_open is stage 0.  A file without has
 * only that.  Local.  Errors: as config_open. */
ls_status config_open_stage(struct config **out, const char *path, const char *const *overrides,
                            int override_count, int stage) LS_MUST_CHECK;

/* The same from text, as config_dump made it (a run's, a checkpoint's); `source` is what failures
 * name.  Local.  Errors: LS_USAGE, LS_NOMEM. */
ls_status config_open_text(struct config **out, const char *text, const char *source) LS_MUST_CHECK;

/* Give a config whose `ipe` is null (optimization.ipe == 0) its steps an epoch: the data's clips /
 * (batch_size * micro_batches), at least 1; resolves all step counts.  A config that has an ipe is
 * left alone.  Local.  Errors: LS_USAGE when the schedule does not fit the run. */
ls_status config_set_ipe(struct config *config, int64_t ipe) LS_MUST_CHECK;

/* Warn, one line each, of a schedule that can run but is hardly meant: a warm-up longer than the
 * run, schedules that do not reach their final values.  Local; the launcher, once. */
void config_warn(const struct config *config);

/* Seconds that slurm.signal asks for between SLURM's warning and the end of the job.  Local. */
double config_slurm_warning_s(const struct config *config);

/* The resolved config as YAML that config_open reads back to the same struct; owned by the caller.
 * Local. */
ls_status config_dump(char **out, const struct config *config) LS_MUST_CHECK;

/* The part of the config that determines results (not folder, threads, device, timeouts), as a
 * hash: what ranks and resumes compare.  Local. */
ls_status config_fingerprint(uint64_t *out, const struct config *config) LS_MUST_CHECK;

/* All keys as Markdown tables: what docs/config.md has below the marker line
 * (build/tools/config_reference docs/config.md writes it).  Owned by the caller.  Local.  Errors:
 * LS_NOMEM. */
#define CONFIG_REFERENCE_MARKER "<!-- Below: written by build/tools/config_reference. -->"
ls_status config_reference(char **out) LS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
