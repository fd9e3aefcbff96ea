/* Frame to training image.
 *
 * All geometry is put into one plan in stored coordinates: a box, resampled along x and y, either
 * axis mirrored, the result transposed where the video is shown turned by a quarter.  So rotation
 * and flips cost nothing but another order of the tables.  Rows are converted to RGB only where the
 * box needs them, blended across once each, and blended down in pairs. */
#include "data/transform.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/colour.h"
#include "data/resample.h"
#include "data/rows.h"

/* A view of a frame in stored coordinates.  Plans are compared by their bytes: only ints, so that
 * there is no padding. */
struct plan {
    struct crop_box box;
    int across, down;                  /* output samples along stored x and y */
    int mirror_x, mirror_y, transpose; /* truth values */
    int frame_width, frame_height, frame_format;
};

/* A source row, blended across. */
struct blended {
    int row; /* -1: empty */
    float *values;
};

struct transform {
    const struct rows_kernels *kernels;
    struct colour *colour;
    struct plan plan;
    struct resample_axis x, y;
    int32_t *columns; /* source columns in use; x.low and x.high index it */
    int column_count;
    bool contiguous;
    struct blended blended[2];
    uint8_t *line; /* one output row along stored x, for transposing */
    int capacity;  /* output samples along an axis that the tables have room for */
    int column_capacity;
};

ls_status transform_open(struct transform **out)
{
    ls_status st = LS_OK;
    struct transform *transform = NULL;
    LS_TRY(core_alloc(&transform, 1));
    LS_TRY(colour_open(&transform->colour));
    transform->kernels = rows_kernels();
    *out = transform;
    transform = NULL;
done:
    transform_close(&transform);
    return st;
}

static void free_axis(struct resample_axis *axis)
{
    free(axis->low);
    free(axis->high);
    free(axis->weight);
    *axis = (struct resample_axis){0};
}

static void free_tables(struct transform *transform)
{
    free_axis(&transform->x);
    free_axis(&transform->y);
    for (int i = 0; i < 2; i++) {
        free(transform->blended[i].values);
        transform->blended[i].values = NULL;
    }
    free(transform->line);
    transform->line = NULL;
    transform->capacity = 0;
}

void transform_close(struct transform **transform)
{
    if (*transform == NULL)
        return;
    colour_close(&(*transform)->colour);
    free_tables(*transform);
    free((*transform)->columns);
    free(*transform);
    *transform = NULL;
}

static ls_status alloc_axis(struct resample_axis *axis, int count)
{
    ls_status st = LS_OK;
    LS_TRY(core_alloc(&axis->low, count));
    LS_TRY(core_alloc(&axis->high, count));
    LS_TRY(core_alloc(&axis->weight, count));
done:
    return st;
}

static ls_status reserve(struct transform *transform, const struct plan *plan)
{
    ls_status st = LS_OK;
    const int count = plan->across > plan->down ? plan->across : plan->down;
    if (count > transform->capacity) {
        free_tables(transform);
        LS_TRY(alloc_axis(&transform->x, count));
        LS_TRY(alloc_axis(&transform->y, count));
        for (int i = 0; i < 2; i++)
            LS_TRY(core_alloc(&transform->blended[i].values, 3 * (size_t)count + 1));
        LS_TRY(core_alloc(&transform->line, 3 * (size_t)count));
        transform->capacity = count;
    }
    if (plan->box.width > transform->column_capacity) {
        free(transform->columns);
        transform->columns = NULL;
        transform->column_capacity = 0;
        LS_TRY(core_alloc(&transform->columns, plan->box.width));
        transform->column_capacity = plan->box.width;
    }
done:
    return st;
}

/* Shown (X, Y) of stored (x, y) after k quarter turns clockwise in a stored frame of w x h:
 * k = 1: (h - 1 - y, x), k = 2: (w - 1 - x, h - 1 - y), k = 3: (y, w - 1 - x). */
static struct plan plan_of(struct picture frame, const struct transform_view *view)
{
    const int turns = view->orientation.quarter_turns & 3;
    const bool transpose = turns % 2 == 1;
    const int shown_width = transpose ? frame.height : frame.width;
    const int shown_height = transpose ? frame.width : frame.height;
    struct crop_box shown =
        crop_rescale(view->box, view->shown_width, view->shown_height, shown_width, shown_height);
    const bool mirror = view->flip != view->orientation.flip_horizontal;
    if (view->orientation.flip_horizontal)
        shown.left = shown_width - shown.left - shown.width;
    struct plan plan = {0};
    plan.transpose = transpose;
    plan.across = transpose ? view->height : view->width;
    plan.down = transpose ? view->width : view->height;
    plan.box = shown;
    if (transpose)
        plan.box = (struct crop_box){
            .left = shown.top, .top = shown.left, .width = shown.height, .height = shown.width};
    if (turns == 2 || turns == 3)
        plan.box.left = frame.width - plan.box.left - plan.box.width;
    if (turns == 1 || turns == 2)
        plan.box.top = frame.height - plan.box.top - plan.box.height;
    plan.mirror_x = (turns == 2 || turns == 3) != (!transpose && mirror);
    plan.mirror_y = (turns == 1 || turns == 2) != (transpose && mirror);
    plan.frame_width = frame.width;
    plan.frame_height = frame.height;
    plan.frame_format = frame.format;
    return plan;
}

/* List the source columns in use and make x.low and x.high indices into the list.  All columns of
 * the box are listed, so that they are contiguous, unless less than half of them is used. */
static void list_columns(struct transform *transform)
{
    const struct plan *plan = &transform->plan;
    struct resample_axis *x = &transform->x;
    transform->contiguous = plan->box.width <= 4 * plan->across;
    if (transform->contiguous) {
        transform->column_count = plan->box.width;
        for (int i = 0; i < plan->box.width; i++)
            transform->columns[i] = plan->box.left + i;
        for (int i = 0; i < x->count; i++) {
            x->low[i] -= plan->box.left;
            x->high[i] -= plan->box.left;
        }
        return;
    }
    int count = 0;
    for (int i = 0; i < x->count; i++) { /* in ascending order of the source */
        const int place = plan->mirror_x ? x->count - 1 - i : i;
        if (count == 0 || transform->columns[count - 1] != x->low[place])
            transform->columns[count++] = x->low[place];
        x->low[place] = count - 1;
        if (transform->columns[count - 1] != x->high[place])
            transform->columns[count++] = x->high[place];
        x->high[place] = count - 1;
    }
    transform->column_count = count;
}

static ls_status begin(struct transform *transform, const struct AVFrame *frame,
                       const struct transform_view *view)
{
    ls_status st = LS_OK;
    const struct plan plan = plan_of(colour_picture(frame), view);
    const bool same = memcmp(&plan, &transform->plan, sizeof plan) == 0;
    if (!same) {
        memset(&transform->plan, 0, sizeof plan);
        LS_TRY(reserve(transform, &plan));
        transform->x.count = plan.across;
        transform->y.count = plan.down;
        resample_axis_fill(&transform->x, plan.box.left, plan.box.width, plan.mirror_x);
        resample_axis_fill(&transform->y, plan.box.top, plan.box.height, false);
        transform->plan = plan;
        list_columns(transform);
    }
    for (int i = 0; i < 2; i++)
        transform->blended[i].row = -1;
    struct colour_columns columns = {.columns = transform->columns,
                                     .count = transform->column_count,
                                     .contiguous = transform->contiguous};
    st = colour_begin(transform->colour, frame, columns, same);
    if (st != LS_OK)
        memset(&transform->plan, 0, sizeof plan); /* what the converter keeps is not known */
done:
    return st;
}

/* Source row `row` blended across; the row before it stays. */
static const float *blended_row(struct transform *transform, int row)
{
    struct blended *blended = &transform->blended[row & 1];
    if (blended->row != row) {
        const uint32_t *pixels = colour_row(transform->colour, row);
        transform->kernels->blend_across(blended->values, pixels, transform->x.low,
                                         transform->x.high, transform->x.weight,
                                         transform->x.count);
        blended->row = row;
    }
    return blended->values;
}

ls_status transform_frame(struct transform *transform, uint8_t *out, const struct AVFrame *frame,
                          const struct transform_view *view)
{
    ls_status st = LS_OK;
    LS_TRY(begin(transform, frame, view));
    const struct plan *plan = &transform->plan;
    const ptrdiff_t out_stride = 3 * (ptrdiff_t)view->width;
    for (int j = 0; j < plan->down; j++) {
        const int place = plan->mirror_y ? plan->down - 1 - j : j;
        uint8_t *line = plan->transpose ? transform->line : out + place * out_stride;
        const float *above = blended_row(transform, transform->y.low[j]);
        const float *below = blended_row(transform, transform->y.high[j]);
        transform->kernels->blend_down(line, above, below, transform->y.weight[j],
                                       3 * plan->across);
        if (plan->transpose)
            for (int i = 0; i < plan->across; i++)
                memcpy(out + i * out_stride + 3 * (ptrdiff_t)place, line + 3 * (ptrdiff_t)i, 3);
    }
done:
    return st;
}
