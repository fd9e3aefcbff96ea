/* data/playback.h in a build without FFmpeg: videos of stored frames (docs/formats.md) alone, whose
 * packets are the frames. */
#include "data/playback.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/stored/frame.h"

enum { PIXEL_BYTES = 3 };

struct playback {
    struct playback_source source;
    struct AVFrame frame;
    uint8_t *pixels;
    size_t room;
    uint32_t next;
};

ls_status playback_open(struct playback **out)
{
    return core_alloc(out, 1);
}

void playback_close(struct playback **playback)
{
    if (*playback == NULL)
        return;
    free((*playback)->pixels);
    free(*playback);
    *playback = NULL;
}

void playback_source(struct playback *playback, const struct playback_source *source)
{
    playback->source = *source;
}

ls_status playback_start(struct playback *playback, uint32_t packet)
{
    const struct playback_source *source = &playback->source;
    const char *codec = (const char *)source->blob + source->video->codec_at;
    const char *format = (const char *)source->blob + source->video->format_at;
    if (strcmp(codec, "rawvideo") != 0 || strcmp(format, "rgb24") != 0)
        return LS_FAIL(LS_DATA,
                       "%s: a video of '%.40s': this build has no decoder and reads stored frames "
                       "only (lockstep pack --store frames)",
                       source->path, codec);
    playback->next = packet;
    return LS_OK;
}

ls_status playback_next(struct playback *playback, uint32_t last, const uint8_t *wanted,
                        struct playback_frame *out)
{
    ls_status st = LS_OK;
    const struct playback_source *source = &playback->source;
    const int width = source->video->coded_width;
    const int height = source->video->coded_height;
    const uint32_t at = playback->next;
    (void)wanted; /* each frame is asked for by its own packet */
    if (at > last || at < source->first || at - source->first >= source->count)
        return LS_EOF;
    const struct packet_record *packet = &source->packets[at - source->first];
    const size_t bytes = packet->size;
    if (width < 1 || height < 1 || packet->side_size != 0 ||
        bytes != (size_t)width * (size_t)height * PIXEL_BYTES) {
        st = LS_FAIL(LS_DATA, "%s: packet %u of %zu bytes is no frame of %d x %d", source->path, at,
                     bytes, width, height);
        goto done;
    }
    if (bytes > playback->room) {
        free(playback->pixels);
        playback->pixels = NULL;
        playback->room = 0;
        LS_TRY(core_alloc(&playback->pixels, bytes));
        playback->room = bytes;
    }
    LS_TRY(files_read_at(source->file, playback->pixels, bytes,
                         source->bytes_offset + packet->offset, source->path));
    if (!source->unchecked && record_packet_check(packet, playback->pixels) != packet->check) {
        st = LS_FAIL(LS_DATA, "%s: damaged: packet %u", source->path, at);
        goto done;
    }
    playback->frame = (struct AVFrame){width, height, playback->pixels};
    *out = (struct playback_frame){.frame = &playback->frame, .packet = at, .fed = at};
    playback->next = at + 1;
done:
    return st;
}
