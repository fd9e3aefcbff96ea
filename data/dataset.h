/* A packed dataset opened for reading: DATASET/index.h5 plus shards (docs/formats.md).
 *
 * After dataset_open nothing touches HDF5 again: the index says where each video's tables and bytes
 * lie in its shard and loader threads pread them.  A handle may be shared by any number of threads.
 */
#ifndef LOCKSTEP_DATA_DATASET_H
#define LOCKSTEP_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"

struct dataset;

/* What planning a clip needs of a video; text borrowed from the dataset. */
struct dataset_video {
    const char *name;   /* source path as listed */
    int64_t label;      /* -1: none */
    int64_t frames;     /* shown frames */
    int width, height;  /* of shown frames after rotation, pixels */
    double average_fps; /* as the container says; 0 unknown */
    bool still;         /* an image: a clip is that frame repeated */
    int shard;
    double weight; /* per-video weight, 1 by default */
};

/* Open a dataset folder.  Checks format version, index checksum and that every shard is there with
 * its size. Local.  Errors: LS_IO, LS_DATA naming the file and what to do. */
ls_status dataset_open(struct dataset **out, const char *path) LS_MUST_CHECK;
void dataset_close(struct dataset **dataset);

const char *dataset_path(const struct dataset *dataset);
int64_t dataset_video_count(const struct dataset *dataset);

/* Video `video` in [0, count).  Local, any thread. */
struct dataset_video dataset_video(const struct dataset *dataset, int64_t video);

/* Hash of the index: what ranks and resumes compare.  Local. */
struct hash128 dataset_fingerprint(const struct dataset *dataset);

/* A decoder for clips of a dataset: one a thread, single-threaded inside, reused over videos. */
struct clip_reader;
ls_status clip_reader_open(struct clip_reader **out) LS_MUST_CHECK;
void clip_reader_close(struct clip_reader **reader);

struct AVFrame;
/* Receives one decoded frame in native planes, valid during the call.  `position` is the index into
 * `frames` of clip_reader_read; a frame number that is listed k times is delivered once for each
 * position. */
typedef ls_status (*clip_frame_callback)(void *context, int position, const struct AVFrame *frame);

/* Decode the frames numbered `frames[0 .. count)` (shown-frame numbers in presentation order,
 * non-decreasing) of a video: one contiguous pread from the key frame before the first to the last
 * packet needed, then decoding.
 *
 * Local, any thread, one call at a time a reader.  Errors: LS_DATA when a frame can't be decoded
 * (the caller draws another video); LS_IO when the shard can't be read. */
ls_status clip_reader_read(struct clip_reader *reader, const struct dataset *dataset, int64_t video,
                           const int64_t *frames, int count, clip_frame_callback callback,
                           void *context) LS_MUST_CHECK;

/* Rotation and flips of the display matrix or EXIF that turn stored frames into shown ones: apply
 * before the crop. quarter_turns clockwise 0..3, then flip_horizontal. */
struct video_orientation {
    int quarter_turns;
    bool flip_horizontal;
};
struct video_orientation dataset_video_orientation(const struct dataset *dataset, int64_t video);

#endif
