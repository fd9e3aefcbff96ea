/* Noise is made of 16 random bits a value through a table of the distribution: it needs no
 * transcendental function per pixel, and the same bits give the same pixel on every machine. */
#include "data/erase.h"

#include <math.h>
#include <stdlib.h>

#include "core/files.h"

enum { TRIES = 100, BITS = 16, LEVELS = 1 << BITS };

struct eraser {
    uint8_t value[3][LEVELS];
};

bool erase_draw(struct crop_box *out, struct random_stream *stream, double probability, int width,
                int height)
{
    static const double area_low = 0.02;
    static const double area_high = 1.0 / 3.0;
    static const double aspect_low = 0.3;
    if (random_unit(stream) >= probability)
        return false;
    for (int i = 0; i < TRIES; i++) {
        double area = random_uniform(stream, area_low, area_high) * width * height;
        double aspect = exp(random_uniform(stream, log(aspect_low), log(1.0 / aspect_low)));
        double box_height = rint(sqrt(area * aspect));
        double box_width = rint(sqrt(area / aspect));
        if (box_width < 1 || box_width >= width || box_height < 1 || box_height >= height)
            continue;
        *out = (struct crop_box){.width = (int)box_width, .height = (int)box_height};
        out->top = (int)random_below(stream, (uint64_t)(height - out->height) + 1);
        out->left = (int)random_below(stream, (uint64_t)(width - out->width) + 1);
        return true;
    }
    return false;
}

/* Share of the noise that is at most `level` as a pixel. */
static double share_up_to(int channel, int level)
{
    /* What the model subtracts and divides by (model/encoder.c). */
    static const double mean[] = {0.485, 0.456, 0.406};
    static const double deviation[] = {0.229, 0.224, 0.225};
    double z = ((level + 0.5) / 255.0 - mean[channel]) / deviation[channel];
    return 0.5 * erfc(-z / sqrt(2.0));
}

ls_status eraser_open(struct eraser **out)
{
    ls_status st = LS_OK;
    struct eraser *eraser = NULL;
    LS_TRY(core_alloc(&eraser, 1));
    for (int c = 0; c < 3; c++) {
        int level = 0;
        for (int i = 0; i < LEVELS; i++) {
            while (level < 255 && share_up_to(c, level) * LEVELS <= i)
                level++;
            eraser->value[c][i] = (uint8_t)level;
        }
    }
    *out = eraser;
done:
    return st;
}

void eraser_close(struct eraser **eraser)
{
    free(*eraser);
    *eraser = NULL;
}

void erase_fill(uint8_t *pixels, const struct eraser *eraser, struct random_stream *stream,
                struct crop_box box, int frames, int width, int height)
{
    uint32_t word = 0;
    bool half = false;
    for (int t = 0; t < frames; t++)
        for (int y = 0; y < box.height; y++) {
            uint8_t *row = pixels + (((ptrdiff_t)t * height + box.top + y) * width + box.left) * 3;
            for (int i = 0; i < box.width * 3; i++) {
                word = half ? word >> BITS : random_u32(stream);
                half = !half;
                row[i] = eraser->value[i % 3][word & (LEVELS - 1)];
            }
        }
}
