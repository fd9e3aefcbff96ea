/* A dataset made up in memory, for tests of the loader: these programs link it before libdata.a, so
 * that it takes the place of data/dataset.h's functions and every way in which a video can fail is
 * at hand.  Frames are flat, of a level by which they are known again.
 *
 * All functions are Local. */
#ifndef LOCKSTEP_TESTS_FAKES_DATASET_H
#define LOCKSTEP_TESTS_FAKES_DATASET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/hash.h"
#include "data/loader.h"

/* What a video does when it is read. */
enum fake_behaviour {
    FAKE_GOOD,
    FAKE_BAD_AT_START,
    FAKE_BAD_MIDWAY,
    FAKE_SHORT, /* delivers one frame too few */
    FAKE_NO_SHARD,
    FAKE_HANGS /* until fake_let_go */
};

struct dataset {
    const char *path;
    int number;
    int64_t count;
    int64_t frames;                                  /* of each video */
    bool weighted;                                   /* video 0 has weight 0, the others 2 */
    enum fake_behaviour (*behaviour)(int64_t video); /* NULL: all good */
    bool restless;                                   /* reading takes a different time each time */
};

extern atomic_bool fake_let_go;

/* The grey level of a frame. */
uint8_t fake_level(int dataset, int64_t video, int64_t frame);

/* A config and its datasets, for each test to change: 4 micro-batches of 3 clips of 8 x 16 x 24. */
struct fake_setting {
    struct config config;
    struct config_dataset configs[3];
    struct dataset made[3];
    struct dataset *datasets[3];
};
void fake_setting_init(struct fake_setting *setting, int count);

/* loader_open, or the test fails. */
struct loader *fake_loader_open(struct fake_setting *setting, int64_t first_step, int micro_first,
                                int micro_count);

/* What is remembered of a batch: all of it, by its hashes.  No padding: compared by its bytes. */
struct fake_seen {
    int64_t step, micro_batch, frames, frames_group, replaced;
    struct hash128 draw_hash, pixels, lists, sources;
};

/* Take `count` batches, look at them, give them back; or the test fails. */
void fake_take(struct fake_seen *out, int count, struct loader *loader,
               const struct config *config);

#endif
