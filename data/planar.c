/* Planar YCbCr to RGB, by rows.
 *
 * Chroma is brought to the luma's columns once for each chroma row (the rows around the current one
 * are kept) and to the luma's rows inside the matrix loop.  Both steps use the cubic filter that
 * swscale's SWS_BICUBIC has (B = 0, C = 0.6) and its siting: chroma samples centred in their luma
 * samples, edges repeated.  Odd sizes give ratios a little off 1/2, as swscale computes them. */
#include "data/planar.h"

#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum {
    TAPS = 4,
    SWS_SAMPLES = 5, /* of swscale's filter, one of which is 0 */
    KEPT_ROWS = 4,   /* rows y - 1 .. y + 2 around a place; kept at row % 4 */
    MARGIN = 8       /* samples of slack in row buffers: filter ends and odd first columns */
};

/* Samples first .. first + 3 and their weights give one filtered sample. */
struct place {
    int32_t first;
    int16_t weight[TAPS];
};

struct kept_row {
    int row; /* -1: empty */
    int16_t *u, *v;
};

struct planar {
    const struct rows_kernels *kernels;
    const AVFrame *frame;
    struct colour_columns columns;
    struct rows_matrix matrix;
    int width, height, format;
    int depth;
    int chroma_width, chroma_height;
    bool doubled; /* contiguous columns and exactly two luma columns a chroma sample */
    int chroma_first, chroma_count; /* samples of a chroma row that the columns need */
    struct place *across;           /* [count], first relative to chroma_first */
    struct place edge[2];           /* of columns 0 and 2 where `doubled` */
    struct place *down;             /* [height] */
    int16_t halves[2][TAPS];        /* weights of a quarter sample left and right */
    struct kept_row kept[KEPT_ROWS];
    int16_t *samples; /* one chroma row before filtering */
    int16_t *luma;
    int row_capacity, height_capacity;
};

ls_status planar_open(struct planar **out)
{
    ls_status st = LS_OK;
    struct planar *planar = NULL;
    LS_TRY(core_alloc(&planar, 1));
    planar->kernels = rows_kernels();
    *out = planar;
done:
    return st;
}

static void free_rows(struct planar *planar)
{
    free(planar->across);
    free(planar->samples);
    free(planar->luma);
    planar->across = NULL;
    planar->samples = NULL;
    planar->luma = NULL;
    for (int i = 0; i < KEPT_ROWS; i++) {
        free(planar->kept[i].u);
        free(planar->kept[i].v);
        planar->kept[i] = (struct kept_row){.row = -1};
    }
    planar->row_capacity = 0;
}

void planar_close(struct planar **planar)
{
    if (*planar == NULL)
        return;
    free_rows(*planar);
    free((*planar)->down);
    free(*planar);
    *planar = NULL;
}

bool planar_reads(int format)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get((enum AVPixelFormat)format);
    const uint64_t refused = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL |
                             AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL |
                             AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_ALPHA;
    if (desc == NULL || desc->nb_components != 3 || (desc->flags & refused) != 0 ||
        (desc->flags & AV_PIX_FMT_FLAG_PLANAR) == 0)
        return false;
    for (int c = 0; c < 3; c++) {
        const AVComponentDescriptor *part = &desc->comp[c];
        if (part->plane != c || part->offset != 0 || part->shift != 0 || part->depth < 8 ||
            part->depth > 16 || part->depth != desc->comp[0].depth ||
            part->step != (part->depth > 8 ? 2 : 1))
            return false;
    }
    return true;
}

static int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

/* Mitchell and Netravali's cubic with B = 0, C = 0.6, at distance x >= 0. */
static double cubic(double x)
{
    const double c = 0.6;
    if (x < 1.0)
        return ((2.0 - c) * x + (c - 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return ((-c * x + 5.0 * c) * x - 8.0 * c) * x + 4.0 * c;
    return 0.0;
}

/* Integer weights of the four samples around a place that lies `part` after the second, of which
 * those in [first, end) are used; their sum is exactly `one`, the rounding error being carried from
 * each to the next. */
static void cubic_weights(int16_t *out, double part, int first, int end, int one)
{
    double carry = 0.0;
    double sum = 0.0;
    for (int k = first; k < end; k++)
        sum += cubic(fabs(part + 1.0 - k));
    for (int k = 0; k < TAPS; k++) {
        const bool used = k >= first && k < end;
        double weight = used ? cubic(fabs(part + 1.0 - k)) / sum * one + carry : 0.0;
        double rounded = rint(weight);
        carry = used ? weight - rounded : 0.0;
        out[k] = (int16_t)rounded;
    }
}

/* Where luma sample x of `luma` lies among `chroma` samples.  The ratio has 16 fraction bits, as
 * swscale has it.
 *
 * swscale's filter has five samples (fewer in tiny pictures) and starts at (2 at - 3) / 2 cut
 * towards 0, not down: at the upper and the left edge it lacks a sample in two places, which the
 * eye does not see but a comparison does. */
static struct place place_of(int x, int luma, int chroma, int one)
{
    struct place place = {.first = x - 1, .weight = {0, (int16_t)one, 0, 0}};
    if (luma == chroma)
        return place;
    const int64_t ratio_fixed = (((int64_t)chroma << 16) + (luma >> 1)) / luma;
    const double ratio = (double)ratio_fixed * 0x1p-16;
    double at = (x + 0.5) * ratio - 0.5;
    double below = floor(at);
    place.first = (int32_t)below - 1;
    const int samples = clamp(chroma - 2, 1, SWS_SAMPLES);
    const int start = (int)(at - (samples - 2) * 0.5) - place.first;
    cubic_weights(place.weight, at - below, clamp(start, 0, TAPS - 1),
                  clamp(start + samples, 1, TAPS), one);
    return place;
}

static ls_status reserve(struct planar *planar, int row_samples, int height)
{
    ls_status st = LS_OK;
    const size_t samples = (size_t)row_samples + MARGIN;
    if (row_samples > planar->row_capacity) {
        free_rows(planar);
        LS_TRY(core_alloc(&planar->across, samples));
        LS_TRY(core_alloc(&planar->samples, samples));
        LS_TRY(core_alloc(&planar->luma, samples));
        for (int i = 0; i < KEPT_ROWS; i++) {
            LS_TRY(core_alloc(&planar->kept[i].u, samples));
            LS_TRY(core_alloc(&planar->kept[i].v, samples));
        }
        planar->row_capacity = row_samples;
    }
    if (height > planar->height_capacity) {
        free(planar->down);
        planar->down = NULL;
        planar->height_capacity = 0;
        LS_TRY(core_alloc(&planar->down, height));
        planar->height_capacity = height;
    }
done:
    return st;
}

/* Tables for this size and these columns. */
static ls_status make_tables(struct planar *planar)
{
    ls_status st = LS_OK;
    const struct colour_columns *want = &planar->columns;
    LS_TRY(reserve(planar, planar->width, planar->height));
    const int one = 1 << ROWS_ACROSS_BITS;
    const int start = want->columns[0];
    planar->doubled = want->contiguous && planar->chroma_width * 2 == planar->width;
    if (planar->doubled) {
        planar->chroma_first = start / 2 - 2;
        planar->chroma_count = (want->columns[want->count - 1] / 2 + 2) - planar->chroma_first + 1;
        cubic_weights(planar->halves[0], 0.75, 0, TAPS, one);
        cubic_weights(planar->halves[1], 0.25, 0, TAPS, one);
        for (int i = 0; i < 2; i++)
            planar->edge[i] = place_of(2 * i, planar->width, planar->chroma_width, one);
    } else {
        for (int i = 0; i < want->count; i++)
            planar->across[i] =
                place_of(want->columns[i], planar->width, planar->chroma_width, one);
        planar->chroma_first = planar->across[0].first;
        planar->chroma_count = planar->across[want->count - 1].first + TAPS - planar->chroma_first;
        for (int i = 0; i < want->count; i++)
            planar->across[i].first -= planar->chroma_first;
    }
    for (int y = 0; y < planar->height; y++)
        planar->down[y] = place_of(y, planar->height, planar->chroma_height, 1 << ROWS_DOWN_BITS);
done:
    return st;
}

ls_status planar_begin(struct planar *planar, const struct AVFrame *frame,
                       struct colour_columns columns, bool same_columns,
                       const struct rows_matrix *matrix)
{
    ls_status st = LS_OK;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    const bool same = same_columns && planar->frame != NULL && planar->width == frame->width &&
                      planar->height == frame->height && planar->format == frame->format;
    planar->frame = frame;
    planar->columns = columns;
    planar->matrix = *matrix;
    if (!same) {
        planar->frame = NULL; /* until the tables stand */
        planar->width = frame->width;
        planar->height = frame->height;
        planar->format = frame->format;
        planar->depth = desc->comp[0].depth;
        planar->chroma_width = AV_CEIL_RSHIFT(frame->width, desc->log2_chroma_w);
        planar->chroma_height = AV_CEIL_RSHIFT(frame->height, desc->log2_chroma_h);
        LS_TRY(make_tables(planar));
        planar->frame = frame;
    }
    for (int i = 0; i < KEPT_ROWS; i++)
        planar->kept[i].row = -1;
done:
    return st;
}

static void widen(const struct planar *planar, int16_t *out, int plane, int y, int first, int count,
                  int bits)
{
    const uint8_t *row = planar->frame->data[plane] + (ptrdiff_t)y * planar->frame->linesize[plane];
    const int shift = bits + 8 - planar->depth;
    if (planar->depth == 8)
        planar->kernels->widen8(out, row + first, count, shift);
    else
        planar->kernels->widen16(out, (const uint16_t *)(const void *)row + first, count, shift);
}

/* The filtered sample at a place; `samples` begins at the place's first. */
static int16_t filter_at(const int16_t *samples, const struct place *place)
{
    int sum = (samples[0] * place->weight[0] + samples[1] * place->weight[1] +
               samples[2] * place->weight[2] + samples[3] * place->weight[3]) >>
              ROWS_ACROSS_BITS;
    return (int16_t)(sum < INT16_MAX ? sum : INT16_MAX);
}

/* Chroma row `row` of one plane at the wanted columns. */
static void filter_chroma(struct planar *planar, int16_t *out, int plane, int row)
{
    const int first = clamp(planar->chroma_first, 0, planar->chroma_width - 1);
    const int end =
        clamp(planar->chroma_first + planar->chroma_count, first + 1, planar->chroma_width);
    int16_t *samples = planar->samples;
    widen(planar, samples + (first - planar->chroma_first), plane, row, first, end - first,
          ROWS_CHROMA_BITS);
    for (int i = 0; i < first - planar->chroma_first; i++)
        samples[i] = samples[first - planar->chroma_first];
    for (int i = end - planar->chroma_first; i < planar->chroma_count; i++)
        samples[i] = samples[end - planar->chroma_first - 1];
    if (planar->doubled) {
        planar->kernels->upsample2(out, samples, planar->chroma_count - 4, planar->halves[0],
                                   planar->halves[1]);
        /* out[0] is column 2 * (chroma_first + 2). */
        for (int i = 0; i < 2; i++) {
            const ptrdiff_t sample = i - (planar->chroma_first + 2);
            if (sample >= 0 && sample < planar->chroma_count - 4)
                out[2 * sample] = filter_at(samples + planar->edge[i].first - planar->chroma_first,
                                            &planar->edge[i]);
        }
        return;
    }
    for (int i = 0; i < planar->columns.count; i++)
        out[i] = filter_at(samples + planar->across[i].first, &planar->across[i]);
}

/* The wanted luma samples of row y. */
static const int16_t *luma_row(struct planar *planar, int y)
{
    const struct colour_columns *want = &planar->columns;
    const int first = want->columns[0];
    int16_t *luma = planar->luma;
    widen(planar, luma, 0, y, first, want->columns[want->count - 1] - first + 1, ROWS_LUMA_BITS);
    if (!want->contiguous)
        for (int i = 0; i < want->count; i++) /* ascending: each is read before it is overwritten */
            luma[i] = luma[want->columns[i] - first];
    return luma;
}

void planar_row(struct planar *planar, uint32_t *out, int y)
{
    const struct place *place = &planar->down[y];
    const int skip = planar->doubled ? planar->columns.columns[0] % 2 : 0;
    struct rows_chroma chroma;
    for (int k = 0; k < TAPS; k++) {
        int row = clamp(place->first + k, 0, planar->chroma_height - 1);
        struct kept_row *kept = &planar->kept[row % KEPT_ROWS];
        if (kept->row != row) {
            filter_chroma(planar, kept->u, 1, row);
            filter_chroma(planar, kept->v, 2, row);
            kept->row = row;
        }
        chroma.u[k] = kept->u + skip;
        chroma.v[k] = kept->v + skip;
        chroma.weight[k] = place->weight[k];
    }
    planar->kernels->matrix(out, luma_row(planar, y), &chroma, &planar->matrix,
                            planar->columns.count);
}
