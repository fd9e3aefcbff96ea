/* Sharded checkpoints: RUN/checkpoints/step-000001200/shard-0003-of-0008.h5 and manifest.json,
 * written last.
 *
 * A checkpoint without a manifest does not exist.  What is stored is the logical state: named
 * float32 arrays over the flat parameter space ("weights", "moment1", "moment2", "ema"), the
 * parameter table, each parameter's own Adam step count, the step, the resolved config and the list
 * of skipped draws.  A rank stores one contiguous range of each array, or its slices where the
 * arrays are divided (core/division.h), aligned to CHECKPOINT_BLOCK elements; any number of shards
 * gives the same logical state, and the digest is computed over blocks on that fixed grid and
 * summed, so that it does not depend on how the state is sharded. */
#ifndef LOCKSTEP_CHECKPOINT_CHECKPOINT_H
#define LOCKSTEP_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"

enum { CHECKPOINT_BLOCK = 16384, CHECKPOINT_ARRAYS_MAX = 8, CHECKPOINT_NAME_BYTES = 64 };

/* One logical array.  `data` is host memory that holds elements [offset, offset + count) of
 * `total`, or in a divided state `count` elements in slices, of which the first begins at `offset`
 * (checkpoint_slices); borrowed. */
struct checkpoint_array {
    const char *name;
    float *data;
    int64_t offset, count, total;
};

/* A parameter of the table; text borrowed. */
struct checkpoint_parameter {
    const char *name; /* as in the public code, with "encoder." or "predictor." before it */
    int64_t offset, count;
    int dimensions;
    int64_t shape[5];
    int64_t adam_step; /* updates this parameter has had */
};

struct checkpoint_state {
    int64_t step; /* finished steps */
    struct checkpoint_parameter *parameters;
    int parameter_count;
    struct checkpoint_array arrays[CHECKPOINT_ARRAYS_MAX];
    int array_count;
    const char *config_yaml; /* resolved config */
    const char *facts_json;  /* further facts (threads, instruction set, world size, dataset
                                fingerprints ...) */
    const int64_t *skipped;  /* draws passed over */
    int skipped_count;
    int64_t slice; /* 0: each shard holds one range of every array; else they are divided */
    const char *metrics_json; /* object of numbers: how good it is; NULL: not known */
    const char *draws_json;   /* object: draws of the data so far, and bad ones; NULL: not known */
};

/* Where one array's range lies in a shard file: bytes from the file's start. */
struct checkpoint_extent {
    int64_t offset, count; /* elements of the array: as in checkpoint_array */
    uint64_t data_at;      /* float32, little-endian */
    uint64_t table_at;     /* block hashes, (low, high) pairs of uint64 */
};

/* What rank 0 needs of each shard for the manifest: fixed size, to be gathered as bytes. */
struct checkpoint_shard_facts {
    int32_t shard, of;
    uint64_t bytes;
    struct hash128 checksum;                                 /* of the file */
    struct hash128 digest;                                   /* sum of this shard's block hashes */
    struct checkpoint_extent extents[CHECKPOINT_ARRAYS_MAX]; /* in the state's order of arrays */
};

/* Range of a shard: blocks are dealt out evenly, in order.  Local. */
void checkpoint_range(int64_t *offset, int64_t *count, int64_t total, int shard, int of);

/* What a shard holds of a divided array: slice after slice of `slice` elements, every `of`-th from
 * the one that begins at *offset on, as far as the array goes; together *count elements.  Local. */
void checkpoint_slices(int64_t *offset, int64_t *count, int64_t total, int64_t slice, int shard,
                       int of);

/* Write this rank's shard durably under `folder` (RUN/checkpoints), as
 * STEP-FOLDER.epoch-E.partial/shard-...: no reader takes it yet.
 *
 * Local (every rank calls it).  It touches only `state`, files and, for a moment, HDF5: a
 * background thread may run it on a staging copy while training goes on, as long as no other thread
 * of the process uses HDF5 (which is not thread-safe here; an opened dataset uses none).  Errors:
 * LS_CHECKPOINT with the cause; nothing but leftovers of the partial folder remain. */
ls_status checkpoint_shard_write(struct checkpoint_shard_facts *out, const char *folder,
                                 const struct checkpoint_state *state, int shard, int of,
                                 int64_t run_epoch) LS_MUST_CHECK;

/* Commit: write manifest.json, rename the folder to its final name, move `latest`.  Rank 0, after
 * every rank's shard is durable.  Errors: LS_CHECKPOINT; LS_FAILED when a newer start has taken
 * over: these workers are of no more use. */
ls_status checkpoint_commit(const char *folder, const struct checkpoint_state *state,
                            const struct checkpoint_shard_facts *facts, int of,
                            int64_t run_epoch) LS_MUST_CHECK;

/* Give up the save of `step`: remove its partial folder, so that a full disk is not filled further.
 * Nothing there is fine.  Rank 0, when no rank writes to it any more.  Errors: LS_CHECKPOINT. */
ls_status checkpoint_discard(const char *folder, int64_t step, int64_t run_epoch) LS_MUST_CHECK;

/* What checkpoint_retain leaves. */
struct checkpoint_retention {
    int keep_last;           /* newest, at least 1 */
    int64_t milestone_steps; /* every so many steps; 0: none */
    int keep_best;           /* by `metric` of their manifests, of equals the newer ones; 0: none */
    const char *metric;
    bool largest; /* the best has the largest value, else the smallest */
};

/* Remove all checkpoints but what `retention` leaves and those that are marked (checkpoint_keep),
 * those that no reader takes because a newer start took over before them, and partial folders of
 * earlier saves.  Never removes the newest good one: nothing goes before one was read back and
 * found good that is newer or takes its place.  Rank 0, after checkpoint_commit; `run_epoch` is the
 * caller's, and an epoch that was taken over removes nothing.  Errors: LS_CHECKPOINT (training goes
 * on), LS_FAILED when it was taken over. */
ls_status checkpoint_retain(const char *folder, const struct checkpoint_retention *retention,
                            int64_t run_epoch) LS_MUST_CHECK;

/* Mark the checkpoint in folder `path` so that checkpoint_retain leaves it: a file `keep` in it,
 * which anybody may also make or remove.  Local.  Errors: LS_CHECKPOINT. */
ls_status checkpoint_keep(const char *path) LS_MUST_CHECK;

/* Record that `run_epoch` goes on from the checkpoint of `step` (-1: from nothing).  Later commits
 * of older epochs are refused, and what they still write beyond that step is no checkpoint for
 * readers: after a split brain nobody takes the old workers' state for the run's.
 *
 * Rank 0, once, between checkpoint_open_newest and the first step.  Errors: LS_CHECKPOINT;
 * LS_FAILED when a newer epoch has already taken over. */
ls_status checkpoint_take_over(const char *folder, int64_t run_epoch, int64_t step) LS_MUST_CHECK;

/* Where a run's checkpoints lie, to notice that they lie there no more. */
struct checkpoint_place {
    uint64_t device; /* of the folder's file system */
};

/* Take the place of `folder`, which exists.  Local.  Errors: LS_CHECKPOINT. */
ls_status checkpoint_place_open(struct checkpoint_place *out, const char *folder) LS_MUST_CHECK;

/* Before a save and before its commit: where takeovers.json is gone, `folder` is either not where
 * it was, another file system (the run's was unmounted): LS_CHECKPOINT, nothing is written into it;
 * or somebody deleted it, `*deleted`: whoever called checkpoint_take_over has to do so again.
 * Local. */
ls_status checkpoint_place_check(bool *deleted, const struct checkpoint_place *place,
                                 const char *folder) LS_MUST_CHECK;

/* The newest run epoch that has left anything in `folder`, a takeover or a save; 0 when none has:
 * the next start needs a greater one.  Local.  Errors: LS_CHECKPOINT when it cannot be read. */
ls_status checkpoint_last_epoch(int64_t *out, const char *folder) LS_MUST_CHECK;

/* An existing checkpoint, its manifest read and checked.  Fields are owned by the handle. */
struct checkpoint;
struct checkpoint_info {
    int64_t step;
    int64_t run_epoch;
    int shard_count;
    struct hash128 digest;
    const struct checkpoint_parameter *parameters;
    int parameter_count;
    struct checkpoint_array arrays[CHECKPOINT_ARRAYS_MAX]; /* name and total; data NULL */
    int array_count;
    const char *config_yaml;
    const char *facts_json;
    const int64_t *skipped;
    int skipped_count;
    const char *metrics_json; /* an object of numbers, maybe empty */
    const char *draws_json;   /* an object, maybe empty */
    int64_t slice;            /* as in checkpoint_state */
    uint64_t bytes;           /* of all shards */
    const char *path;         /* of the folder, links resolved */
};

/* Open one checkpoint folder (or `latest`): reads and checks the manifest and the shards' sizes.
 * Local.  Errors: LS_CHECKPOINT naming what is missing or damaged. */
ls_status checkpoint_open(struct checkpoint **out, const char *path) LS_MUST_CHECK;

/* Open the newest checkpoint under RUN/checkpoints whose manifest and shard sizes and checksums are
 * good.  Passes over damaged ones with a log_warn that names the damage, and over those of a start
 * that was taken over before their step.  Reads every byte of it: rank 0 does this and broadcasts
 * info->path, the others use checkpoint_open (checkpoint_read checks what it reads).  Local.
 * Errors: LS_EOF when there is none to take, LS_CHECKPOINT when that is so because of damage. */
ls_status checkpoint_open_newest(struct checkpoint **out, const char *folder) LS_MUST_CHECK;
void checkpoint_close(struct checkpoint **checkpoint);
const struct checkpoint_info *checkpoint_info(const struct checkpoint *checkpoint);

/* Facts of its shards, info->shard_count of them; owned by the handle.  Local. */
const struct checkpoint_shard_facts *checkpoint_shards(const struct checkpoint *checkpoint);

/* Read elements [array->offset, +count) of the array `array->name` into array->data, from whichever
 * shards hold them; reads the blocks that the range touches and no more, and checks their hashes.
 * Local, any thread.  Errors: LS_CHECKPOINT; also when array->total is not the stored one. */
ls_status checkpoint_read(const struct checkpoint *checkpoint,
                          const struct checkpoint_array *array) LS_MUST_CHECK;

/* Check every checksum of every shard.  Calls `report` with one line for each damage. LS_CHECKPOINT
 * when there was any.  Local. */
ls_status checkpoint_verify(const char *path, void (*report)(void *context, const char *line),
                            void *context) LS_MUST_CHECK;

#endif
