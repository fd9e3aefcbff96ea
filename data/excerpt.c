/* One decoder for a moment; each frame goes through as many transforms as there are sizes. */
#include "data/excerpt.h"

#include <string.h>

#include "data/transform.h"
#include "data/view.h"

struct excerpt {
    struct transform *transform;
    struct transform_view view;
    const int64_t *frames;
    const struct excerpt_size *sizes;
    int size_count, written;
};

static ls_status take_frame(void *context, int position, const struct AVFrame *frame)
{
    ls_status st = LS_OK;
    struct excerpt *excerpt = context;
    const bool again = position > 0 && excerpt->frames[position] == excerpt->frames[position - 1];
    for (int i = 0; i < excerpt->size_count; i++) {
        const int side = excerpt->sizes[i].side;
        const size_t bytes = (size_t)side * (size_t)side * 3;
        uint8_t *out = excerpt->sizes[i].pixels + (size_t)position * bytes;
        excerpt->view.width = excerpt->view.height = side;
        if (again)
            memcpy(out, out - bytes, bytes);
        else
            LS_TRY(transform_frame(excerpt->transform, out, frame, &excerpt->view));
    }
    excerpt->written++;
done:
    return st;
}

ls_status excerpt_read(const struct dataset *dataset, int64_t video, const int64_t *frames,
                       int count, const struct excerpt_size *sizes, int size_count)
{
    ls_status st = LS_OK;
    struct clip_reader *reader = NULL;
    const struct dataset_video facts = dataset_video(dataset, video);
    const struct view_options middle = {.views = 1, .test_scale = 1.0};
    struct excerpt excerpt = {.frames = frames, .sizes = sizes, .size_count = size_count};
    if (facts.width < 1 || facts.height < 1)
        return LS_FAIL(LS_DATA, "%s: frames of %d x %d", facts.name, facts.width, facts.height);
    excerpt.view = (struct transform_view){.orientation = dataset_video_orientation(dataset, video),
                                           .shown_width = facts.width,
                                           .shown_height = facts.height,
                                           .box = view_box(&middle, 0, facts.width, facts.height)};
    LS_TRY(transform_open(&excerpt.transform));
    LS_TRY(clip_reader_open(&reader));
    LS_TRY(clip_reader_read(reader, dataset, video, frames, count, take_frame, &excerpt));
    if (excerpt.written != count)
        st = LS_FAIL(LS_DATA, "%s: %d of %d frames were decoded", facts.name, excerpt.written,
                     count);
done:
    clip_reader_close(&reader);
    transform_close(&excerpt.transform);
    return st;
}
