#include "data/store_note.h"

#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/side.h"

static bool add_text(cJSON *object, const char *key, const char *text)
{
    return cJSON_AddStringToObject(object, key, text) != NULL;
}

static bool add_number(cJSON *object, const char *key, double number)
{
    return cJSON_AddNumberToObject(object, key, number) != NULL;
}

static bool add_all(cJSON *root, const struct store_note *note)
{
    bool good = add_text(root, "store", note->encoded ? "encoded" : "kept") &&
                add_number(root, "clip_frames_before", note->before.decoded) &&
                add_number(root, "clip_pixels_before", note->before.pixels) &&
                add_number(root, "clip_bytes_before", note->before.bytes);
    if (!note->encoded)
        return good && add_text(root, "why", note->why);
    return good && add_text(root, "encoder", note->encoder) &&
           add_text(root, "options", note->options) && add_number(root, "gop_s", note->gop_s) &&
           add_number(root, "short_side", note->short_side) &&
           add_number(root, "dear", note->dear) &&
           add_text(root, "source_codec", note->source_codec) &&
           add_text(root, "source_pixel_format", note->source_format) &&
           add_number(root, "source_width", note->source_width) &&
           add_number(root, "source_height", note->source_height) &&
           add_number(root, "source_packet_bytes", (double)note->source_packet_bytes);
}

ls_status store_note_add(struct record_blob *block, const struct store_note *note)
{
    ls_status st = LS_OK;
    char *text = NULL;
    cJSON *root = cJSON_CreateObject();
    if (root != NULL && add_all(root, note))
        text = cJSON_PrintUnformatted(root);
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a note");
        goto done;
    }
    LS_TRY(side_add(block, SIDE_STORE_NOTE, (const uint8_t *)text, strlen(text)));
done:
    cJSON_free(text);
    cJSON_Delete(root);
    return st;
}

static void get_text(char *out, size_t bytes, const cJSON *root, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, key));
    (void)snprintf(out, bytes, "%s", text != NULL ? text : "");
}

/* 0 where there is none, or one that is no size or share of anything. */
static double get_number(const cJSON *root, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    const double number = cJSON_IsNumber(item) ? cJSON_GetNumberValue(item) : 0;
    return number >= 0 && number < 1e18 ? number : 0;
}

static int get_integer(const cJSON *root, const char *key)
{
    const double number = get_number(root, key);
    return number < 1 << 30 ? (int)number : 0;
}

bool store_note_find(struct store_note *out, const uint8_t *block, size_t block_size)
{
    char store[16];
    size_t size = 0;
    const uint8_t *text = side_find(block, block_size, SIDE_STORE_NOTE, &size);
    if (text == NULL)
        return false;
    cJSON *root = cJSON_ParseWithLength((const char *)text, size);
    get_text(store, sizeof store, root, "store");
    *out = (struct store_note){
        .encoded = strcmp(store, "encoded") == 0,
        .before.decoded = get_number(root, "clip_frames_before"),
        .before.pixels = get_number(root, "clip_pixels_before"),
        .before.bytes = get_number(root, "clip_bytes_before"),
        .gop_s = get_number(root, "gop_s"),
        .short_side = get_integer(root, "short_side"),
        .dear = get_number(root, "dear"),
        .source_width = get_integer(root, "source_width"),
        .source_height = get_integer(root, "source_height"),
        .source_packet_bytes = (uint64_t)get_number(root, "source_packet_bytes"),
    };
    out->before.work = out->before.pixels + CLIP_COST_BYTE * out->before.bytes;
    get_text(out->why, sizeof out->why, root, "why");
    get_text(out->encoder, sizeof out->encoder, root, "encoder");
    get_text(out->options, sizeof out->options, root, "options");
    get_text(out->source_codec, sizeof out->source_codec, root, "source_codec");
    get_text(out->source_format, sizeof out->source_format, root, "source_pixel_format");
    cJSON_Delete(root);
    return store[0] != '\0';
}
