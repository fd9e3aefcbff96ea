/* The table of keys as Markdown: the lower part of docs/config.md, so that the page cannot tell of
 * keys that are not there, or leave one out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_probe_table.h"
#include "core/config_table.h"
#include "core/files.h"

static const char *default_text(const struct config_key *key)
{
    if (key->initial != NULL)
        return key->initial;
    if ((key->flags & CONFIG_REQUIRED) != 0)
        return "(required)";
    return key->type == CONFIG_TYPE_IGNORED ? "(ignored)" : "";
}

static ls_status write_row(FILE *file, const struct config_key *key, const char *name)
{
    char *allowed = NULL;
    ls_status st = config_key_allowed(&allowed, key);
    if (st != LS_OK)
        return st;
    const char *ours = (key->flags & CONFIG_OURS) != 0 ? " *" : "";
    const char *initial = default_text(key);
    const char *quote = initial[0] == '(' || initial[0] == '\0' ? "" : "`";
    (void)fprintf(file, "| `%s`%s | %s | %s%s%s | %s |\n", name, ours, allowed, quote, initial,
                  quote, key->help);
    free(allowed);
    return LS_OK;
}

static void write_heading(FILE *file, const char *title)
{
    (void)fprintf(file,
                  "\n### %s\n\n| key | allowed | default | meaning |\n| --- | --- | --- | --- |\n",
                  title);
}

static ls_status write_keys(FILE *file)
{
    ls_status st = LS_OK;
    char section[CONFIG_NUMBER_BYTES] = "?";
    for (int i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *dot = strchr(key->path, '.');
        char its[CONFIG_NUMBER_BYTES] = "";
        if (dot != NULL)
            (void)snprintf(its, sizeof its, "%.*s", (int)(dot - key->path), key->path);
        bool masks = key->type == CONFIG_TYPE_MASKS;
        if (masks || strcmp(its, section) != 0) {
            write_heading(file, masks ? "mask" : its[0] == '\0' ? "Top level" : its);
            memcpy(section, masks ? "?" : its, masks ? 2 : sizeof its);
        }
        LS_TRY(write_row(file, key, dot != NULL ? dot + 1 : key->path));
        for (int m = 0; masks && m < config_mask_key_count; m++)
            LS_TRY(write_row(file, &config_mask_keys[m], config_mask_keys[m].path));
    }
done:
    return st;
}

static void write_encoders(FILE *file)
{
    (void)fprintf(file, "\n### Encoders\n\n| `model_name` | `embed_dim` | `depth` | `num_heads` | "
                        "`mlp_ratio` |\n| --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < config_encoder_count; i++) {
        const struct config_encoder *encoder = &config_encoders[i];
        char ratio[CONFIG_NUMBER_BYTES];
        config_number_text(ratio, encoder->mlp_ratio);
        (void)fprintf(file, "| `%s` | %d | %d | %d | %s |\n", encoder->name, encoder->embed_dim,
                      encoder->depth, encoder->num_heads, ratio);
    }
}

/* The evaluation's keys in full, since its sections lie deeper. */
static ls_status write_probe(FILE *file)
{
    ls_status st = LS_OK;
    write_heading(file, "Probe");
    for (int i = 0; i < config_probe_key_count; i++) {
        const struct config_key *key = &config_probe_keys[i];
        LS_TRY(write_row(file, key, key->path));
        if (strcmp(key->path, CONFIG_PROBE_HEADS) != 0)
            continue;
        for (int h = 0; h < config_probe_head_key_count; h++) {
            char name[CONFIG_NUMBER_BYTES];
            (void)snprintf(name, sizeof name, "[] %s", config_probe_head_keys[h].path);
            LS_TRY(write_row(file, &config_probe_head_keys[h], name));
        }
    }
done:
    return st;
}

ls_status config_reference(char **out)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    if (file == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the reference of config keys");
    ls_status st = write_keys(file);
    write_encoders(file);
    if (st == LS_OK)
        st = write_probe(file);
    if (fclose(file) != 0 && st == LS_OK)
        st = LS_FAIL(LS_NOMEM, "out of memory for the reference of config keys");
    if (st != LS_OK) {
        free(text);
        return st;
    }
    *out = text;
    return LS_OK;
}
