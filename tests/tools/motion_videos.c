/* motion_videos: makes the labelled videos of `make demo` (tests/support/motion.h), one file a
 * clip, and DIR/LIST.csv with a line `path label` for each.
 *
 * Clip K of seed S is always the same, so sets that use other numbers or another seed share none.
 * Files that are there already are kept: a second call goes on where the first stopped. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libavutil/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/files.h"
#include "tests/support/motion.h"
#include "tests/support/movie.h"

struct options {
    const char *folder;
    int64_t count, seed, first;
};

static const char usage[] =
    "usage: motion_videos -o DIR [--count N] [--seed S] [--first K]\n"
    "  Writes clips K .. K + N - 1 of seed S (64 x 64 pixels, 8 frames at 8 frames/s) and\n"
    "  DIR/LIST.csv: `path label`, label 0..7 is the direction of drift in steps of 45 degrees.\n"
    "  Defaults: N 5120, S 0, K 0.  Existing files are kept.\n";

static ls_status parse_number(int64_t *out, const char *name, const char *text, int64_t low)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < low || value > (int64_t)1 << 40)
        return LS_FAIL(LS_USAGE, "--%s: '%s' is no whole number from %" PRId64 " to 2^40", name,
                       text, low);
    *out = value;
    return LS_OK;
}

static ls_status parse(struct options *out, int argc, char **argv)
{
    static const struct option names[] = {
        {"output", required_argument, NULL, 'o'}, {"count", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},   {"first", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    ls_status st = LS_OK;
    *out = (struct options){.count = 5120};
    for (;;) {
        int option = getopt_long(argc, argv, "o:h", names, NULL);
        if (option < 0)
            break;
        switch (option) {
        case 'o':
            out->folder = optarg;
            break;
        case 'n':
            LS_TRY(parse_number(&out->count, "count", optarg, 1));
            break;
        case 's':
            LS_TRY(parse_number(&out->seed, "seed", optarg, 0));
            break;
        case 'f':
            LS_TRY(parse_number(&out->first, "first", optarg, 0));
            break;
        case 'h':
            return LS_STOP;
        default:
            return LS_FAIL(LS_USAGE, "see motion_videos --help");
        }
    }
    if (out->folder == NULL || optind != argc)
        return LS_FAIL(LS_USAGE, "one folder is needed: -o DIR; see motion_videos --help");
done:
    return st;
}

static ls_status clip_path(char **out, const char *folder, int64_t number)
{
    return core_format(out, "%s/motion-%06" PRId64 ".mp4", folder, number);
}

/* Draw and encode one clip unless its file is there. */
static ls_status make_clip(struct motion *motion, const struct options *options, int64_t number)
{
    ls_status st = LS_OK;
    uint8_t frames[MOTION_FRAMES * MOTION_SIZE * MOTION_SIZE];
    char *path = NULL;
    LS_TRY(clip_path(&path, options->folder, number));
    if (!files_exists(path)) {
        motion_draw(motion, frames, (uint64_t)options->seed, (uint64_t)number);
        LS_TRY(
            movie_write_grey(path, frames, MOTION_FRAMES, MOTION_SIZE, MOTION_SIZE, MOTION_FRAMES));
    }
done:
    free(path);
    return st;
}

/* All clips, on all cores.  The first failure ends the work of every thread. */
static ls_status make_clips(const struct options *options)
{
    ls_status result = LS_OK;
    char *text = NULL;
#pragma omp parallel
    {
        struct motion *motion = NULL;
        ls_status st = motion_open(&motion);
#pragma omp for schedule(dynamic, 16)
        for (int64_t i = 0; i < options->count; i++) {
            if (st == LS_OK)
                st = make_clip(motion, options, options->first + i);
        }
        if (st != LS_OK) {
#pragma omp critical
            if (result == LS_OK) {
                result = st;
                text = strdup(status_text());
            }
        }
        motion_close(&motion);
    }
    if (result != LS_OK)
        result = status_adopt(result, text != NULL ? text : "out of memory");
    free(text);
    return result;
}

static ls_status write_list(const struct options *options)
{
    ls_status st = LS_OK;
    char *list = NULL, *path = NULL, *buffer = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&buffer, &bytes);
    if (stream == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory");
    for (int64_t number = options->first; number < options->first + options->count; number++) {
        free(path);
        path = NULL;
        LS_TRY(clip_path(&path, options->folder, number));
        if (fprintf(stream, "%s %d\n", path, motion_label((uint64_t)number)) < 0) {
            st = LS_FAIL(LS_NOMEM, "out of memory");
            goto done;
        }
    }
    if (fflush(stream) != 0) {
        st = LS_FAIL(LS_NOMEM, "out of memory");
        goto done;
    }
    LS_TRY(core_format(&list, "%s/LIST.csv", options->folder));
    LS_TRY(files_replace(list, buffer, bytes));
done:
    (void)fclose(stream);
    free(buffer);
    free(path);
    free(list);
    return st;
}

int main(int argc, char **argv)
{
    ls_status st = LS_OK;
    struct options options;
    char *folder = NULL;
    double start = clock_now_s();

    av_log_set_level(AV_LOG_ERROR);
    LS_TRY(parse(&options, argc, argv));
    LS_TRY(files_make_folder(options.folder));
    folder = realpath(options.folder, NULL);
    if (folder == NULL) {
        st = LS_FAIL(LS_IO, "%s: %s", options.folder, strerror(errno));
        goto done;
    }
    options.folder = folder;
    LS_TRY(make_clips(&options));
    LS_TRY(write_list(&options));
    printf("%" PRId64 " clips with 8 labels in %s/LIST.csv, %.1f s\n", options.count, folder,
           clock_now_s() - start);
done:
    free(folder);
    if (st == LS_STOP) {
        (void)fputs(usage, stdout);
        return 0;
    }
    if (st != LS_OK)
        (void)fprintf(stderr, "motion_videos: %s\n", status_message());
    return status_exit_code(st);
}
