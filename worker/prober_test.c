/* Passes in which every video of a split is wanted once: each rank takes a contiguous share. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "worker/knn.h"
#include "worker/prober.h"

enum { TOP = 5 };

/* What a test keeps from video to video. */
struct test {
    double *probabilities; /* [head_count, batch_size, classes] */
    double *sums;          /* [head_count][confusion, right within TOP] */
    float *logits;
};

/* Mean tokens of the encoded videos, summed over views; the rank's own rows are the only ones that
 * are not zero. */
static ls_status pool_videos(const struct prober_pass *pass, int64_t first, int count)
{
    ls_status st = LS_OK;
    struct prober *prober = pass->prober;
    const int64_t of_video = (int64_t)prober->tokens * prober->dim;
    float *mean = NULL;
    if (pass->split->pooled == NULL)
        return LS_OK;
    LS_TRY(core_alloc(&mean, prober->dim));
    LS_TRY(frozen_download(prober->frozen, prober->staging, count * prober->config->segments));
    for (int i = 0; i < count; i++) {
        float *row = pass->split->pooled + (first + i) * prober->dim;
        prober_pool(mean, prober->staging + i * of_video, prober->tokens, prober->dim);
        for (int c = 0; c < prober->dim; c++)
            row[c] += mean[c] / (float)pass->views;
    }
done:
    free(mean);
    return st;
}

/* Pooled features of a training video, and its tokens where these are kept. */
static ls_status collect_videos(const struct prober_pass *pass, int64_t first, int count, int view)
{
    ls_status st = LS_OK;
    struct prober *prober = pass->prober;
    const size_t of_video = (size_t)prober->tokens * (size_t)prober->dim;
    (void)view;
    LS_TRY(pool_videos(pass, first, count));
    for (int i = 0; i < count && prober->cache != NULL; i++) {
        LS_TRY(core_alloc(&prober->cache[first + i], of_video));
        memcpy(prober->cache[first + i], prober->staging + (size_t)i * of_video,
               of_video * sizeof(float));
    }
done:
    return st;
}

/* Rows of other ranks' shares are zero here, so the sum is every rank's own rows. */
static ls_status gather_rows(struct prober *prober, const struct prober_split *split)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    if (prober->job->size == 1)
        return LS_OK;
    LS_TRY(
        comm_sum_start(prober->job->group, &request, split->pooled, split->videos * prober->dim));
    LS_TRY(comm_wait(prober->job->group, &request));
done:
    return st;
}

/* A video that any rank could not decode has no label anywhere.  `*out_bad`: how many there are. */
static ls_status share_bad(struct prober *prober, struct prober_split *split, int64_t *out_bad)
{
    ls_status st = LS_OK;
    double *bad = NULL;
    *out_bad = 0;
    LS_TRY(core_alloc(&bad, split->videos));
    for (int64_t v = 0; v < split->videos; v++)
        bad[v] = split->labels[v] < 0 ? 1.0 : 0.0;
    LS_TRY(comm_sum_f64(prober->job->group, bad, split->videos));
    for (int64_t v = 0; v < split->videos; v++) {
        if (!(bad[v] > 0.0))
            continue;
        split->labels[v] = -1;
        (*out_bad)++;
    }
done:
    free(bad);
    return st;
}

ls_status prober_collect(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct prober_pass pass = {
        .prober = prober, .split = &prober->train, .views = 1, .use = collect_videos};
    if (prober->train.pooled == NULL)
        return LS_OK;
    memset(prober->train.pooled, 0,
           (size_t)prober->train.videos * (size_t)prober->dim * sizeof(float));
    LS_TRY(trainer_agree(prober->job, prober_pass_run(&pass)));
    LS_TRY(gather_rows(prober, &prober->train));
done:
    return st;
}

/* Sums of a head begin with its confusion matrix. */
static int64_t sums_a_head(const struct prober *prober)
{
    return (int64_t)prober->classes * prober->classes + 1;
}

/* One video's probabilities of one head, summed over views, become its answer. */
static void score(const struct prober *prober, double *sums, const double *probabilities,
                  int32_t label)
{
    const int classes = prober->classes;
    int best = 0;
    int above = 0;
    if (label < 0)
        return;
    for (int c = 0; c < classes; c++) {
        best = probabilities[c] > probabilities[best] ? c : best;
        above += probabilities[c] > probabilities[label] ? 1 : 0;
    }
    sums[(int64_t)label * classes + best] += 1.0;
    sums[(int64_t)classes * classes] += above < TOP ? 1.0 : 0.0;
}

static ls_status test_videos(const struct prober_pass *pass, int64_t first, int count, int view)
{
    ls_status st = LS_OK;
    struct prober *prober = pass->prober;
    struct test *test = pass->context;
    const int classes = prober->classes;
    const int most = prober->config->base.data.batch_size;
    LS_TRY(pool_videos(pass, first, count));
    LS_TRY(probe_features_device(prober->probe, frozen_features(prober->frozen), count));
    for (int h = 0; h < prober->config->head_count; h++) {
        double *probabilities = test->probabilities + (int64_t)h * most * classes;
        if (view == 0)
            memset(probabilities, 0, (size_t)most * (size_t)classes * sizeof(double));
        LS_TRY(probe_logits(prober->probe, h, test->logits));
        for (int i = 0; i < count; i++)
            probe_softmax_add(probabilities + (int64_t)i * classes,
                              test->logits + (int64_t)i * classes, classes);
        for (int i = 0; i < count && view == pass->views - 1; i++)
            score(prober, test->sums + h * sums_a_head(prober),
                  probabilities + (int64_t)i * classes, prober->test.labels[first + i]);
    }
done:
    return st;
}

/* Sums over all ranks to the heads' results. */
static void take_sums(struct prober *prober, const double *sums)
{
    const int64_t classes = prober->classes;
    for (int h = 0; h < prober->config->head_count; h++) {
        struct prober_head_result *head = &prober->result.heads[h];
        const double *its = sums + h * sums_a_head(prober);
        double videos = 0.0;
        double right = 0.0;
        memcpy(head->confusion, its, (size_t)(classes * classes) * sizeof(double));
        for (int64_t i = 0; i < classes * classes; i++) {
            videos += its[i];
            right += i / classes == i % classes ? its[i] : 0.0;
        }
        head->top1 = videos > 0.0 ? right / videos : NAN;
        head->top5 = videos > 0.0 ? its[classes * classes] / videos : NAN;
    }
}

/* Every rank finds the neighbours of its own test videos. */
static ls_status find_neighbours(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct prober_split *split = &prober->test;
    const struct knn_set train = {.rows = prober->train.pooled,
                                  .labels = prober->train.labels,
                                  .count = prober->train.videos,
                                  .dim = prober->dim};
    const struct knn_set test = {.rows = split->pooled + split->first * prober->dim,
                                 .labels = split->labels + split->first,
                                 .count = split->count,
                                 .dim = prober->dim};
    int32_t *predicted = NULL;
    double sums[2] = {0.0, 0.0};
    LS_TRY(core_alloc(&predicted, split->count + 1));
    LS_TRY(knn_standardize(&train, &test));
    LS_TRY(knn_predict(predicted, &train, &test, prober->config->knn, prober->classes));
    for (int64_t t = 0; t < test.count; t++) {
        sums[0] += predicted[t] >= 0 && predicted[t] == test.labels[t] ? 1.0 : 0.0;
        sums[1] += predicted[t] >= 0 ? 1.0 : 0.0;
    }
    LS_TRY(comm_sum_f64(prober->job->group, sums, 2));
    prober->result.knn_top1 = sums[1] > 0.0 ? sums[0] / sums[1] : NAN;
done:
    free(predicted);
    return st;
}

ls_status prober_test(struct prober *prober)
{
    ls_status st = LS_OK;
    const int64_t heads = prober->config->head_count;
    const int64_t videos = prober->config->base.data.batch_size;
    const int64_t count = heads * sums_a_head(prober);
    struct test test = {0};
    const struct prober_pass pass = {.prober = prober,
                                     .split = &prober->test,
                                     .views = prober->config->views,
                                     .use = test_videos,
                                     .context = &test};
    LS_TRY(core_alloc(&test.probabilities, heads * videos * prober->classes));
    LS_TRY(core_alloc(&test.logits, videos * prober->classes));
    LS_TRY(core_alloc(&test.sums, count));
    if (prober->test.pooled != NULL)
        memset(prober->test.pooled, 0,
               (size_t)prober->test.videos * (size_t)prober->dim * sizeof(float));
    LS_TRY(trainer_agree(prober->job, prober_pass_run(&pass)));
    LS_TRY(comm_sum_f64(prober->job->group, test.sums, count));
    LS_TRY(share_bad(prober, &prober->train, &prober->result.train_bad));
    LS_TRY(share_bad(prober, &prober->test, &prober->result.test_bad));
    take_sums(prober, test.sums);
    prober->result.knn_top1 = NAN;
    if (prober->train.pooled != NULL)
        LS_TRY(find_neighbours(prober));
done:
    free(test.probabilities);
    free(test.logits);
    free(test.sums);
    return st;
}
