/* Clips a second and core that the loader delivers, beside the bare cost of reading and decoding
 * the same frames.
 *
 *   bench_loader [DATASET] [--clips N] [--frames T] [--size S] [--threads N] [--list FILE] [--save
 * FILE]
 *
 * Without a DATASET the Kinetics files of ${SHARED:-../shared}/videos/clean (H.264, 340 x 256, 30
 * frames/s) are packed into a temporary one.  Clips of T frames at 4 frames/s are cropped to S x S.
 * Rates are clips by CPU time of the process, so that other programs on the machine matter little;
 * the wall clock stands beside.  First two passes over the same batches must agree.
 *
 * --list writes what the clips were cut from, a line each: name, box (left, top, width, height),
 * flip, frame numbers; --save writes the pixels of the first batch.  benchmarks/loader_race.py cuts
 * the same clips with other loaders. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "data/clip.h"
#include "data/loader.h"
#include "data/pack.h"
#include "tests/support/bare_decode.h"

enum { BATCH = 8, PATHS = 4 };

struct settings {
    const char *dataset, *list, *save;
    long clips, frames, size, threads;
};

struct bench {
    struct settings settings;
    char folder[64]; /* of the temporary dataset; "" when one was given */
    struct dataset *dataset;
    struct config config;
    struct config_dataset config_dataset;
    struct loader_clip_source *sources;
    int count; /* clips taken, a multiple of BATCH */
};

static double cpu_now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static ls_status read_number(long *out, const char *name, const char *text)
{
    char *end = NULL;
    errno = 0;
    *out = strtol(text != NULL ? text : "", &end, 10);
    if (text == NULL || errno != 0 || end == text || *end != '\0' || *out < 1 || *out > 100000)
        return LS_FAIL(LS_USAGE, "%s needs a number from 1 to 100000", name);
    return LS_OK;
}

static ls_status read_settings(struct settings *out, char **arguments)
{
    ls_status st = LS_OK;
    *out = (struct settings){.clips = 64, .frames = 16, .size = 256, .threads = 1};
    struct {
        const char *name;
        long *value;
    } const options[] = {{"--clips", &out->clips},
                         {"--frames", &out->frames},
                         {"--size", &out->size},
                         {"--threads", &out->threads}};
    for (; *arguments != NULL; arguments++) {
        const char **text = strcmp(*arguments, "--list") == 0   ? &out->list
                            : strcmp(*arguments, "--save") == 0 ? &out->save
                                                                : NULL;
        size_t o = 0;
        if (text != NULL && arguments[1] != NULL) {
            *text = *++arguments;
            continue;
        }
        while (o < sizeof options / sizeof *options && strcmp(*arguments, options[o].name) != 0)
            o++;
        if (o < sizeof options / sizeof *options) {
            LS_TRY(read_number(options[o].value, arguments[0], arguments[1]));
            arguments++;
        } else if ((*arguments)[0] == '-') {
            st = LS_FAIL(LS_USAGE, "%s: unknown option", *arguments);
            goto done;
        } else {
            out->dataset = *arguments;
        }
    }
done:
    return st;
}

/* Pack the default files; LS_EOF when they are not there. */
static ls_status pack_default(struct bench *bench)
{
    ls_status st = LS_OK;
    static const char *const names[PATHS] = {"kinetics_a.mp4", "kinetics_b.mp4", "kinetics_c.mp4",
                                             "kinetics_demo.mp4"};
    char *paths[PATHS] = {NULL};
    const char *shared = getenv("SHARED");
    for (int i = 0; i < PATHS; i++) {
        LS_TRY(core_format(&paths[i], "%s/videos/clean/%s", shared != NULL ? shared : "../shared",
                           names[i]));
        if (!files_exists(paths[i])) {
            st = LS_EOF;
            goto done;
        }
    }
    (void)snprintf(bench->folder, sizeof bench->folder, "/tmp/bench_loader.XXXXXX");
    if (mkdtemp(bench->folder) == NULL) {
        bench->folder[0] = '\0';
        st = LS_FAIL(LS_IO, "/tmp: cannot make a folder");
        goto done;
    }
    struct pack_summary summary;
    const struct pack_options options = {
        .inputs = (const char *const *)paths, .input_count = PATHS, .output = bench->folder};
    LS_TRY(pack_run(&summary, &options));
    bench->settings.dataset = bench->folder;
done:
    for (int i = 0; i < PATHS; i++)
        free(paths[i]);
    return st;
}

static void make_config(struct bench *bench)
{
    static const struct config_mask mask = {.num_blocks = 8,
                                            .spatial_scale = {0.15, 0.15},
                                            .temporal_scale = {1.0, 1.0},
                                            .aspect_ratio = {0.75, 1.5},
                                            .max_temporal_keep = 1.0};
    const int size = (int)bench->settings.size;
    bench->config_dataset = (struct config_dataset){.frames_per_clip = (int)bench->settings.frames};
    bench->config = (struct config){
        .micro_batches = 1,
        .data = {.datasets = &bench->config_dataset,
                 .dataset_count = 1,
                 .batch_size = BATCH,
                 .crop_height = size,
                 .crop_width = size,
                 .patch_size = 16,
                 .tubelet_size = 2,
                 .fps = 4.0,
                 .num_workers = (int)bench->settings.threads,
                 .max_bad_share = 0.05},
        .data_aug = {.random_resize_scale = {0.3, 1.0},
                     .random_resize_aspect_ratio = {0.75, 1.35},
                     .horizontal_flip = true},
        .masks = {mask},
        .mask_count = 1,
        .meta = {.seed = 239},
        .run = {.prefetch = 1},
    };
}

/* Of a batch. */
static size_t pixel_bytes(const struct bench *bench)
{
    const size_t size = (size_t)bench->settings.size;
    return BATCH * (size_t)bench->settings.frames * size * size * 3;
}

/* Deliver all clips; returns their hash and the times. */
static ls_status run_loader(struct hash128 *hash, double *cpu_s, double *wall_s,
                            struct bench *bench)
{
    ls_status st = LS_OK;
    struct loader *loader = NULL;
    const double wall = clock_now_s();
    const double cpu = cpu_now_s();
    LS_TRY(loader_open(&loader, &bench->config, &bench->dataset, 0, 0, 1, NULL, 0));
    *hash = (struct hash128){0, 0};
    for (int i = 0; i < bench->count; i += BATCH) {
        struct loader_batch *batch = NULL;
        LS_TRY(loader_next(loader, &batch, 600.0));
        *hash = hash_add(*hash, batch->draw_hash);
        if (i == 0 && bench->settings.save != NULL)
            LS_TRY(files_replace(bench->settings.save, batch->pixels, pixel_bytes(bench)));
        memcpy(bench->sources + i, batch->sources, BATCH * sizeof *batch->sources);
        loader_release(loader, batch);
    }
    *wall_s = clock_now_s() - wall;
    /* What the threads did ahead beyond the last batch is stopped, not counted in full. */
    loader_close(&loader);
    *cpu_s = cpu_now_s() - cpu;
done:
    loader_close(&loader);
    return st;
}

/* Frame numbers of a clip. */
static void numbers_of(int64_t *out, const struct bench *bench,
                       const struct loader_clip_source *source)
{
    const struct dataset_video video = dataset_video(bench->dataset, source->video);
    clip_numbers(out, video.frames, (int)bench->settings.frames, source->frame_step,
                 source->first_frame);
}

static ls_status write_list(const struct bench *bench)
{
    ls_status st = LS_OK;
    int64_t *numbers = NULL;
    FILE *file = fopen(bench->settings.list, "w");
    if (file == NULL)
        return LS_FAIL(LS_IO, "%s: cannot create", bench->settings.list);
    LS_TRY(core_alloc(&numbers, bench->settings.frames));
    for (int i = 0; i < bench->count; i++) {
        const struct loader_clip_source *source = &bench->sources[i];
        numbers_of(numbers, bench, source);
        (void)fprintf(file, "%s %d %d %d %d %d", dataset_video(bench->dataset, source->video).name,
                      source->box.left, source->box.top, source->box.width, source->box.height,
                      source->flip);
        for (long t = 0; t < bench->settings.frames; t++)
            (void)fprintf(file, " %lld", (long long)numbers[t]);
        (void)fputc('\n', file);
    }
done:
    free(numbers);
    if (fclose(file) != 0 && st == LS_OK)
        st = LS_FAIL(LS_IO, "%s: cannot write", bench->settings.list);
    return st;
}

static ls_status pass_over(void *context, int position, const struct AVFrame *frame)
{
    (void)position;
    (void)frame;
    *(int64_t *)context += 1;
    return LS_OK;
}

/* Read and decode the frames of the same clips, nothing else. */
static ls_status run_reader(double *cpu_s, struct bench *bench)
{
    ls_status st = LS_OK;
    struct clip_reader *reader = NULL;
    int64_t *numbers = NULL;
    int64_t frames = 0;
    const int clip_frames = (int)bench->settings.frames;
    const double cpu = cpu_now_s();
    LS_TRY(core_alloc(&numbers, clip_frames));
    LS_TRY(clip_reader_open(&reader));
    for (int i = 0; i < bench->count; i++) {
        const struct loader_clip_source *source = &bench->sources[i];
        numbers_of(numbers, bench, source);
        LS_TRY(clip_reader_read(reader, bench->dataset, source->video, numbers, clip_frames,
                                pass_over, &frames));
    }
    if (frames != (int64_t)bench->count * clip_frames)
        st = LS_FAIL(LS_DATA, "%lld frames of %d clips", (long long)frames, bench->count);
    *cpu_s = cpu_now_s() - cpu;
done:
    clip_reader_close(&reader);
    free(numbers);
    return st;
}

/* libavcodec alone, on the packets that these frames need. */
static ls_status run_bare(double *cpu_s, double *packets_a_clip, const struct bench *bench)
{
    ls_status st = LS_OK;
    struct bare_decode *bare = NULL;
    int64_t *numbers = NULL;
    int64_t frames = 0;
    int64_t packets = 0;
    LS_TRY(core_alloc(&numbers, bench->settings.frames));
    LS_TRY(bare_decode_open(&bare, bench->dataset));
    for (int i = 0; i < bench->count; i++) {
        numbers_of(numbers, bench, &bench->sources[i]);
        LS_TRY(
            bare_decode_add(bare, bench->sources[i].video, numbers, (int)bench->settings.frames));
    }
    const double cpu = cpu_now_s();
    LS_TRY(bare_decode_run(bare, &frames, &packets));
    *cpu_s = cpu_now_s() - cpu;
    *packets_a_clip = (double)packets / bench->count;
done:
    bare_decode_close(&bare);
    free(numbers);
    return st;
}

static void print_rate(const char *what, double cpu_s, int count)
{
    printf("%-24s %8.2f clips/s per core  %8.2f ms CPU a clip\n", what, count / cpu_s,
           1e3 * cpu_s / count);
}

static ls_status run(struct bench *bench)
{
    ls_status st = LS_OK;
    struct hash128 hash[2];
    double cpu_s[2];
    double wall_s[2];
    double read_s = 0.0;
    double bare_s = 0.0;
    double packets = 0.0;
    LS_TRY(dataset_open(&bench->dataset, bench->settings.dataset));
    make_config(bench);
    bench->count = (int)(bench->settings.clips + BATCH - 1) / BATCH * BATCH;
    LS_TRY(core_alloc(&bench->sources, bench->count));
    for (int pass = 0; pass < 2; pass++)
        LS_TRY(run_loader(&hash[pass], &cpu_s[pass], &wall_s[pass], bench));
    if (!hash_equal(hash[0], hash[1])) {
        st = LS_FAIL(LS_FAILED, "two passes over the same batches differ");
        goto done;
    }
    LS_TRY(run_reader(&read_s, bench));
    LS_TRY(run_bare(&bare_s, &packets, bench));
    if (bench->settings.list != NULL)
        LS_TRY(write_list(bench));
    const int best = cpu_s[1] < cpu_s[0];
    printf("%s: %lld videos, first %d x %d\n", bench->settings.dataset,
           (long long)dataset_video_count(bench->dataset), dataset_video(bench->dataset, 0).width,
           dataset_video(bench->dataset, 0).height);
    printf("%d clips of %ld x %ld x %ld, %ld decode threads, %.1f packets a clip\n", bench->count,
           bench->settings.frames, bench->settings.size, bench->settings.size,
           bench->settings.threads, packets);
    print_rate("libavcodec alone", bare_s, bench->count);
    print_rate("reading and decoding", read_s, bench->count);
    print_rate("loader", cpu_s[best], bench->count);
    printf("%-24s %8.2f clips/s by the wall clock\n", "", bench->count / wall_s[best]);
    printf("the loader costs %.3f x libavcodec alone, %.3f x reading and decoding\n",
           cpu_s[best] / bare_s, cpu_s[best] / read_s);
done:
    return st;
}

int main(int argc, char **argv)
{
    (void)argc;
    struct bench bench = {.folder = ""};
    log_open(-1, LOG_LEVEL_ERROR);
    ls_status st = read_settings(&bench.settings, argv + 1);
    if (st == LS_OK && bench.settings.dataset == NULL)
        st = pack_default(&bench);
    if (st == LS_EOF)
        printf("skipped: no videos in ${SHARED}/videos/clean; name a DATASET\n");
    else if (st == LS_OK)
        st = run(&bench);
    dataset_close(&bench.dataset);
    free(bench.sources);
    if (st != LS_OK && st != LS_EOF)
        log_error("%s", status_text());
    if (bench.folder[0] != '\0' && files_remove(bench.folder) != LS_OK)
        log_error("%s", status_text());
    return status_exit_code(st);
}
