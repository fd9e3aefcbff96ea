/* Are the ranks of one mind, and is a resumed run the one that was saved?  Both compare hashes of
 * what results depend on. */
#include <cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"
#include "core/version.h"
#include "worker/trainer.h"

enum { HOST_BYTES = RANKS_HOST_BYTES, DEVICE_BYTES = 16, PROGRAM_LIMIT_BYTES = 1 << 30 };

struct identity { /* exchanged as bytes: all ranks run the same program, or the sizes tell */
    int64_t size, bucket_bytes;
    int32_t deterministic, dtype;
    char device[DEVICE_BYTES];
    struct hash128 program, datasets, parameters;
    uint64_t config;
    char host[HOST_BYTES];
};

struct hash128 trainer_dataset_hash(const struct trainer *trainer)
{
    struct hash128 sum = {0};
    for (int i = 0; i < trainer->config->data.dataset_count; i++) {
        struct hash128 one = dataset_fingerprint(trainer->datasets[i]);
        sum = hash_add(sum, hash_buffer_at(&one, sizeof one, (uint64_t)i, 0));
    }
    return sum;
}

ls_status trainer_program_hash(struct hash128 *out)
{
    char *bytes = NULL;
    size_t count = 0;
    ls_status st = files_read(&bytes, &count, "/proc/self/exe", PROGRAM_LIMIT_BYTES);
    if (st == LS_OK)
        *out = hash_buffer(bytes, count);
    free(bytes);
    return st;
}

static struct hash128 parameter_hash(const struct parameters *parameters)
{
    struct hash128 sum = {0};
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *p = &parameters->table[i];
        sum = hash_add(
            sum, hash_buffer_at(p->name, strlen(p->name), (uint64_t)p->offset, (uint64_t)p->count));
    }
    return sum;
}

static ls_status my_identity(struct identity *out, const struct trainer *trainer)
{
    ls_status st = LS_OK;
    memset(out, 0, sizeof *out);
    out->size = trainer->size;
    out->bucket_bytes = trainer->bucket_bytes;
    out->deterministic = trainer->config->run.deterministic ? 1 : 0;
    out->dtype = (int32_t)trainer->device.dtype;
    (void)snprintf(out->device, sizeof out->device, "%s", trainer->device.model.table->name);
    out->datasets = trainer_dataset_hash(trainer);
    out->parameters = parameter_hash(jepa_parameters(trainer->jepa));
    LS_TRY(trainer_program_hash(&out->program));
    LS_TRY(config_fingerprint(&out->config, trainer->config));
    if (gethostname(out->host, sizeof out->host - 1) != 0)
        (void)snprintf(out->host, sizeof out->host, "unknown host");
done:
    return st;
}

/* What `other` differs in from `first`, NULL when in nothing. */
static const char *difference(const struct identity *first, const struct identity *other)
{
    if (first->size != other->size)
        return "world size";
    if (!hash_equal(first->program, other->program))
        return "program (lockstep-worker is not the same file on all nodes)";
    if (first->config != other->config)
        return "config";
    if (!hash_equal(first->datasets, other->datasets))
        return "dataset index";
    if (!hash_equal(first->parameters, other->parameters))
        return "parameter table";
    if (strcmp(first->device, other->device) != 0)
        return "device (one computes on a GPU, the other on the CPU)";
    if (first->dtype != other->dtype)
        return "compute type (one has fast bfloat16 products, the other not: set meta.dtype: "
               "float32)";
    if (first->bucket_bytes != other->bucket_bytes)
        return "lockstep.bucket_mb";
    if (first->deterministic != other->deterministic)
        return "lockstep.deterministic";
    return NULL;
}

ls_status trainer_compare_ranks(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct identity mine;
    struct identity *all = NULL;
    LS_TRY(trainer_agree(trainer, my_identity(&mine, trainer)));
    LS_TRY(core_alloc(&all, trainer->size));
    LS_TRY(core_alloc(&trainer->hosts, (int64_t)trainer->size * RANKS_HOST_BYTES));
    LS_TRY(comm_exchange(trainer->group, &mine, sizeof mine, all));
    for (int r = 0; r < trainer->size; r++)
        memcpy(trainer->hosts + (size_t)r * RANKS_HOST_BYTES, all[r].host, HOST_BYTES);
    for (int r = 1; r < trainer->size; r++) {
        const char *what = difference(&all[0], &all[r]);
        if (what != NULL) {
            trainer->agreed = true;
            trainer->own = r == trainer->rank;
            st = LS_FAIL(LS_USAGE, "rank %d on %s has another %s than rank 0 on %s", r, all[r].host,
                         what, all[0].host);
            goto done;
        }
    }
done:
    free(all);
    return st;
}

ls_status trainer_facts(char **out, const struct trainer *trainer)
{
    ls_status st = LS_OK;
    char text[HASH_TEXT_BYTES];
    char config[32];
    struct hash128 program;
    uint64_t fingerprint = 0;
    cJSON *json = cJSON_CreateObject();
    LS_TRY(trainer_program_hash(&program));
    LS_TRY(config_fingerprint(&fingerprint, trainer->config));
    (void)snprintf(config, sizeof config, "%016" PRIx64, fingerprint);
    bool good =
        cJSON_AddStringToObject(json, "lockstep", version_text()) != NULL &&
        cJSON_AddNumberToObject(json, "world_size", trainer->size) != NULL &&
        cJSON_AddStringToObject(json, "device", trainer->device.model.table->name) != NULL &&
        cJSON_AddStringToObject(
            json, "dtype", trainer->device.dtype == OP_BF16 ? "bfloat16" : "float32") != NULL &&
        cJSON_AddNumberToObject(json, "threads", trainer->device.threads) != NULL &&
        cJSON_AddStringToObject(json, "device_facts", trainer->device.model.facts) != NULL &&
        cJSON_AddStringToObject(json, "config", config) != NULL;
    if (trainer->config->stage_count > 1)
        good = good && cJSON_AddNumberToObject(json, "stage", trainer->config->stage + 1) != NULL &&
               cJSON_AddNumberToObject(json, "first_step", (double)trainer->config->first_step) !=
                   NULL;
    hash_text(text, trainer_dataset_hash(trainer));
    good = good && cJSON_AddStringToObject(json, "datasets", text) != NULL;
    hash_text(text, program);
    good = good && cJSON_AddStringToObject(json, "program", text) != NULL;
    if (!good || (*out = cJSON_PrintUnformatted(json)) == NULL)
        st = LS_FAIL(LS_NOMEM, "out of memory for the facts of a run");
done:
    cJSON_Delete(json);
    return st;
}

void trainer_compare_facts(const struct trainer *trainer, const char *stored_json)
{
    char changed[512] = "";
    size_t used = 0;
    cJSON *stored = cJSON_Parse(stored_json);
    cJSON *now = cJSON_Parse(trainer->saving.facts_json);
    if (cJSON_GetObjectItemCaseSensitive(stored, "imported") != NULL) {
        log_info("resume imported=yes"); /* it was computed elsewhere: nothing to compare */
        goto done;
    }
    for (const cJSON *fact = now != NULL ? now->child : NULL; fact != NULL; fact = fact->next) {
        const cJSON *before = cJSON_GetObjectItemCaseSensitive(stored, fact->string);
        if (cJSON_Compare(fact, before, 1) == 0 && used < sizeof changed - 64)
            used += (size_t)snprintf(changed + used, sizeof changed - used, "%s%s",
                                     used > 0 ? "," : "", fact->string);
    }
    /* The program may be rebuilt without another bit; all the rest changes the order of sums. */
    if (used > 0)
        log_info("resume not_bit_identical changed=%s", changed);
done:
    cJSON_Delete(stored);
    cJSON_Delete(now);
}
