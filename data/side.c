/* Side data blocks, both ways. */
#include "data/side.h"

#include <endian.h>
#include <string.h>

static const struct {
    enum side_kind kind;
    enum AVPacketSideDataType type;
} known[] = {
    {SIDE_NEW_EXTRADATA, AV_PKT_DATA_NEW_EXTRADATA},
    {SIDE_PALETTE, AV_PKT_DATA_PALETTE},
    {SIDE_PARAM_CHANGE, AV_PKT_DATA_PARAM_CHANGE},
    {SIDE_BLOCK_ADDITIONAL, AV_PKT_DATA_MATROSKA_BLOCKADDITIONAL},
    {SIDE_DISPLAY_MATRIX, AV_PKT_DATA_DISPLAYMATRIX},
    {SIDE_ICC_PROFILE, AV_PKT_DATA_ICC_PROFILE},
    {SIDE_CONTENT_LIGHT, AV_PKT_DATA_CONTENT_LIGHT_LEVEL},
    {SIDE_MASTERING_DISPLAY, AV_PKT_DATA_MASTERING_DISPLAY_METADATA},
    {SIDE_SPHERICAL, AV_PKT_DATA_SPHERICAL},
    {SIDE_STEREO, AV_PKT_DATA_STEREO3D},
    {SIDE_DOLBY_VISION, AV_PKT_DATA_DOVI_CONF},
};
enum { KNOWN_COUNT = sizeof known / sizeof *known, HEAD_BYTES = 8 };

static ls_status append(struct record_blob *out, const void *data, size_t size)
{
    uint64_t at;
    uint64_t added;
    ls_status st = record_blob_add(out, data, size, &at, &added);
    if (st == LS_OK)
        out->size--; /* a block has no closing 0 */
    return st;
}

ls_status side_add(struct record_blob *out, enum side_kind kind, const uint8_t *data, size_t size)
{
    ls_status st = LS_OK;
    if (size > UINT32_MAX / 2)
        return LS_FAIL(LS_DATA, "side data of %zu bytes", size);
    uint32_t head[2] = {htole32((uint32_t)kind), htole32((uint32_t)size)};
    LS_TRY(append(out, head, sizeof head));
    LS_TRY(append(out, data, size));
done:
    return st;
}

ls_status side_encode(struct record_blob *out, uint32_t *size, const AVPacketSideData *side,
                      int count)
{
    ls_status st = LS_OK;
    size_t before = out->size;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < KNOWN_COUNT; k++)
            if (known[k].type == side[i].type)
                LS_TRY(side_add(out, known[k].kind, side[i].data, side[i].size));
    if (out->size - before > UINT32_MAX) {
        st = LS_FAIL(LS_DATA, "side data of %zu bytes", out->size - before);
        goto done;
    }
    *size = (uint32_t)(out->size - before);
done:
    return st;
}

/* The entry at `*at`, which moves behind it; false at the end or at a malformed entry (`*at` then
 * stays short of the end). */
static bool next_entry(const uint8_t *block, size_t block_size, size_t *at, uint32_t *kind,
                       uint32_t *size)
{
    uint32_t head[2];
    if (block_size - *at < HEAD_BYTES)
        return false;
    memcpy(head, block + *at, sizeof head);
    *kind = le32toh(head[0]);
    *size = le32toh(head[1]);
    if (*size > block_size - *at - HEAD_BYTES)
        return false;
    *at += HEAD_BYTES + *size;
    return true;
}

const uint8_t *side_find(const uint8_t *block, size_t block_size, enum side_kind kind,
                         size_t *out_size)
{
    size_t at = 0;
    uint32_t entry_kind;
    uint32_t size;
    while (next_entry(block, block_size, &at, &entry_kind, &size)) {
        if (entry_kind == (uint32_t)kind) {
            *out_size = size;
            return block + at - size;
        }
    }
    return NULL;
}

ls_status side_attach(AVPacket *packet, const uint8_t *block, size_t block_size)
{
    size_t at = 0;
    uint32_t kind;
    uint32_t size;
    while (next_entry(block, block_size, &at, &kind, &size)) {
        for (int k = 0; k < KNOWN_COUNT; k++) {
            if ((uint32_t)known[k].kind != kind)
                continue;
            uint8_t *data = av_packet_new_side_data(packet, known[k].type, size);
            if (data == NULL)
                return LS_FAIL(LS_NOMEM, "out of memory for side data");
            memcpy(data, block + at - size, size);
        }
    }
    return at == block_size ? LS_OK : LS_FAIL(LS_DATA, "malformed side data");
}
