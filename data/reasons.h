/* Which draws failed, and why.  Of fixed size, so that ranks can exchange it as bytes. */
#ifndef LOCKSTEP_DATA_REASONS_H
#define LOCKSTEP_DATA_REASONS_H

#include <stddef.h>
#include <stdint.h>

enum { REASONS_MAX = 8, REASON_TEXT_BYTES = 116 };

/* Reasons that differ only in names and numbers count as one. */
struct reason {
    int64_t count;
    int32_t dataset;
    char text[REASON_TEXT_BYTES];
};

struct reasons { /* all zero: none */
    struct reason list[REASONS_MAX];
    int64_t kinds;
};

/* Count a failure of a dataset's video `name` by its message.  Kinds beyond REASONS_MAX are not
 * kept. Local. */
void reasons_add(struct reasons *reasons, int dataset, const char *name, const char *message);

void reasons_merge(struct reasons *into, const struct reasons *from);

/* The three most frequent of a dataset: "9 x TEXT; 2 x TEXT"; "" when none is known.  Local. */
void reasons_text(char *out, size_t bytes, const struct reasons *reasons, int dataset);

/* Videos by name: a few of those that failed in a step, each once. */
enum { BAD_VIDEOS_MAX = 8, BAD_VIDEO_TEXT_BYTES = 244 };

struct bad_video {
    int64_t video;
    int32_t dataset;
    char text[BAD_VIDEO_TEXT_BYTES]; /* why, as far as it fits */
};

struct bad_videos { /* all zero: none */
    struct bad_video list[BAD_VIDEOS_MAX];
    int64_t count;
};

/* Add one unless it is there already.  Those beyond BAD_VIDEOS_MAX are not kept.  Local. */
void bad_videos_add(struct bad_videos *videos, int dataset, int64_t video, const char *message);

void bad_videos_merge(struct bad_videos *into, const struct bad_videos *from);

#endif
