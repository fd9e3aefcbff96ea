/* data/colour.h in a build without FFmpeg: stored frames are RGB already. */
#include "data/colour.h"

#include <stdlib.h>

#include "core/files.h"
#include "data/stored/frame.h"

enum { PIXEL_BYTES = 3 };

struct colour {
    const struct AVFrame *frame;
    struct colour_columns columns;
    uint32_t *row;
    int row_capacity;
};

ls_status colour_open(struct colour **out)
{
    return core_alloc(out, 1);
}

void colour_close(struct colour **colour)
{
    if (*colour == NULL)
        return;
    free((*colour)->row);
    free(*colour);
    *colour = NULL;
}

struct picture colour_picture(const struct AVFrame *frame)
{
    return (struct picture){frame->width, frame->height, 0};
}

ls_status colour_begin(struct colour *colour, const struct AVFrame *frame,
                       struct colour_columns columns, bool same_columns)
{
    ls_status st = LS_OK;
    (void)same_columns;
    if (columns.count > colour->row_capacity) {
        free(colour->row);
        colour->row = NULL;
        colour->row_capacity = 0;
        LS_TRY(core_alloc(&colour->row, columns.count));
        colour->row_capacity = columns.count;
    }
    colour->frame = frame;
    colour->columns = columns;
done:
    return st;
}

const uint32_t *colour_row(struct colour *colour, int y)
{
    const uint8_t *row =
        colour->frame->pixels + (size_t)y * (size_t)colour->frame->width * PIXEL_BYTES;
    for (int i = 0; i < colour->columns.count; i++) {
        const uint8_t *pixel = row + (size_t)colour->columns.columns[i] * PIXEL_BYTES;
        colour->row[i] = pixel[0] | (uint32_t)pixel[1] << 8 | (uint32_t)pixel[2] << 16;
    }
    return colour->row;
}
