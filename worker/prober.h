/* A frozen probe: encoders that are not trained, classifiers that are, on all ranks of a job.
 *
 * The job (group, rank, agreement, the way out) is a trainer's; of it only that part is open.  For
 * each encoder that is asked for (pretrained, random): train the classifiers, test them, find the
 * neighbours, write the result.  Both get the same draws and first weights. */
#ifndef LOCKSTEP_WORKER_PROBER_H
#define LOCKSTEP_WORKER_PROBER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config_probe.h"
#include "data/dataset.h"
#include "data/draw.h"
#include "data/view.h"
#include "model/frozen.h"
#include "model/probe.h"
#include "worker/frozen_source.h"
#include "worker/trainer.h"

struct prober_split { /* training or test videos */
    struct dataset *dataset;
    int64_t videos;       /* that are used */
    int64_t *numbers;     /* [videos] of them in the data set, ascending */
    int64_t first, count; /* this rank's share where each video is wanted once */
    int32_t *labels;      /* [videos]; -1 once it could not be decoded */
    float *pooled;        /* [videos, dim] mean tokens, for neighbours; NULL: not wanted */
};

/* What a video's clips shall be. */
struct prober_request {
    struct prober_split *split;
    int64_t video;
    int view;
    bool random;
    int64_t step;
    int micro_batch, sample;
};

/* Micro-batches of clips, one decoded ahead while another is encoded. */
struct prober_feed {
    struct view_pool *pool;
    int segments, most; /* videos */
    size_t clip_bytes;
    struct prober_buffer {
        uint8_t *pixels;
        struct view_item *items;
        struct prober_request *requests;
        int count;
    } buffers[2];
    int filling;
};

/* A training micro-batch of this rank. */
struct prober_batch {
    int64_t *videos; /* [batch_size] */
    bool *wanted;    /* [batch_size] its features have to be made; else they are in memory */
};

/* How a head did. */
struct prober_head_result {
    double train_loss, train_top1; /* of the last epoch */
    double top1, top5;             /* shares of the test videos */
    double *confusion;             /* [classes, classes] counts: true, predicted */
};

struct prober_result {
    struct prober_head_result *heads; /* [head_count] */
    double *epochs;                   /* [epochs][head_count][2]: loss, top1 of training */
    double knn_top1;                  /* NaN: not asked for */
    int64_t train_bad, test_bad;      /* videos that could not be decoded */
    double seconds;
};

struct prober {
    struct trainer *job;
    struct config_probe *config; /* owned */
    struct frozen_source source;
    struct prober_split train, test;
    int classes, tokens, dim; /* tokens of a video: all segments */
    struct frozen *frozen;
    struct probe *probe;
    struct prober_feed feed;
    struct draw *draw;
    int64_t steps_an_epoch, steps;
    struct prober_batch batches[2];
    float **cache;  /* [train.videos] tokens in memory, each NULL until made; NULL: not kept */
    float *staging; /* [batch_size * tokens * dim] host */
    struct prober_result result;
};

/* All of a probe, from joining to the last result.  On failure `job` holds what is needed to leave.
 * Collective over the job.  Errors: any. */
ls_status prober_run(struct trainer *job, const struct worker_options *options) LS_MUST_CHECK;

/* Feed (prober_feed.c).  Local.  A started list is taken before the next but one is started. */
ls_status prober_feed_open(struct prober *prober) LS_MUST_CHECK;
void prober_feed_close(struct prober_feed *feed);
void prober_feed_start(struct prober_feed *feed, const struct prober_request *requests, int count);

/* Wait for the list that was started first and is not taken yet; its videos that cannot be decoded
 * lose their label.  `next` (may have count 0) is started before the encoder computes.  Errors: as
 * view_pool_wait; LS_DEVICE. */
ls_status prober_feed_take(struct prober *prober, const struct prober_request *next,
                           int next_count) LS_MUST_CHECK;

/* A pass over this rank's share of a split, micro-batch after micro-batch, views innermost. */
struct prober_pass {
    struct prober *prober;
    struct prober_split *split;
    int views;
    /* The encoder holds view `view` of `count` videos from `first` on. */
    ls_status (*use)(const struct prober_pass *pass, int64_t first, int count, int view);
    void *context;
};
ls_status prober_pass_run(const struct prober_pass *pass) LS_MUST_CHECK;

/* Train all classifiers (prober_train.c).  Collective. */
ls_status prober_train(struct prober *prober) LS_MUST_CHECK;

/* Test all classifiers, find the neighbours (prober_test.c).  Collective. */
ls_status prober_collect(struct prober *prober) LS_MUST_CHECK; /* pooled features of train */
ls_status prober_test(struct prober *prober) LS_MUST_CHECK;

/* Write the result (prober_report.c).  Rank 0.  Errors: LS_IO, LS_NOMEM. */
ls_status prober_report(const struct prober *prober, bool random) LS_MUST_CHECK;

/* Features of all training videos into the HDF5 file that the options name (prober_features.c); of
 * a job of one rank.  Errors: LS_IO. */
ls_status prober_features(struct prober *prober) LS_MUST_CHECK;

/* out[dim] = mean of `count` tokens' features.  Local. */
void prober_pool(float *out, const float *tokens, int64_t count, int dim);

#endif
