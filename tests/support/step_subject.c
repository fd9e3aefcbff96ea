#include "tests/support/step_subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/random.h"
#include "data/mask.h"

enum { TUBELET = 2, GROUPS = 2, REPEATED_BYTES = 1 << 20 };

#define PREDICTOR 384, 12, 12
static const struct step_subject cpu[] = {
    {"demo", 128, 4, 4, 512, 64, 2, 2, 8, 64, 8, 2},
    {"vit_tiny", 192, 12, 3, 768, PREDICTOR, 16, 112, 16, 2},
    {"vit_tiny", 192, 12, 3, 768, PREDICTOR, 16, 224, 16, 2},
    {"vit_small", 384, 12, 6, 1536, PREDICTOR, 16, 112, 16, 2},
    {"vit_small", 384, 12, 6, 1536, PREDICTOR, 16, 224, 16, 2},
    {"vit_base", 768, 12, 12, 3072, PREDICTOR, 16, 112, 16, 2},
    {"vit_base", 768, 12, 12, 3072, PREDICTOR, 16, 224, 16, 2},
};
/* There is no public config of ViT-L at 384 pixels, which takes ViT-g's clips. */
static const struct step_subject card[] = {
    /* As many pieces of work as ViT-L with next to nothing in them: what queueing them costs. */
    {"queueing", 64, 24, 1, 256, 64, 12, 1, 4, 64, 16, 1},
    {"vit_large", 1024, 24, 16, 4096, PREDICTOR, 16, 256, 16, 24},
    {"vit_huge", 1280, 32, 16, 5120, PREDICTOR, 16, 256, 16, 24},
    {"vit_giant", 1408, 40, 22, 6144, PREDICTOR, 16, 256, 16, 24},
    {"vit_large", 1024, 24, 16, 4096, PREDICTOR, 64, 256, 16, 12},
    {"vit_giant", 1408, 40, 22, 6144, PREDICTOR, 64, 256, 16, 6},
    {"vit_large", 1024, 24, 16, 4096, PREDICTOR, 64, 384, 16, 6},
    {"vit_giant", 1408, 40, 22, 6144, PREDICTOR, 64, 384, 16, 6},
};
static const struct step_subject check[] = {{"check", 64, 2, 1, 256, 64, 1, 1, 4, 64, 16, 2}};

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

static const struct config_mask masks[GROUPS] = {
    {.num_blocks = 8,
     .spatial_scale = {0.15, 0.15},
     .temporal_scale = {1.0, 1.0},
     .aspect_ratio = {0.75, 1.5},
     .max_temporal_keep = 1.0},
    {.num_blocks = 2,
     .spatial_scale = {0.7, 0.7},
     .temporal_scale = {1.0, 1.0},
     .aspect_ratio = {0.75, 1.5},
     .max_temporal_keep = 1.0},
};

const struct step_subject *step_subjects(enum step_subjects which, int *out_count)
{
    *out_count = which == STEP_CPU ? COUNT(cpu) : which == STEP_CARD ? COUNT(card) : COUNT(check);
    return which == STEP_CPU ? cpu : which == STEP_CARD ? card : check;
}

bool step_subject_called(const struct step_subject *subject, const char *name)
{
    char label[64];
    char sizes[64];
    (void)snprintf(label, sizeof label, "%s-%d", subject->name, subject->pixels);
    (void)snprintf(sizes, sizeof sizes, "%s-%dx%d", subject->name, subject->frames,
                   subject->pixels);
    return strcmp(name, label) == 0 || strcmp(name, sizes) == 0;
}

bool step_subject_read(struct step_subject *out, const char *text)
{
    int end = 0;
    *out = (struct step_subject){"own", 0, 0, 0, 0, PREDICTOR, 0, 0, 16, 0};
    if (sscanf(text, "%dx%dx%d:%dx%d:%d%n", &out->dim, &out->depth, &out->heads, &out->frames,
               &out->pixels, &out->clips, &end) != 6 ||
        text[end] != '\0')
        return false;
    out->hidden = 4 * out->dim;
    return out->dim > 0 && out->depth > 0 && out->heads > 0 && out->dim % (2 * out->heads) == 0 &&
           out->frames > 0 && out->frames % TUBELET == 0 && out->pixels > 0 &&
           out->pixels % out->patch == 0 && out->clips > 0;
}

static struct mask_grid grid_of(const struct step_subject *subject)
{
    const int side = subject->pixels / subject->patch;
    return (struct mask_grid){subject->frames / TUBELET, side, side};
}

int64_t step_subject_tokens(const struct step_subject *subject)
{
    return mask_grid_tokens(grid_of(subject));
}

struct jepa_options step_subject_options(const struct step_subject *subject, int clips,
                                         enum op_dtype dtype)
{
    return (struct jepa_options){
        .shape = {.patch = subject->patch,
                  .tubelet = TUBELET,
                  .dim = subject->dim,
                  .depth = subject->depth,
                  .heads = subject->heads,
                  .hidden = subject->hidden,
                  .pred_dim = subject->pred_dim,
                  .pred_depth = subject->pred_depth,
                  .pred_heads = subject->pred_heads,
                  .pred_hidden = 4 * subject->pred_dim,
                  .mask_tokens = 2,
                  .init_std = 0.02,
                  .zero_mask_tokens = true},
        .dtype = dtype,
        .clips = clips,
        .frames = subject->frames,
        .height = subject->pixels,
        .width = subject->pixels,
        .groups = GROUPS,
        .bucket_tokens = 1,
        .loss_exponent = 1.0,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
    };
}

ls_status step_batches_draw(struct step_batches *out, const struct step_subject *subject, int clips,
                            int count)
{
    ls_status st = LS_OK;
    const struct mask_grid grid = grid_of(subject);
    const int64_t room = clips * mask_grid_tokens(grid);
    const int64_t bytes = (int64_t)clips * subject->frames * subject->pixels * subject->pixels * 3;
    struct random_stream stream;
    out->lists = calloc((size_t)count * GROUPS * 2 * (size_t)room, sizeof *out->lists);
    out->pixels = malloc((size_t)bytes);
    if (out->lists == NULL || out->pixels == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the clips");
    random_open(&stream, 1, RANDOM_TEST, 0, 0, 0);
    for (int64_t i = 0; i < bytes; i++)
        out->pixels[i] =
            i < REPEATED_BYTES ? (uint8_t)random_u32(&stream) : out->pixels[i - REPEATED_BYTES];
    int32_t *list = out->lists;
    for (int m = 0; m < count; m++) {
        struct mask_lists drawn[GROUPS];
        for (int g = 0; g < GROUPS; g++, list += 2 * room)
            drawn[g] = (struct mask_lists){.context = list, .predicted = list + room};
        LS_TRY(mask_draw(drawn, masks, GROUPS, grid, clips, 1, (uint64_t)m + 1, 0));
        out->batches[m] =
            (struct jepa_batch){.pixels = out->pixels, .clips = clips, .frames = subject->frames};
        for (int g = 0; g < GROUPS; g++) {
            out->batches[m].context[g] = drawn[g].context;
            out->batches[m].predicted[g] = drawn[g].predicted;
            out->batches[m].context_count[g] = drawn[g].context_count;
            out->batches[m].predicted_count[g] = drawn[g].predicted_count;
        }
    }
done:
    return st;
}

void step_batches_free(struct step_batches *batches)
{
    free(batches->pixels);
    free(batches->lists);
    *batches = (struct step_batches){0};
}
