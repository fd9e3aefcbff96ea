/* shown_frames: the frames of a packed video as a training run sees them, whole and at their own
 * size: RGB after colour conversion and orientation, as P6 pictures one after another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/colour.h"
#include "data/dataset.h"
#include "data/transform.h"

static const char usage[] =
    "usage: shown_frames DATASET VIDEO COUNT\n"
    "  Writes the first COUNT shown frames of the video (its name as listed) as PPM.\n";

struct shown {
    struct transform *transform;
    struct transform_view view;
    uint8_t *pixels;
};

/* A frame may have another size than the first; it is written at its own. */
static ls_status write_frame(void *context, int position, const struct AVFrame *frame)
{
    ls_status st = LS_OK;
    struct shown *shown = context;
    struct transform_view *view = &shown->view;
    const struct picture picture = colour_picture(frame);
    const bool turned = view->orientation.quarter_turns % 2 == 1;
    (void)position;
    view->width = view->shown_width = turned ? picture.height : picture.width;
    view->height = view->shown_height = turned ? picture.width : picture.height;
    view->box = (struct crop_box){.width = view->width, .height = view->height};
    const size_t bytes = (size_t)view->width * (size_t)view->height * 3;
    free(shown->pixels);
    shown->pixels = NULL;
    LS_TRY(core_alloc(&shown->pixels, bytes));
    LS_TRY(transform_frame(shown->transform, shown->pixels, frame, view));
    if (printf("P6\n%d %d\n255\n", view->width, view->height) < 0 ||
        fwrite(shown->pixels, 1, bytes, stdout) != bytes)
        st = LS_FAIL(LS_IO, "cannot write");
done:
    return st;
}

static ls_status find_video(int64_t *out, const struct dataset *dataset, const char *name)
{
    for (int64_t v = 0; v < dataset_video_count(dataset); v++) {
        if (strcmp(dataset_video(dataset, v).name, name) == 0) {
            *out = v;
            return LS_OK;
        }
    }
    return LS_FAIL(LS_USAGE, "%s: no video '%s'", dataset_path(dataset), name);
}

static ls_status run(char **arguments)
{
    ls_status st = LS_OK;
    struct dataset *dataset = NULL;
    struct clip_reader *reader = NULL;
    struct shown shown = {0};
    int64_t video = 0;
    int64_t wanted = strtoll(arguments[2], NULL, 10);
    LS_TRY(dataset_open(&dataset, arguments[0]));
    LS_TRY(find_video(&video, dataset, arguments[1]));
    shown.view.orientation = dataset_video_orientation(dataset, video);
    LS_TRY(transform_open(&shown.transform));
    LS_TRY(clip_reader_open(&reader));
    for (int64_t n = 0; n < wanted && n < dataset_video(dataset, video).frames; n++)
        LS_TRY(clip_reader_read(reader, dataset, video, &n, 1, write_frame, &shown));
done:
    clip_reader_close(&reader);
    transform_close(&shown.transform);
    dataset_close(&dataset);
    free(shown.pixels);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fputs(usage, stderr);
        return 2;
    }
    if (run(argv + 1) != LS_OK) {
        (void)fprintf(stderr, "shown_frames: %s\n", status_text());
        return 1;
    }
    return 0;
}
