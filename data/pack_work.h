/* What pack_video.c and pack_read.c share: one source file on its way into a part. */
#ifndef LOCKSTEP_DATA_PACK_WORK_H
#define LOCKSTEP_DATA_PACK_WORK_H

#include "core/hash.h"
#include "core/status.h"
#include "data/pack_video.h"
#include "data/part.h"
#include "data/records.h"

enum { PACK_ALIVE_EVERY = 64 };

struct pack_work {
    const struct pack_source *source;
    const struct prove_progress *progress;
    struct part_writer *part;
    ls_status part_status; /* a failure to write: the pack's own, not the source's */
    struct video_record video;
    struct record_blob blob;
    struct packet_record *packets;
    size_t packet_count, packet_room;
    struct frame_record *frames;
    size_t frame_count, frame_room;
    struct record_blob carried; /* side data: the last new extradata */
    struct hash_stream *hash;
    uint64_t pixels;
    int format; /* of the first frame */
    int exif;   /* orientation number of a PNG or TIFF; 0: none */
};

/* Read all packets of the source into the part and the packet table, and describe the stream.
 * Local. Errors: LS_DATA, LS_IO: of the source, unless `part_status` has one; LS_NOMEM. */
ls_status pack_read(struct pack_work *work) LS_MUST_CHECK;

/* What the container or encoder says of a stream.  Local. */
struct AVCodecParameters;
void pack_describe_parameters(struct video_record *out, const struct AVCodecParameters *from);

/* A message without the path that it begins with, which the report has in a column of its own.
 * Local. */
const char *pack_reason(const struct pack_source *source, const char *message);

/* Free what the work holds; an unfinished part is removed.  Local. */
void pack_work_close(struct pack_work *work);

#endif
