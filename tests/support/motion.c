/* Draws the clips: two periodic textures of blurred uniform noise, one sampled along the drift, one
 * shifted at random, added and normalised frame by frame. */
#include "tests/support/motion.h"

#include <math.h>
#include <stdlib.h>

#include "core/files.h"
#include "core/random.h"

enum { WORLD = 128, WORLD_PIXELS = WORLD * WORLD, FRAME_PIXELS = MOTION_SIZE * MOTION_SIZE };

struct motion {
    double cloud[WORLD_PIXELS];
    double flicker[WORLD_PIXELS];
    double scratch[WORLD_PIXELS];
    double frame[FRAME_PIXELS];
};

ls_status motion_open(struct motion **out)
{
    return core_alloc(out, 1);
}

void motion_close(struct motion **motion)
{
    free(*motion);
    *motion = NULL;
}

int motion_label(uint64_t number)
{
    return (int)(number % MOTION_LABELS);
}

/* Give `count` values the mean and standard deviation asked for. */
static void normalise(double *values, int count, double mean, double deviation)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    double centre = sum / count;
    double squares = 0;
    for (int i = 0; i < count; i++)
        squares += (values[i] - centre) * (values[i] - centre);
    double scale = deviation / sqrt(squares / count);
    for (int i = 0; i < count; i++)
        values[i] = mean + (values[i] - centre) * scale;
}

/* Sums of five neighbours along one axis, with wrapping; `stride` 1 for rows, WORLD for columns. */
static void blur_axis(double *out, const double *in, int stride)
{
    int other = stride == 1 ? WORLD : 1;
    for (int line = 0; line < WORLD; line++) {
        for (int i = 0; i < WORLD; i++) {
            double sum = 0;
            for (int k = WORLD - 2; k <= WORLD + 2; k++)
                sum += in[line * other + (i + k) % WORLD * stride];
            out[line * other + i * stride] = sum;
        }
    }
}

/* A texture: uniform noise, a 5 x 5 box blur twice, mean 0, standard deviation 1. */
static void draw_texture(double *out, double *scratch, struct random_stream *random)
{
    for (int i = 0; i < WORLD_PIXELS; i++)
        out[i] = random_uniform(random, -1.0, 1.0);
    for (int pass = 0; pass < 2; pass++) {
        blur_axis(scratch, out, 1);
        blur_axis(out, scratch, WORLD);
    }
    normalise(out, WORLD_PIXELS, 0.0, 1.0);
}

/* The texture at a point, bilinear, with wrapping; x and y are at least -WORLD. */
static double sample(const double *texture, double x, double y)
{
    int left = (int)floor(x);
    int top = (int)floor(y);
    double right_share = x - left;
    double bottom_share = y - top;
    int x0 = (left + WORLD) % WORLD;
    int y0 = (top + WORLD) % WORLD;
    int x1 = (x0 + 1) % WORLD;
    int y1 = (y0 + 1) % WORLD;
    double upper =
        texture[y0 * WORLD + x0] * (1.0 - right_share) + texture[y0 * WORLD + x1] * right_share;
    double lower =
        texture[y1 * WORLD + x0] * (1.0 - right_share) + texture[y1 * WORLD + x1] * right_share;
    return upper * (1.0 - bottom_share) + lower * bottom_share;
}

void motion_draw(struct motion *motion, uint8_t *frames, uint64_t seed, uint64_t number)
{
    struct random_stream random;
    random_open(&random, seed, RANDOM_TEST, number, 0, 0);
    draw_texture(motion->cloud, motion->scratch, &random);
    draw_texture(motion->flicker, motion->scratch, &random);
    double x_offset = random_uniform(&random, 0, WORLD);
    double y_offset = random_uniform(&random, 0, WORLD);
    double angle = motion_label(number) * acos(-1.0) / 4.0;

    for (int t = 0; t < MOTION_FRAMES; t++) {
        double x_start = x_offset - MOTION_SPEED * cos(angle) * t;
        double y_start = y_offset - MOTION_SPEED * sin(angle) * t;
        int x_jump = (int)random_below(&random, WORLD);
        int y_jump = (int)random_below(&random, WORLD);
        for (int y = 0; y < MOTION_SIZE; y++) {
            for (int x = 0; x < MOTION_SIZE; x++) {
                double cloud = sample(motion->cloud, x + x_start, y + y_start);
                double flicker =
                    motion->flicker[(y + y_jump) % WORLD * WORLD + (x + x_jump) % WORLD];
                motion->frame[y * MOTION_SIZE + x] = cloud + flicker;
            }
        }
        normalise(motion->frame, FRAME_PIXELS, 128.0, 45.0);
        for (int i = 0; i < FRAME_PIXELS; i++) {
            double grey = fmin(fmax(round(motion->frame[i]), 0.0), 255.0);
            frames[t * FRAME_PIXELS + i] = (uint8_t)grey;
        }
    }
}
