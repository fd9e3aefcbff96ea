/* The inside of struct jepa, shared by jepa*.c and nobody else. */
#ifndef LOCKSTEP_MODEL_JEPA_PARTS_H
#define LOCKSTEP_MODEL_JEPA_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/arena.h"
#include "model/encoder.h"
#include "model/jepa.h"
#include "model/layer.h"
#include "model/layout.h"
#include "model/parameters.h"
#include "model/predictor.h"

/* Elements of the flat arrays that this rank has, and in a divided state the parameters that are
 * read as float32 (jepa.h, "A divided state"). */
struct jepa_held {
    bool divided;
    bool parts_only; /* divided, and of float32 weights and EMA there are only this rank's slices */
    int64_t all, ema_all; /* of gradient and weights, and of EMA, as computed with */
    int64_t masters, ema_masters, moments;
    int64_t vectors, weight_vectors; /* elements; those of the weights come first */
    int64_t *vector_at;              /* [parameters] where each begins, -1: no vector */
    float *vectors_dev, *vectors_host;
    int32_t
        *vector_rows_dev; /* [vectors / JEPA_VECTOR_ROW] rows of this rank's masters, -2: none */
    bool moves_ema;       /* jepa_copy_take moves the EMA of others' slices */
    double ema_keep;
};

enum { JEPA_VECTOR_ROW = 64 }; /* every parameter starts at a multiple of it */

/* Flat arrays on the device. */
struct jepa_flat {
    float *weights_dev, *gradient_dev, *moment1_dev, *moment2_dev, *ema_dev;
    void *weights_compute_dev, *ema_compute_dev; /* the float32 arrays themselves, or bf16 copies */
    float *gradient_host; /* gradient_dev itself where memory is the host's; NULL: none is kept */
};

/* Sums over a step, in double on the device, one after another. */
struct jepa_sums {
    double *loss_dev;                                                     /* [groups] */
    double *target_dev, *target_square_dev;                               /* [dim] each */
    double *prediction_dev, *prediction_square_dev, *prediction_unit_dev; /* likewise */
    double *norm_dev;                                                     /* [1] */
    double *host; /* [sums_count] pinned, where downloads go */
    int64_t count;
    float *gram_dev; /* [dim, dim] */
};

enum { JEPA_SLOTS = 2 };

/* A micro-batch on its way to the device, or there. */
struct jepa_slot {
    struct layout_builder *layout_builder;
    struct layout layout;
    void *pixels_dev; /* NULL where memory is the host's: clips are read where they are */
    struct op_clips clips;
    int mask_token;
    double flops;
    struct op_event *filled; /* copied */
    struct op_event *done;   /* computed: the slot is free */
};

struct jepa {
    struct jepa_options options;
    struct layer_device on;
    struct layer_demand demand;
    struct parameters *parameters;
    struct jepa_held held;
    struct jepa_flat flat;
    struct jepa_sums sums;
    float *rotary_dev;
    int rotary_positions;

    struct encoder target, context;
    struct predictor predictor;
    struct layout_limits limits;
    struct jepa_slot slots[JEPA_SLOTS];
    int slot_next; /* the slot that is staged into next */
    int staged;    /* slots staged and not computed, the ones before slot_next */
    struct arena arena;
    size_t pixel_bytes;

    /* Named memory of the arena. */
    struct encoder_target_memory target_memory;
    struct encoder_context_memory context_memory;
    struct predictor_memory predictor_memory;
    struct block_scratch encoder_scratch, predictor_scratch;
    float *goals;       /* [prediction rows, dim] targets by prediction */
    void *dpredictions; /* [prediction rows, dim] dtype of products */
    void *dcontext;     /* [context rows, dim] dtype of products */
    float *dx;          /* [context rows, dim] */

    /* Of the running step. */
    struct layout layout;      /* of the last micro-batch */
    uint64_t mask_tokens_used; /* bits */
    bool want_gram;
    bool gradient_staged; /* the host copy is newer than the device's */
    double flops;
    int64_t target_rows;
    int64_t rows, padding_rows;

    int64_t *adam_steps;                 /* [parameters] */
    struct op_update_piece *pieces;      /* [parameters] */
    struct op_update_piece *part_pieces; /* [parameters] those of a part, cut to it */
    int piece_count;
};

/* What this rank holds: before anything of it is allocated; then the vectors' memory
 * (jepa_divided.c).  Local.  Errors: LS_USAGE, LS_NOMEM, LS_DEVICE. */
ls_status jepa_held_open(struct jepa *jepa) LS_MUST_CHECK;
ls_status jepa_vectors_open(struct jepa *jepa) LS_MUST_CHECK;
void jepa_held_close(struct jepa *jepa);

/* In a divided state: where element `offset` of the flat space, in one of this rank's slices, lies
 * in its own arrays; -1: in no slice of its own.  Local. */
int64_t jepa_own_place(const struct jepa *jepa, int64_t offset);

/* Vectors from float32 weights of the whole flat space (initial values).  Local; queued. */
ls_status jepa_vectors_set(struct jepa *jepa, const float *weights_dev) LS_MUST_CHECK;

/* Update of a part [offset, offset + count) of the flat space with pieces that lie anywhere
 * (jepa_update.c).  Local; queued. */
ls_status jepa_update_part(struct jepa *jepa, struct op_update work, int64_t offset,
                           int64_t count) LS_MUST_CHECK;

/* Memory and events of the slots (jepa_stage.c).  Local. */
ls_status jepa_slots_open(struct jepa *jepa) LS_MUST_CHECK;
void jepa_slots_close(struct jepa *jepa);

/* The slot that was staged first, for the computation: what is queued from now on waits for its
 * copies.  Errors: LS_USAGE when nothing is staged. */
ls_status jepa_slot_take(struct jepa *jepa, struct jepa_slot **out) LS_MUST_CHECK;

/* Target pass, context pass, predictor, loss, backward of jepa->layout (jepa_step.c).  Local;
 * queued. */
ls_status jepa_run(struct jepa *jepa, struct op_clips clips, int mask_token,
                   double micro_batch_weight, struct layer_report *report) LS_MUST_CHECK;

/* Give the arena's memory its names (jepa_arena.c).  Local. */
void jepa_arena_lay_out(struct jepa *jepa);

#endif
