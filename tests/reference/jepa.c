/* Written from the papers and design section 4, not from model/: it shares only the parameter
 * table. */
#include "tests/reference/jepa.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *room(int64_t count)
{
    double *memory = calloc((size_t)count + 1, sizeof *memory);
    if (memory == NULL)
        abort();
    return memory;
}

/* The values of the parameter PREFIX + PART in a flat array. */
static const double *value(const struct reference_jepa *jepa, const double *flat,
                           const char *prefix, const char *part)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s%s", prefix, part);
    const struct parameter *parameter = parameters_find(jepa->parameters, name);
    if (parameter == NULL)
        abort();
    return flat + parameter->offset;
}

/* y[n][out] = x[n][in] w[out][in]^T + b[out], for the linear map called PREFIX. */
static void linear(const struct reference_jepa *jepa, const double *flat, const char *prefix,
                   double *y, const double *x, int64_t n, int64_t in, int64_t out)
{
    const double *w = value(jepa, flat, prefix, ".weight");
    const double *b = value(jepa, flat, prefix, ".bias");
    for (int64_t r = 0; r < n; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = b[o];
            for (int64_t i = 0; i < in; i++)
                sum += x[r * in + i] * w[o * in + i];
            y[r * out + o] = sum;
        }
}

/* y = (x - mean) / sqrt(variance + eps), by rows. */
static void normalize(double *y, const double *x, int64_t n, int64_t dim, double eps)
{
    for (int64_t r = 0; r < n; r++) {
        double mean = 0.0;
        double variance = 0.0;
        for (int64_t c = 0; c < dim; c++)
            mean += x[r * dim + c] / (double)dim;
        for (int64_t c = 0; c < dim; c++)
            variance += (x[r * dim + c] - mean) * (x[r * dim + c] - mean) / (double)dim;
        for (int64_t c = 0; c < dim; c++)
            y[r * dim + c] = (x[r * dim + c] - mean) / sqrt(variance + eps);
    }
}

/* The layer norm called PREFIX. */
static void layer_norm(const struct reference_jepa *jepa, const double *flat, const char *prefix,
                       double *y, const double *x, int64_t n, int64_t dim)
{
    const double *gain = value(jepa, flat, prefix, ".weight");
    const double *bias = value(jepa, flat, prefix, ".bias");
    normalize(y, x, n, dim, 1e-6);
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < dim; c++)
            y[r * dim + c] = y[r * dim + c] * gain[c] + bias[c];
}

struct grid {
    int64_t rows, columns;
};

static struct grid grid_of(const struct reference_jepa *jepa)
{
    const int patch = jepa->parameters->shape.patch;
    return (struct grid){jepa->height / patch, jepa->width / patch};
}

/* Turn one head's channels by the token's time, row and column, each with w channels; channel c of
 * an axis uses frequency c mod (w / 2). */
static void turn(double *head, int head_width, int64_t token, struct grid grid)
{
    const int w = 2 * ((head_width / 3) / 2);
    const int64_t place[3] = {token / (grid.rows * grid.columns), token / grid.columns % grid.rows,
                              token % grid.columns};
    for (int axis = 0; axis < 3; axis++)
        for (int i = 0; i < w / 2; i++) {
            double *pair = head + (ptrdiff_t)axis * w + (ptrdiff_t)2 * i;
            const double first = pair[0];
            const double second = pair[1];
            const int frequency0 = 2 * i % (w / 2);
            const int frequency1 = (2 * i + 1) % (w / 2);
            const double angle0 = (double)place[axis] * pow(10000.0, -2.0 * frequency0 / w);
            const double angle1 = (double)place[axis] * pow(10000.0, -2.0 * frequency1 / w);
            pair[0] = first * cos(angle0) - second * sin(angle0);
            pair[1] = second * cos(angle1) + first * sin(angle1);
        }
}

/* One query's output of one head: to[width], from the queries, keys and values of qkv[n][3 dim]. */
static void attend(double *to, double *score, const double *q, const double *qkv, int64_t n,
                   int64_t dim, int64_t column, int width)
{
    double sum = 0.0;
    double most = -INFINITY;
    for (int64_t s = 0; s < n; s++) {
        const double *k = qkv + s * 3 * dim + dim + column;
        score[s] = 0.0;
        for (int c = 0; c < width; c++)
            score[s] += q[c] * k[c] / sqrt(width);
        most = fmax(most, score[s]);
    }
    for (int64_t s = 0; s < n; s++) {
        score[s] = exp(score[s] - most);
        sum += score[s];
    }
    memset(to, 0, (size_t)width * sizeof *to);
    for (int64_t s = 0; s < n; s++)
        for (int c = 0; c < width; c++)
            to[c] += score[s] / sum * qkv[s * 3 * dim + 2 * dim + column + c];
}

/* o[n][dim] from qkv[n][3 dim], whose q and k are turned in place. */
static void attention(double *o, double *qkv, int64_t n, int64_t dim, int heads,
                      const int32_t *tokens, struct grid grid)
{
    const int width = (int)(dim / heads);
    double *score = room(n);
    for (int64_t r = 0; r < n; r++)
        for (int h = 0; h < 2 * heads; h++) /* q's heads, then k's */
            turn(qkv + r * 3 * dim + (int64_t)h * width, width, tokens[r], grid);
    for (int64_t column = 0; column < dim; column += width)
        for (int64_t r = 0; r < n; r++)
            attend(o + r * dim + column, score, qkv + r * 3 * dim + column, qkv, n, dim, column,
                   width);
    free(score);
}

struct width {
    int64_t dim, hidden;
    int heads;
};

static void add(double *x, const double *branch, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] += branch[i];
}

/* The block called STEM.NUMBER, on x[n][dim] in place. */
static void block(const struct reference_jepa *jepa, const double *flat, const char *stem,
                  int number, double *x, int64_t n, struct width width, const int32_t *tokens)
{
    const int64_t dim = width.dim;
    double *normed = room(n * dim);
    double *qkv = room(n * 3 * dim);
    double *branch = room(n * dim);
    double *wide = room(n * width.hidden);
    char part[6][96];
    static const char *const parts[6] = {"norm1", "attn.qkv", "attn.proj",
                                         "norm2", "mlp.fc1",  "mlp.fc2"};
    for (int i = 0; i < 6; i++)
        (void)snprintf(part[i], sizeof part[i], "%s.%d.%s", stem, number, parts[i]);
    layer_norm(jepa, flat, part[0], normed, x, n, dim);
    linear(jepa, flat, part[1], qkv, normed, n, dim, 3 * dim);
    attention(normed, qkv, n, dim, width.heads, tokens, grid_of(jepa));
    linear(jepa, flat, part[2], branch, normed, n, dim, dim);
    add(x, branch, n * dim);
    layer_norm(jepa, flat, part[3], normed, x, n, dim);
    linear(jepa, flat, part[4], wide, normed, n, dim, width.hidden);
    for (int64_t i = 0; i < n * width.hidden; i++)
        wide[i] *= 0.5 * (1.0 + erf(wide[i] / sqrt(2.0)));
    linear(jepa, flat, part[5], branch, wide, n, width.hidden, dim);
    add(x, branch, n * dim);
    free(normed);
    free(qkv);
    free(branch);
    free(wide);
}

/* patch[3][tubelet][p][p] of a token of a clip. */
static void cut_patch(const struct reference_jepa *jepa, double *patch, int64_t clip, int64_t token)
{
    const struct model_shape *s = &jepa->parameters->shape;
    const struct grid grid = grid_of(jepa);
    const float *pixels = jepa->batch->pixels;
    const int64_t first_frame = token / (grid.rows * grid.columns) * s->tubelet;
    const int64_t top = token / grid.columns % grid.rows * s->patch;
    const int64_t left = token % grid.columns * s->patch;
    for (int64_t colour = 0; colour < 3; colour++)
        for (int64_t t = 0; t < s->tubelet; t++)
            for (int64_t y = 0; y < s->patch; y++)
                for (int64_t x = 0; x < s->patch; x++) {
                    const int64_t frame =
                        (clip * 3 + colour) * jepa->batch->frames + first_frame + t;
                    *patch++ =
                        (double)pixels[(frame * jepa->height + top + y) * jepa->width + left + x];
                }
}

/* x[n][dim]: the encoder's output at the listed tokens of a clip, from these tokens alone. */
static double *encode(const struct reference_jepa *jepa, const double *flat, int64_t clip,
                      const int32_t *tokens, int64_t n)
{
    const struct model_shape *s = &jepa->parameters->shape;
    const int64_t size = (int64_t)3 * s->tubelet * s->patch * s->patch;
    const struct width width = {s->dim, s->hidden, s->heads};
    double *patches = room(n * size);
    double *x = room(n * s->dim);
    double *out = room(n * s->dim);
    for (int64_t i = 0; i < n; i++)
        cut_patch(jepa, patches + i * size, clip, tokens[i]);
    linear(jepa, flat, "encoder.patch_embed.proj", x, patches, n, size, s->dim);
    for (int k = 0; k < s->depth; k++)
        block(jepa, flat, "encoder.blocks", k, x, n, width, tokens);
    layer_norm(jepa, flat, "encoder.norm", out, x, n, s->dim);
    free(patches);
    free(x);
    return out;
}

/* z[predictions][dim] from context features[contexts][dim]. */
static double *predict(const struct reference_jepa *jepa, const double *flat,
                       const double *features, const int32_t *context, int64_t contexts,
                       const int32_t *predicted, int64_t predictions)
{
    const struct model_shape *s = &jepa->parameters->shape;
    const int64_t n = contexts + predictions;
    const int64_t dim = s->pred_dim;
    const struct width width = {dim, s->pred_hidden, s->pred_heads};
    double *x = room(n * dim);
    double *normed = room(n * dim);
    double *z = room(predictions * s->dim);
    int32_t *tokens = calloc((size_t)n, sizeof *tokens);
    char name[64];
    if (tokens == NULL)
        abort();
    (void)snprintf(name, sizeof name, "predictor.mask_tokens.%d", jepa->batch->mask_token);
    const double *mask_token = value(jepa, flat, name, "");
    linear(jepa, flat, "predictor.predictor_embed", x, features, contexts, s->dim, dim);
    for (int64_t i = 0; i < contexts; i++)
        tokens[i] = context[i];
    for (int64_t i = 0; i < predictions; i++) {
        tokens[contexts + i] = predicted[i];
        memcpy(x + (contexts + i) * dim, mask_token, (size_t)dim * sizeof *x);
    }
    for (int k = 0; k < s->pred_depth; k++)
        block(jepa, flat, "predictor.predictor_blocks", k, x, n, width, tokens);
    layer_norm(jepa, flat, "predictor.predictor_norm", normed, x, n, dim);
    linear(jepa, flat, "predictor.predictor_proj", z, normed + contexts * dim, predictions, dim,
           s->dim);
    free(x);
    free(normed);
    free(tokens);
    return z;
}

/* Layer-normed target features [tokens][dim] of a clip. */
static double *goals_of(const struct reference_jepa *jepa, const double *ema, int64_t clip,
                        int64_t tokens)
{
    const int64_t dim = jepa->parameters->shape.dim;
    int32_t *all = calloc((size_t)tokens, sizeof *all);
    if (all == NULL)
        abort();
    for (int64_t i = 0; i < tokens; i++)
        all[i] = (int32_t)i;
    double *goals = encode(jepa, ema, clip, all, tokens);
    normalize(goals, goals, tokens, dim, 1e-5);
    free(all);
    return goals;
}

static double clip_loss(const struct reference_jepa *jepa, const double *weights,
                        const double *goals, int64_t clip, int g)
{
    const int64_t dim = jepa->parameters->shape.dim;
    const int64_t contexts = jepa->batch->context_count[g];
    const int64_t predictions = jepa->batch->predicted_count[g];
    const int32_t *context = jepa->batch->context[g] + clip * contexts;
    const int32_t *predicted = jepa->batch->predicted[g] + clip * predictions;
    double *features = encode(jepa, weights, clip, context, contexts);
    double *z = predict(jepa, weights, features, context, contexts, predicted, predictions);
    double sum = 0.0;
    for (int64_t i = 0; i < predictions; i++)
        for (int64_t c = 0; c < dim; c++)
            sum += pow(fabs(z[i * dim + c] - goals[predicted[i] * dim + c]), jepa->exponent) /
                   jepa->exponent;
    free(features);
    free(z);
    return sum / (double)(jepa->batch->clips * predictions * dim);
}

double reference_jepa_loss(const struct reference_jepa *jepa, const double *weights,
                           const double *ema, double *groups)
{
    const struct grid grid = grid_of(jepa);
    const int64_t tokens =
        jepa->batch->frames / jepa->parameters->shape.tubelet * grid.rows * grid.columns;
    double loss = 0.0;
    for (int g = 0; groups != NULL && g < jepa->groups; g++)
        groups[g] = 0.0;
    for (int64_t clip = 0; clip < jepa->batch->clips; clip++) {
        double *goals = goals_of(jepa, ema, clip, tokens);
        for (int g = 0; g < jepa->groups; g++) {
            const double of_clip = clip_loss(jepa, weights, goals, clip, g);
            loss += of_clip / jepa->groups;
            if (groups != NULL)
                groups[g] += of_clip;
        }
        free(goals);
    }
    return loss;
}
