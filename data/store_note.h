/* What packing did with a dear video, kept beside its stream's side data as JSON: encoded again, or
 * kept as it is and why. */
#ifndef LOCKSTEP_DATA_STORE_NOTE_H
#define LOCKSTEP_DATA_STORE_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "data/clip_cost.h"
#include "data/records.h"

enum { STORE_NOTE_TEXT_BYTES = 256 };

/* Texts are cut to their room. */
struct store_note {
    bool encoded;                             /* else kept */
    struct clip_cost before;                  /* of the source's packets */
    char why[STORE_NOTE_TEXT_BYTES];          /* it was kept */
    char encoder[STORE_NOTE_TEXT_BYTES];      /* of what was encoded: library and version, */
    char options[STORE_NOTE_TEXT_BYTES];      /* its options, */
    double gop_s;                             /* what the pack was asked for, */
    int short_side;                           /* 0: the size stayed */
    double dear;                              /* its limit, */
    char source_codec[32], source_format[32]; /* and what the source was */
    int source_width, source_height;          /* as decoded */
    uint64_t source_packet_bytes;
};

/* Append the note to a side data block.  Local.  Errors: LS_NOMEM. */
ls_status store_note_add(struct record_blob *block, const struct store_note *note) LS_MUST_CHECK;

/* The note of a side data block; false when it has none, or none that can be read.  Local. */
bool store_note_find(struct store_note *out, const uint8_t *block, size_t block_size);

#endif
