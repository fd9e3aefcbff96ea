/* Features for other programs: no classifier is opened, every video is wanted once. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/files.h"
#include "core/log.h"
#include "data/feature_file.h"
#include "worker/prober.h"

/* The rows of the encoder's videos, means where the file has no tokens. */
static ls_status write_videos(const struct prober_pass *pass, int64_t first, int count, int view)
{
    ls_status st = LS_OK;
    struct prober *prober = pass->prober;
    const int64_t of_video = (int64_t)prober->tokens * prober->dim;
    float *means = NULL;
    (void)view;
    LS_TRY(core_alloc(&means, (int64_t)count * prober->dim));
    LS_TRY(frozen_download(prober->frozen, prober->staging, count * prober->config->segments));
    for (int i = 0; i < count && !prober->job->options->tokens; i++)
        prober_pool(means + (int64_t)i * prober->dim, prober->staging + i * of_video,
                    prober->tokens, prober->dim);
    LS_TRY(feature_file_write(pass->context, first, count,
                              prober->job->options->tokens ? prober->staging : means));
done:
    free(means);
    return st;
}

ls_status prober_features(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct worker_options *options = prober->job->options;
    struct feature_file *file = NULL;
    bool *readable = NULL;
    int64_t bad = 0;
    if (prober->job->size != 1)
        return LS_FAIL(LS_USAGE, "features are written by one rank, not %d", prober->job->size);
    const struct feature_file_shape shape = {
        .videos = prober->train.videos,
        .tokens = options->tokens ? prober->tokens : 0,
        .dim = prober->dim,
        .checkpoint = prober->source.info->path,
        .network = prober->config->init == CONFIG_INIT_RANDOM         ? "random"
                   : prober->config->network == CONFIG_TARGET_ENCODER ? "target_encoder"
                                                                      : "encoder",
        .step = prober->source.info->step};
    LS_TRY(feature_file_open(&file, options->features, &shape));
    LS_TRY(prober_pass_run(&(struct prober_pass){.prober = prober,
                                                 .split = &prober->train,
                                                 .views = 1,
                                                 .use = write_videos,
                                                 .context = file}));
    LS_TRY(core_alloc(&readable, prober->train.videos));
    for (int64_t v = 0; v < prober->train.videos; v++) {
        readable[v] = prober->train.labels[v] >= 0;
        bad += readable[v] ? 0 : 1;
    }
    LS_TRY(feature_file_commit(file, prober->train.dataset, readable));
    log_info("features file=%s videos=%" PRId64 " unreadable=%" PRId64 " tokens=%" PRId64 " dim=%d",
             options->features, shape.videos, bad, shape.tokens, shape.dim);
done:
    feature_file_close(&file);
    free(readable);
    return st;
}
