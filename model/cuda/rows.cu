/* Operators that move rows: gather, scatter, patches.  All are bound by memory: they read every
 * input once and write every output once, neighbouring threads at neighbouring addresses, and
 * compute in float32.  No thread adds to another's output, so all are deterministic.  Up to 2^31 -
 * 1 rows. */
#include "model/cuda/internal.h"
#include "model/cuda/product.h"

/* One block a row of `to`, threads along it; moves one row in and one out, 4 bytes of index. */
template <typename To, typename From>
static __global__ void gather_kernel(To *to, const From *from, const int32_t *index,
                                     const float *fill, int64_t columns)
{
    int64_t row = blockIdx.x;
    int32_t source = index[row];
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        float value = 0.0F;
        if (source >= 0)
            value = load(from + source * columns + c);
        else if (source == -1)
            value = fill[c];
        store(to + row * columns + c, value);
    }
}

ls_status gather_rows_cuda(struct op_device *device, struct op_matrix to, struct op_matrix from,
                           const int32_t *index_dev, const float *fill_dev)
{
    if (to.columns != from.columns)
        return LS_FAIL(LS_USAGE, "gather: widths differ");
    if (to.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(to.dtype, To, LS_BY_DTYPE(from.dtype, From, {
                    auto kernel = gather_kernel<To, From>;
                    LS_LAUNCH(kernel, (unsigned)to.rows, 128, 0, device->stream, (To *)to.data_dev,
                              (const From *)from.data_dev, index_dev, fill_dev, to.columns);
                }));
    return launch_check("gather");
}

/* One block a row of `dto`, threads along it; a row of dfrom is named at most once, so nobody else
 * adds to it.  Reads both rows and writes one. */
template <typename D, typename S>
static __global__ void scatter_kernel(D *dfrom, const S *dto, const int32_t *index, int64_t columns)
{
    int64_t row = blockIdx.x;
    int32_t target = index[row];
    if (target < 0)
        return;
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        D *place = dfrom + target * columns + c;
        store(place, load(place) + load(dto + row * columns + c));
    }
}

ls_status scatter_rows_cuda(struct op_device *device, struct op_matrix dfrom, float *dfill_dev,
                            struct op_matrix dto, const int32_t *index_dev, bool accumulate)
{
    ls_status st = LS_OK;
    size_t element = dfrom.dtype == OP_F32 ? 4 : 2;
    if (dto.columns != dfrom.columns)
        return LS_FAIL(LS_USAGE, "scatter: widths differ");
    if (!accumulate)
        LS_TRY(zero_cuda(device, dfrom.data_dev, (size_t)(dfrom.rows * dfrom.columns) * element));
    if (dto.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(dfrom.dtype, D, LS_BY_DTYPE(dto.dtype, S, {
                    auto kernel = scatter_kernel<D, S>;
                    LS_LAUNCH(kernel, (unsigned)dto.rows, 128, 0, device->stream,
                              (D *)dfrom.data_dev, (const S *)dto.data_dev, index_dev, dto.columns);
                }));
    LS_TRY(launch_check("scatter"));
    if (dfill_dev != NULL)
        LS_TRY(column_sums(device, dfill_dev, dto, index_dev));
done:
    return st;
}

/* Chosen, not indexed: an indexed kernel parameter is copied to local memory. */
static __device__ float of_channel(const float *values, int channel)
{
    return channel == 0 ? values[0] : channel == 1 ? values[1] : values[2];
}

/* One block a token; threads run over (channel, time, row, column) of its tubelet.  Reads of uint8
 * are 3 bytes apart, but a tubelet row's bytes are read by one warp: every cache line is fetched
 * once. */
template <typename To>
static __global__ void patchify_kernel(To *patches, struct op_clips clips, const int32_t *index)
{
    int64_t row = blockIdx.x;
    int32_t token = index[row];
    int patch = clips.patch;
    int grid_columns = clips.width / patch;
    int plane = clips.height / patch * grid_columns;
    int per_clip = clips.frames / clips.tubelet * plane;
    int columns = 3 * clips.tubelet * patch * patch;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        float value = 0.0F;
        if (token >= 0) {
            int64_t clip = token / per_clip;
            int t0 = token % per_clip / plane * clips.tubelet;
            int y0 = token % plane / grid_columns * patch;
            int x0 = token % grid_columns * patch;
            int channel = c / (clips.tubelet * patch * patch);
            int64_t frame = t0 + c / (patch * patch) % clips.tubelet;
            int64_t y = y0 + c / patch % patch;
            int64_t x = x0 + c % patch;
            if (clips.kind == OP_PIXELS_U8_THWC) {
                int64_t at =
                    (((clip * clips.frames + frame) * clips.height + y) * clips.width + x) * 3;
                float pixel = (float)((const uint8_t *)clips.pixels_dev)[at + channel] / 255.0F;
                value = (pixel - of_channel(clips.mean, channel)) *
                        of_channel(clips.inverse_std, channel);
            } else {
                int64_t at = (((clip * 3 + channel) * clips.frames + frame) * clips.height + y) *
                                 clips.width +
                             x;
                value = ((const float *)clips.pixels_dev)[at];
            }
        }
        store(patches + row * columns + c, value);
    }
}

ls_status patchify_cuda(struct op_device *device, struct op_matrix patches, struct op_clips clips,
                        const int32_t *index_dev)
{
    if (patches.columns != 3 * clips.tubelet * clips.patch * clips.patch)
        return LS_FAIL(LS_USAGE, "patchify: width does not fit the patch");
    if (patches.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(patches.dtype, To, {
        auto kernel = patchify_kernel<To>;
        LS_LAUNCH(kernel, (unsigned)patches.rows, 256, 0, device->stream, (To *)patches.data_dev,
                  clips, index_dev);
    });
    return launch_check("patchify");
}
