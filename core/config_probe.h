/* The configuration of a frozen probe: the public evaluation's YAML schema
 * (video_classification_frozen) plus a few keys of ours (docs/config.md).
 *
 * It rests on struct config: what both kinds of run share (folder, nodes, batch size, seed, device,
 * deadlines) lies in `base`, so that starting and joining workers works the same for both. */
#ifndef LOCKSTEP_CORE_CONFIG_PROBE_H
#define LOCKSTEP_CORE_CONFIG_PROBE_H

#include "core/config.h"

enum config_network { CONFIG_TARGET_ENCODER, CONFIG_ENCODER };
enum config_init { CONFIG_INIT_BOTH, CONFIG_INIT_PRETRAINED, CONFIG_INIT_RANDOM };

struct config_probe_head { /* one entry of multihead_kwargs */
    double lr, start_lr, final_lr;
    double warmup; /* epochs */
    double weight_decay, final_weight_decay;
};

struct config_probe {
    struct config base; /* first: config_close frees both */
    char *tag;          /* of the results' file names */
    enum config_init init;
    char *checkpoint; /* run folder or checkpoint folder */
    enum config_network network;
    char *model_name;             /* NULL: not checked against the checkpoint */
    int patch_size, tubelet_size; /* 0: not checked */
    int pool_heads, pool_blocks;  /* of the classifiers */
    char *train, *test;           /* packed dataset or list */
    int labels;                   /* training videos that are used; 0: all */
    int classes;                  /* 0: one more than the largest label of `train` */
    int frames_per_clip, segments, views;
    int resolution;
    bool augment;
    double test_scale; /* side of the test crop over the frame's short side, with one view */
    int epochs;
    int knn;                         /* 0: none */
    struct config_probe_head *heads; /* [head_count] */
    int head_count;
};

/* Read, check and resolve; as config_open.  Free with config_probe_close.  Local.  Errors: LS_USAGE
 * with one line; LS_IO. */
ls_status config_probe_open(struct config_probe **out, const char *path,
                            const char *const *overrides, int override_count) LS_MUST_CHECK;
void config_probe_close(struct config_probe **probe);

/* What the results' file names begin with.  Local. */
const char *config_probe_tag(const struct config_probe *probe);

/* Where results go: RUN/probe of the run that the checkpoint (a folder RUN/checkpoints/NAME) is of,
 * else FOLDER/probe.  Owned by the caller.  Local.  Errors: LS_NOMEM. */
ls_status config_probe_results(char **out, const struct config_probe *probe) LS_MUST_CHECK;

/* All keys as JSON (which is YAML) that config_probe_open reads back to the same; owned by the
 * caller.  Local.  Errors: LS_NOMEM. */
ls_status config_probe_dump(char **out, const struct config_probe *probe) LS_MUST_CHECK;

#endif
