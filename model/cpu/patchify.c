/* Pixels into rows of the patch embedding's input, normalised on the way: one pass. */
#include <string.h>

#include "model/cpu/device.h"

/* Where a tubelet lies. */
struct tubelet {
    int64_t clip, frame, row, column; /* first pixel */
};

static struct tubelet tubelet_of(const struct op_clips *clips, int64_t index)
{
    int64_t rows = clips->height / clips->patch, columns = clips->width / clips->patch;
    int64_t tokens = clips->frames / clips->tubelet * rows * columns;
    int64_t token = index % tokens;
    return (struct tubelet){.clip = index / tokens,
                            .frame = token / (rows * columns) * clips->tubelet,
                            .row = token % (rows * columns) / columns * clips->patch,
                            .column = token % columns * clips->patch};
}

/* Columns in the order (channel, time, row, column). */
static void read_tubelet(const struct op_device *device, float *out, const struct op_clips *clips,
                         int64_t index)
{
    struct tubelet at = tubelet_of(clips, index);
    int64_t height = clips->height, width = clips->width, frames = clips->frames;
    for (int64_t channel = 0; channel < 3; channel++) {
        float factor = clips->inverse_std[channel] / 255.0f;
        float shift = -clips->mean[channel] * clips->inverse_std[channel];
        for (int64_t t = 0; t < clips->tubelet; t++)
            for (int64_t y = 0; y < clips->patch; y++, out += clips->patch) {
                int64_t frame = at.frame + t, row = at.row + y;
                if (clips->kind == OP_PIXELS_F32_CTHW) {
                    int64_t plane = (at.clip * 3 + channel) * frames + frame;
                    const float *from = clips->pixels_dev;
                    memcpy(out, from + (plane * height + row) * width + at.column,
                           (size_t)clips->patch * sizeof *out);
                } else {
                    int64_t plane = at.clip * frames + frame;
                    const uint8_t *from = clips->pixels_dev;
                    from += ((plane * height + row) * width + at.column) * 3 + channel;
                    device->kernels->pixels(out, from, clips->patch, factor, shift);
                }
            }
    }
}

ls_status patchify_cpu(struct op_device *device, struct op_matrix patches, struct op_clips clips,
                       const int32_t *index_dev)
{
    ls_status st = LS_OK;
    int64_t columns = patches.columns;
    if (clips.patch < 1 || clips.tubelet < 1 || clips.height < clips.patch ||
        clips.width < clips.patch || clips.frames < clips.tubelet ||
        columns != (int64_t)3 * clips.tubelet * clips.patch * clips.patch)
        return LS_FAIL(LS_USAGE, "patchify: %lld columns for tubelets of %d x %d x %d",
                       (long long)columns, clips.tubelet, clips.patch, clips.patch);
    LS_TRY(cpu_workspace_check(device, (size_t)columns * sizeof(float), "patchify"));
    int threads = device->threads;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int part = 0; part < threads; part++) {
        struct cpu_range range = cpu_share(patches.rows, 1, part, threads);
        for (int64_t r = range.begin; r < range.end; r++) {
            float *out = cpu_target(patches, r * columns, cpu_slice(device, part));
            if (index_dev[r] >= 0)
                read_tubelet(device, out, &clips, index_dev[r]);
            else
                memset(out, 0, (size_t)columns * sizeof *out);
            cpu_written(device, patches, r * columns, columns, out);
        }
    }
done:
    return st;
}
