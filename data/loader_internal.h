/* What the files of the loader share: loader.c opens and closes, loader_fill.c is the threads,
 * loader_take.c hands batches out. */
#ifndef LOCKSTEP_DATA_LOADER_INTERNAL_H
#define LOCKSTEP_DATA_LOADER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "data/clip_maker.h"
#include "data/draw.h"
#include "data/loader.h"
#include "data/mask.h"

enum { LOADER_FAILURE_BYTES = 1024 };

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_LENT };

/* One batch and how far it is. */
struct slot {
    struct loader_batch batch;
    struct mask_lists masks[CONFIG_MASK_GROUPS_MAX];
    enum slot_state state;
    int64_t sequence;   /* number of the micro-batch among those of this rank */
    int64_t draw_step;  /* the step whose draws it uses */
    int next_task;      /* 0: masks, 1 .. B: clips; B + 1: all taken */
    int running;        /* tasks taken and not ended; filled when 0 and all are taken */
    int64_t *bad_draws; /* [datasets] */
    struct bad_videos bad_videos;
    struct reasons reasons;
    ls_status status; /* first failure by task, not by time: what one thread would have met */
    int status_task;
    char failure[LOADER_FAILURE_BYTES];
};

/* A decode thread. */
struct filler {
    struct loader *loader;
    struct clip_maker *maker;
    struct slot *slot; /* of its task; its own thread's alone */
    pthread_t thread;
    bool started;
};

struct loader {
    const struct config *config;
    struct dataset *const *datasets;
    struct draw *draw;
    struct clip_plan plan;
    int64_t first_step;
    int micro_first, micro_count;
    int64_t *skip;
    int skip_count;
    struct slot *slots;
    struct filler *fillers;
    int slot_count, filler_count;
    size_t pixel_bytes; /* of a slot */
    atomic_bool stop;

    bool has_lock;        /* lock, work and ready exist */
    pthread_mutex_t lock; /* of the slots' progress and all below */
    pthread_cond_t work;  /* a batch became free, or stop */
    pthread_cond_t ready; /* a batch was filled */
    int64_t next_start;   /* sequence number of the next batch to fill */
    int64_t next_out;     /* and to hand out */
    struct loader_counters counters;
};

/* Whether all tasks of a batch have ended.  With the lock. */
bool loader_slot_filled(const struct loader *loader, const struct slot *slot);

/* Body of a decode thread. */
void *loader_fill(void *filler);

/* Count a bad draw and remember its video: clip_plan.failed. */
void loader_note_bad(void *filler, int dataset, int64_t video, const char *reason);

#endif
