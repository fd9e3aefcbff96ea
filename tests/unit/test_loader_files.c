/* Whole clips of real files as the loader delivers them, packed and all, against another way to the
 * same pixels: FFmpeg decodes the file in order, swscale's accurate path makes RGB of the frames, a
 * plain loop in double turns, crops and resamples them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <libavutil/frame.h>
#include <libavutil/log.h>

#include "core/files.h"
#include "core/log.h"
#include "data/clip.h"
#include "data/loader.h"
#include "data/pack.h"
#include "tests/support/images.h"

enum { FRAMES = 8, BATCH = 4, STEPS_MAX = 7, CLIPS_MAX = BATCH * STEPS_MAX };

/* What the loader makes: small squares, two epochs of the files; or wide crops, one epoch. */
struct shape {
    int height, width, steps;
};
static const struct shape squares = {112, 112, STEPS_MAX};
static const struct shape wide = {256, 512, 4};

/* Codecs, containers, sizes, odd ones among them, full and limited range, 10 bits, rotation, a size
 * that changes midway, stills. */
static const char *const files[] = {
    "clean/kinetics_a.mp4",          "clean/ucf_archery.avi",
    "clean/bear_vp9.webm",           "clean/piano_av1.mkv",
    "clean/hmdb_wave_a.avi",         "clean/carphone_qcif.mp4",
    "awkward/editlist_bframes.mp4",  "awkward/resolution_change.ts",
    "awkward/hevc10_bt2020_rot.mp4", "awkward/mkv_full_range_601.mkv",
    "awkward/h264_422_10bit.mp4",    "awkward/photo.avif",
    "awkward/picture_palette.png"};
enum { FILES = sizeof files / sizeof *files };

struct fixture {
    char folder[64];
    char paths[FILES][512];
    bool found;
    struct dataset *dataset;
    struct config config;
    struct config_dataset config_dataset;
    struct shape shape;
    size_t frame_bytes;
    int clips;           /* steps x BATCH */
    uint8_t *pixels;     /* [clips, FRAMES] frames */
    struct hash128 hash; /* of all batches */
    struct loader_clip_source sources[CLIPS_MAX];
};

static int open_fixture(void **state)
{
    const char *shared = getenv("SHARED");
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    *state = fixture;
    const char *inputs[FILES];
    for (int i = 0; i < FILES; i++) {
        (void)snprintf(fixture->paths[i], sizeof fixture->paths[i], "%s/videos/%s",
                       shared != NULL ? shared : "../shared", files[i]);
        inputs[i] = fixture->paths[i];
        if (!files_exists(fixture->paths[i]))
            return 0;
    }
    (void)snprintf(fixture->folder, sizeof fixture->folder, "/tmp/test_loader_files.XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    const struct pack_options options = {
        .inputs = inputs, .input_count = FILES, .output = fixture->folder, .jobs = 2};
    struct pack_summary summary;
    ls_status st = pack_run(&summary, &options);
    if (st == LS_OK)
        st = dataset_open(&fixture->dataset, fixture->folder);
    if (st != LS_OK)
        fail_msg("pack: %s", status_text());
    assert_int_equal(summary.videos, FILES);
    fixture->found = true;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    dataset_close(&fixture->dataset);
    if (fixture->folder[0] != '\0')
        assert_int_equal(files_remove(fixture->folder), LS_OK);
    free(fixture->pixels);
    free(fixture);
    return 0;
}

static void make_config(struct fixture *fixture, int threads)
{
    static const struct config_mask mask = {.num_blocks = 2,
                                            .spatial_scale = {0.3, 0.3},
                                            .temporal_scale = {1.0, 1.0},
                                            .aspect_ratio = {0.75, 1.5},
                                            .max_temporal_keep = 1.0};
    fixture->config_dataset = (struct config_dataset){.frames_per_clip = FRAMES};
    fixture->config = (struct config){
        .micro_batches = 1,
        .data = {.datasets = &fixture->config_dataset,
                 .dataset_count = 1,
                 .batch_size = BATCH,
                 .crop_height = fixture->shape.height,
                 .crop_width = fixture->shape.width,
                 .patch_size = 16,
                 .tubelet_size = 2,
                 .fps = 4.0,
                 .num_workers = threads},
        .data_aug = {.random_resize_scale = {0.3, 1.0},
                     .random_resize_aspect_ratio = {0.75, 1.35},
                     .horizontal_flip = true},
        .masks = {mask},
        .mask_count = 1,
        .meta = {.seed = 239},
        .run = {.prefetch = 2},
    };
}

/* Take all clips into out [clips]; returns the hash of all batches. */
static struct hash128 take_clips(uint8_t *out, struct fixture *fixture, int threads)
{
    struct loader *loader = NULL;
    struct hash128 hash = {0, 0};
    const size_t batch_bytes = BATCH * FRAMES * fixture->frame_bytes;
    make_config(fixture, threads);
    ls_status st = loader_open(&loader, &fixture->config, &fixture->dataset, 0, 0, 1, NULL, 0);
    if (st != LS_OK)
        fail_msg("loader: %s", status_text());
    for (int step = 0; step < fixture->shape.steps; step++) {
        struct loader_batch *batch = NULL;
        st = loader_next(loader, &batch, 60.0);
        if (st != LS_OK)
            fail_msg("step %d: %s", step, status_text());
        memcpy(out + (size_t)step * batch_bytes, batch->pixels, batch_bytes);
        memcpy(&fixture->sources[(ptrdiff_t)step * BATCH], batch->sources,
               BATCH * sizeof *batch->sources);
        hash = hash_add(hash, batch->draw_hash);
        loader_release(loader, batch);
    }
    loader_close(&loader);
    return hash;
}

struct comparison {
    const struct fixture *fixture;
    int64_t video;
    struct images_difference sum;
    int frames; /* compared */
};

/* The reference for one frame of one clip. */
static void compare_frame(struct comparison *comparison, int clip, int t, const AVFrame *shown)
{
    const struct fixture *fixture = comparison->fixture;
    const struct loader_clip_source *source = &fixture->sources[clip];
    const struct dataset_video video = dataset_video(fixture->dataset, source->video);
    const int height = fixture->shape.height;
    const int width = fixture->shape.width;
    double *reference = malloc(fixture->frame_bytes * sizeof *reference);
    uint8_t *packed = malloc((size_t)shown->width * (size_t)shown->height * 3);
    assert_true(packed != NULL && reference != NULL);
    for (int y = 0; y < shown->height; y++)
        memcpy(packed + (ptrdiff_t)y * shown->width * 3,
               shown->data[0] + (ptrdiff_t)y * shown->linesize[0], (size_t)shown->width * 3);
    struct crop_box box =
        crop_rescale(source->box, video.width, video.height, shown->width, shown->height);
    images_resample(reference, width, height, packed, shown->width, box, source->flip);
    images_compare(&comparison->sum,
                   fixture->pixels + ((size_t)clip * FRAMES + (size_t)t) * fixture->frame_bytes,
                   reference, (int64_t)fixture->frame_bytes);
    comparison->frames++;
    free(packed);
    free(reference);
}

/* The decoded frame, as it is shown, when any clip takes it. */
static ls_status take_frame(void *context, int64_t number, const AVFrame *frame)
{
    ls_status st = LS_OK;
    struct comparison *comparison = context;
    const struct fixture *fixture = comparison->fixture;
    const struct dataset_video video = dataset_video(fixture->dataset, comparison->video);
    uint8_t *rgb = NULL;
    AVFrame *shown = NULL;
    for (int clip = 0; clip < fixture->clips; clip++) {
        const struct loader_clip_source *source = &fixture->sources[clip];
        if (source->video != comparison->video)
            continue;
        int64_t numbers[FRAMES];
        clip_numbers(numbers, video.frames, FRAMES, source->frame_step, source->first_frame);
        for (int t = 0; t < FRAMES; t++) {
            if (numbers[t] != number)
                continue;
            if (shown == NULL) {
                LS_TRY(images_rgb(&rgb, frame));
                AVFrame whole = {.width = frame->width, .height = frame->height};
                whole.data[0] = rgb;
                whole.linesize[0] = frame->width * 3;
                shown = images_turned(
                    &whole, dataset_video_orientation(fixture->dataset, comparison->video));
                assert_non_null(shown);
            }
            compare_frame(comparison, clip, t, shown);
        }
    }
done:
    av_frame_free(&shown);
    free(rgb);
    return st;
}

static void compare_all(struct fixture *fixture, struct shape shape)
{
    fixture->shape = shape;
    fixture->frame_bytes = (size_t)shape.height * (size_t)shape.width * 3;
    fixture->clips = BATCH * shape.steps;
    free(fixture->pixels);
    fixture->pixels = malloc((size_t)fixture->clips * FRAMES * fixture->frame_bytes);
    assert_non_null(fixture->pixels);
    fixture->hash = take_clips(fixture->pixels, fixture, 2);
    int frames = 0;
    for (int64_t v = 0; v < dataset_video_count(fixture->dataset); v++) {
        struct comparison comparison = {.fixture = fixture, .video = v};
        const struct dataset_video video = dataset_video(fixture->dataset, v);
        assert_int_equal(images_decode(video.name, video.frames, take_frame, &comparison), LS_OK);
        const struct images_difference *sum = &comparison.sum;
        assert_true(sum->count > 0); /* every file is drawn at least once */
        frames += comparison.frames;
        if (!(sum->sum <= 0.5 * (double)sum->count &&
              (double)sum->above_two <= 0.001 * (double)sum->count))
            fail_msg("%s: mean difference %g, %g %% above 2, largest %g", video.name,
                     sum->sum / (double)sum->count,
                     100.0 * (double)sum->above_two / (double)sum->count, sum->largest);
    }
    assert_int_equal(frames, fixture->clips * FRAMES); /* none was missed */
}

static void clips_match_swscale_and_bilinear(void **state)
{
    struct fixture *fixture = *state;
    if (!fixture->found)
        skip();
    compare_all(fixture, squares);
}

static void crops_that_are_not_square_match_too(void **state)
{
    struct fixture *fixture = *state;
    if (!fixture->found)
        skip();
    compare_all(fixture, wide);
}

static void clips_do_not_depend_on_the_thread_count(void **state)
{
    struct fixture *fixture = *state;
    if (!fixture->found)
        skip();
    const size_t bytes = (size_t)fixture->clips * FRAMES * fixture->frame_bytes;
    uint8_t *pixels = malloc(bytes);
    assert_non_null(pixels);
    assert_true(hash_equal(take_clips(pixels, fixture, 3), fixture->hash));
    assert_memory_equal(pixels, fixture->pixels, bytes);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crops_that_are_not_square_match_too),
        cmocka_unit_test(clips_match_swscale_and_bilinear),
        cmocka_unit_test(clips_do_not_depend_on_the_thread_count),
    };
    av_log_set_level(AV_LOG_QUIET);
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
