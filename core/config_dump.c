/* The resolved config as text.  Everything is written out, defaults too, so that a later version
 * with other defaults reads the same run; numbers are written so that they read back to the same
 * bits.  The fingerprint is a hash of the same text cut down to what determines results. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_table.h"
#include "core/files.h"
#include "core/hash.h"

/* A text that grows. */
struct writer {
    char *text;
    size_t used, room;
    bool no_memory;
    bool results_only;      /* for the fingerprint */
    unsigned flags, wanted; /* only keys whose flags, as far as `flags` goes, are `wanted` */
};

static void write_bytes(struct writer *writer, const char *bytes, size_t count)
{
    if (writer->no_memory)
        return;
    if (writer->used + count + 1 > writer->room) {
        size_t room = 2 * (writer->used + count) + 1024;
        char *larger = realloc(writer->text, room);
        if (larger == NULL) {
            writer->no_memory = true;
            return;
        }
        writer->text = larger;
        writer->room = room;
    }
    memcpy(writer->text + writer->used, bytes, count);
    writer->used += count;
    writer->text[writer->used] = '\0';
}

static void write_text(struct writer *writer, const char *format, ...) LS_PRINTF(2, 3);
static void write_text(struct writer *writer, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int count = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (count < 0) {
        writer->no_memory = true;
        return;
    }
    write_bytes(writer, text, (size_t)count);
    free(text);
}

static void write_double(struct writer *writer, double value)
{
    char text[CONFIG_NUMBER_BYTES];
    config_number_text(text, value);
    write_text(writer, "%s", text);
}

/* The code point at `text` and its length in bytes; the text is valid UTF-8, as libyaml gave it. */
static unsigned decode_utf8(const char *text, int *length)
{
    const unsigned char *c = (const unsigned char *)text;
    *length = c[0] < 0x80 ? 1 : c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : 4;
    unsigned code = *length == 1 ? c[0] : c[0] & (0xFFU >> (*length + 1));
    for (int i = 1; i < *length; i++) {
        if (c[i] == '\0') {
            *length = i;
            break;
        }
        code = code << 6 | (c[i] & 0x3FU);
    }
    return code;
}

/* Always in double quotes: then no text is taken for a number, a null or an indicator. */
static void write_quoted(struct writer *writer, const char *text)
{
    write_text(writer, "\"");
    while (*text != '\0') {
        int length = 1;
        unsigned code = decode_utf8(text, &length);
        bool breaks_lines = code == 0x85 || code == 0x2028 || code == 0x2029;
        bool hidden = code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xFEFF ||
                      (code & 0xFFFE) == 0xFFFE;
        if (code == '"' || code == '\\')
            write_text(writer, "\\%c", (int)code);
        else if (breaks_lines || hidden)
            write_text(writer, "\\U%08X", code);
        else
            write_bytes(writer, text, (size_t)length);
        text += length;
    }
    write_text(writer, "\"");
}

/* Letters only: needs no quotes and looks like the public files. */
static bool is_word(const char *text)
{
    static const char *const meant_otherwise[] = {"true", "false", "yes", "no", "on",
                                                  "off",  "null",  "y",   "n"};
    for (size_t i = 0; i < sizeof meant_otherwise / sizeof *meant_otherwise; i++)
        if (strcasecmp(text, meant_otherwise[i]) == 0)
            return false;
    static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    return text[0] != '\0' && strspn(text, letters) == strlen(text);
}

static void write_string(struct writer *writer, const char *text)
{
    if (is_word(text))
        write_text(writer, "%s", text);
    else
        write_quoted(writer, text);
}

static void write_value(struct writer *writer, const struct config_key *key, const void *field)
{
    const double *pair = field;
    const int *size = field;
    switch (key->type) {
    case CONFIG_TYPE_BOOL:
        write_text(writer, "%s", *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_TYPE_INT:
        write_text(writer, "%d", *(const int *)field);
        break;
    case CONFIG_TYPE_INT64:
        write_text(writer, "%lld", (long long)*(const int64_t *)field);
        break;
    case CONFIG_TYPE_DOUBLE:
        write_double(writer, *(const double *)field);
        break;
    case CONFIG_TYPE_PAIR:
        write_text(writer, "[");
        write_double(writer, pair[0]);
        write_text(writer, ", ");
        write_double(writer, pair[1]);
        write_text(writer, "]");
        break;
    case CONFIG_TYPE_SIZE:
        if (size[0] == size[1])
            write_text(writer, "%d", size[0]);
        else
            write_text(writer, "[%d, %d]", size[0], size[1]);
        break;
    case CONFIG_TYPE_TEXT:
        write_string(writer, *(char *const *)field);
        break;
    case CONFIG_TYPE_CHOICE:
        write_text(writer, "%s", key->choices[*(const int *)field]);
        break;
    default: /* lists have their own writers, ignored keys are not written */
        break;
    }
}

/* Whether the field holds "not given". */
static bool is_absent(const struct config_key *key, const void *field)
{
    if (key->type == CONFIG_TYPE_TEXT)
        return *(char *const *)field == NULL;
    if ((key->flags & CONFIG_OMIT_ZERO) == 0)
        return false;
    if (key->type == CONFIG_TYPE_DOUBLE)
        return *(const double *)field == 0;
    return *(const int *)field == 0;
}

static void write_masks(struct writer *writer, const struct config *config)
{
    write_text(writer, "mask:\n");
    for (int group = 0; group < config->mask_count; group++) {
        const char *lead = "- ";
        for (int i = 0; i < config_mask_key_count; i++) {
            const struct config_key *key = &config_mask_keys[i];
            const void *field = (const char *)&config->masks[group] + key->offset;
            if (is_absent(key, field))
                continue;
            write_text(writer, "%s%s: ", lead, key->path);
            write_value(writer, key, field);
            write_text(writer, "\n");
            lead = "  ";
        }
    }
}

static void write_datasets(struct writer *writer, const struct config_key *key, const char *name,
                           const struct config_data *data)
{
    if (key->type == CONFIG_TYPE_WEIGHTS && !data->weighted)
        return;
    write_text(writer, "  %s:\n", name);
    for (int i = 0; i < data->dataset_count; i++) {
        const struct config_dataset *dataset = &data->datasets[i];
        write_text(writer, "  - ");
        if (key->type == CONFIG_TYPE_PATHS)
            write_string(writer, dataset->path);
        else if (key->type == CONFIG_TYPE_WEIGHTS)
            write_double(writer, dataset->weight);
        else
            write_text(writer, "%d", dataset->frames_per_clip);
        write_text(writer, "\n");
    }
}

/* Step counts that follow from other keys are left out, so that an override of those works. */
static bool follows_from_others(const struct config_key *key, const struct config *config)
{
    const struct config_optimization *o = &config->optimization;
    if (key->offset == offsetof(struct config, optimization.total_steps))
        return o->total_steps == (int64_t)o->epochs * o->ipe || o->ipe == 0;
    if (key->offset == offsetof(struct config, optimization.warmup_steps))
        return o->ipe != 0 || o->warmup_steps == 0;
    if (key->offset == offsetof(struct config, optimization.warmup))
        return o->ipe == 0 && o->warmup_steps > 0;
    return false;
}

static void write_keys(struct writer *writer, const struct config *config)
{
    char section[CONFIG_NUMBER_BYTES] = "";
    for (int i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const void *field = (const char *)config + key->offset;
        const char *dot = strchr(key->path, '.');
        const char *name = dot != NULL ? dot + 1 : key->path;
        size_t length = dot != NULL ? (size_t)(dot - key->path) : 0;
        if (key->type == CONFIG_TYPE_IGNORED ||
            (writer->results_only && (key->flags & CONFIG_RESULT) == 0) ||
            (key->flags & writer->flags) != writer->wanted)
            continue;
        if (length > 0 && (strncmp(section, key->path, length) != 0 || section[length] != '\0')) {
            (void)snprintf(section, sizeof section, "%.*s", (int)length, key->path);
            write_text(writer, "%s:\n", section);
        }
        if (key->type == CONFIG_TYPE_MASKS) {
            write_masks(writer, config);
        } else if (key->type == CONFIG_TYPE_PATHS || key->type == CONFIG_TYPE_WEIGHTS ||
                   key->type == CONFIG_TYPE_FRAMES) {
            write_datasets(writer, key, name, &config->data);
        } else if (!is_absent(key, field) && !follows_from_others(key, config)) {
            write_text(writer, "%s%s: ", length > 0 ? "  " : "", name);
            write_value(writer, key, field);
            write_text(writer, "\n");
        }
    }
}

static ls_status dump(char **out, const struct config *config, struct writer writer)
{
    write_keys(&writer, config);
    if (writer.no_memory) {
        free(writer.text);
        return LS_FAIL(LS_NOMEM, "out of memory for a config");
    }
    *out = writer.text;
    return LS_OK;
}

ls_status config_dump(char **out, const struct config *config)
{
    return dump(out, config, (struct writer){.results_only = false});
}

ls_status config_dump_part(char **out, const struct config *config, bool of_run)
{
    return dump(out, config,
                (struct writer){.flags = CONFIG_OF_RUN, .wanted = of_run ? CONFIG_OF_RUN : 0});
}

ls_status config_fingerprint(uint64_t *out, const struct config *config)
{
    ls_status st = LS_OK;
    const struct config_optimization *o = &config->optimization;
    struct writer writer = {.results_only = true};
    write_keys(&writer, config);
    write_text(&writer, "micro_batches: %d\nsteps: %lld %lld %lld\n", config->micro_batches,
               (long long)o->total_steps, (long long)o->warmup_steps, (long long)o->schedule_steps);
    if (writer.no_memory)
        st = LS_FAIL(LS_NOMEM, "out of memory for a config");
    else
        *out = hash_buffer(writer.text, writer.used).low;
    free(writer.text);
    return st;
}
