/* Memory of a process that does nothing but load clips: `clips,resident_mb,most_mb` as CSV.
 *
 *   bench_loader_memory DATASET CLIPS THREADS
 *
 * Clips of 16 x 256 x 256 in micro-batches of 8; resident memory is what the kernel says
 * (/proc/self/status), looked at 100 times on the way.  benchmarks/loader_memory.sh draws it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "data/loader.h"

enum { BATCH = 8, FRAMES = 16, SIDE = 256, LOOKS = 100 };

static ls_status read_number(long *out, const char *text)
{
    char *end = NULL;
    errno = 0;
    *out = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *out < 1 || *out > 10000000)
        return LS_FAIL(LS_USAGE, "'%s' is no number from 1 to 10000000", text);
    return LS_OK;
}

/* A line `NAME:  123 kB` in MB. */
static ls_status read_status(double *resident_mb, double *most_mb)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return LS_FAIL(LS_IO, "/proc/self/status: cannot open");
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %lf kB", &kib) == 1)
            *resident_mb = kib * 1024e-6;
        if (sscanf(line, "VmHWM: %lf kB", &kib) == 1)
            *most_mb = kib * 1024e-6;
    }
    (void)fclose(file);
    return LS_OK;
}

static ls_status load(struct loader *loader, long batches)
{
    ls_status st = LS_OK;
    const long every = batches > LOOKS ? batches / LOOKS : 1;
    (void)puts("clips,resident_mb,most_mb");
    for (long b = 1; b <= batches; b++) {
        struct loader_batch *batch = NULL;
        LS_TRY(loader_next(loader, &batch, 600.0));
        loader_release(loader, batch);
        if (b % every == 0) {
            double resident_mb = 0;
            double most_mb = 0;
            LS_TRY(read_status(&resident_mb, &most_mb));
            (void)printf("%ld,%.1f,%.1f\n", b * BATCH, resident_mb, most_mb);
            (void)fflush(stdout);
        }
    }
done:
    return st;
}

static ls_status run(char **arguments)
{
    static const struct config_mask mask = {.num_blocks = 8,
                                            .spatial_scale = {0.15, 0.15},
                                            .temporal_scale = {1.0, 1.0},
                                            .aspect_ratio = {0.75, 1.5},
                                            .max_temporal_keep = 1.0};
    ls_status st = LS_OK;
    long clips = 0;
    long threads = 0;
    struct dataset *dataset = NULL;
    struct loader *loader = NULL;
    struct config_dataset frames = {.frames_per_clip = FRAMES};
    LS_TRY(read_number(&clips, arguments[1]));
    LS_TRY(read_number(&threads, arguments[2]));
    LS_TRY(dataset_open(&dataset, arguments[0]));
    const struct config config = {
        .micro_batches = 1,
        .data = {.datasets = &frames,
                 .dataset_count = 1,
                 .batch_size = BATCH,
                 .crop_height = SIDE,
                 .crop_width = SIDE,
                 .patch_size = 16,
                 .tubelet_size = 2,
                 .fps = 4.0,
                 .num_workers = (int)threads,
                 .max_bad_share = 0.05},
        .data_aug = {.random_resize_scale = {0.3, 1.0},
                     .random_resize_aspect_ratio = {0.75, 1.35},
                     .horizontal_flip = true},
        .masks = {mask},
        .mask_count = 1,
        .meta = {.seed = 239},
        .run = {.prefetch = 1},
    };
    LS_TRY(loader_open(&loader, &config, &dataset, 0, 0, 1, NULL, 0));
    LS_TRY(load(loader, (clips + BATCH - 1) / BATCH));
done:
    loader_close(&loader);
    dataset_close(&dataset);
    return st;
}

int main(int argc, char **argv)
{
    log_open(-1, LOG_LEVEL_WARN);
    if (argc != 4) {
        (void)fputs("usage: bench_loader_memory DATASET CLIPS THREADS\n", stderr);
        return 2;
    }
    ls_status st = run(argv + 1);
    if (st != LS_OK)
        (void)fprintf(stderr, "bench_loader_memory: %s\n", status_text());
    return status_exit_code(st);
}
