/* Puts streams of made videos into another file, packet by packet: what muxers write only when they
 * are led to it. */
#ifndef LOCKSTEP_TESTS_SUPPORT_REMUX_H
#define LOCKSTEP_TESTS_SUPPORT_REMUX_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

enum { REMUX_INPUTS_MAX = 3 };

struct AVPacket;

struct remux {
    const char *path, *muxer;             /* muxer NULL: by the path's ending */
    const char *options;                  /* of the muxer, "key=value:key=value"; NULL: none */
    const char *inputs[REMUX_INPUTS_MAX]; /* up to the first NULL; the first stream of each */
    int cover; /* this input is marked as an attached picture; -1: none */
    /* Change packet `number` of an input, or leave it out (false); NULL: all as they are. */
    bool (*edit)(struct AVPacket *packet, int input, int64_t number);
};

/* Write the file.  Local.  Errors: LS_FAILED naming the step that FFmpeg refused. */
ls_status remux(const struct remux *what) LS_MUST_CHECK;

#endif
