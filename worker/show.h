/* Pictures of what a model sees in a clip: frames, the principal components of its features as
 * colours, and how well each token is predicted from the others.
 *
 * One process, no group: RUN/show.json, written by `lockstep show`, says what is wanted. */
#ifndef LOCKSTEP_WORKER_SHOW_H
#define LOCKSTEP_WORKER_SHOW_H

#include <stdint.h>

#include "core/config.h"
#include "data/dataset.h"
#include "data/mask.h"
#include "model/jepa.h"
#include "worker/frozen_source.h"
#include "worker/options.h"

enum { SHOW_COMPONENTS = 3 };

struct show_request {
    char *checkpoint, *dataset, *output; /* folders, and a file that ends in .png or .mp4 */
    bool film;
    int64_t video;
    int64_t start;                /* first frame; -1: the middle */
    int frames, frame_step, size; /* 0: as the checkpoint was trained */
    int threads, masks;           /* masks: that hide each token, at least */
    int64_t seed;
};

struct show_clip {
    struct dataset_video video; /* borrowed from the dataset */
    int count;                  /* frames */
    int64_t step;               /* of the video's frames from one to the next */
    int64_t *numbers;           /* [count] shown-frame numbers */
    int size;                   /* side of what the model sees */
    uint8_t *pixels;            /* [count, size, size, 3] */
    int side, reduce;           /* of what is drawn; decoded `reduce` times as large */
    uint8_t *drawn;             /* [count, side * reduce, side * reduce, 3] */
};

struct show_look {
    struct mask_grid grid;
    int tubelet;
    float *places; /* [tokens, 3] along the principal components */
    double shares[SHOW_COMPONENTS];
    double *errors; /* [tokens] mean over the masks that hid it; NaN: none did */
    int draws;
    double error_mean;
};

/* All of it.  Prints to stdout what was written.  Local.  Errors: LS_USAGE, LS_IO, LS_DATA,
 * LS_CHECKPOINT, LS_DEVICE, LS_NOMEM, LS_STOP. */
ls_status show_run(const struct worker_options *options) LS_MUST_CHECK;

/* The clip that the request and the model's config ask for (show_clip.c); free with
 * show_clip_close. Local.  Errors: LS_USAGE, LS_DATA, LS_IO, LS_NOMEM. */
ls_status show_clip_open(struct show_clip *out, const struct show_request *request,
                         const struct config *config, const struct dataset *dataset) LS_MUST_CHECK;
void show_clip_close(struct show_clip *clip);

/* Features and errors of a clip (show_look.c).  Local.  Errors: as jepa_predict; LS_STOP. */
struct show_model {
    struct jepa *jepa;
    const struct config *config;
    int mask_token;
};
ls_status show_look_open(struct show_look *out, const struct show_model *model,
                         const struct show_clip *clip,
                         const struct show_request *request) LS_MUST_CHECK;
void show_look_close(struct show_look *look);

/* The picture or film (show_draw.c).  Local.  Errors: LS_IO, LS_NOMEM, LS_DATA, LS_USAGE. */
struct show_drawing {
    const struct show_request *request;
    const struct show_clip *clip;
    const struct show_look *look;
    int64_t checkpoint_step;
};
ls_status show_draw(const struct show_drawing *drawing) LS_MUST_CHECK;

#endif
