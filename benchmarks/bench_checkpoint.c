/* What a checkpoint costs: the time training stands still (the copy into staging memory), the time
 * until it is durable and committed, and the rate to disk beside a bare write and fsync of the same
 * bytes from the same memory (what `dd conv=fsync` does), in turn.
 *
 *   bench_checkpoint [--config FILE] [--model NAME] [--folder DIR] [--repeats N] [--table FILE]
 *
 * The state is that of one rank that holds everything: weights and two moments of encoder and
 * predictor, EMA of the encoder.  Medians of the repeats; the files are removed afterwards.  With
 * --table only the parameters are written to FILE, for benchmarks/torch_checkpoint.py. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "core/median.h"
#include "worker/saver.h"

enum { REPEATS_MAX = 99, WRITE_BYTES = 4 << 20, WAIT_S = 3600 };

struct settings {
    const char *config, *model, *folder, *table;
    long repeats;
};

struct times {
    double copy_s, durable_s, bare_s;
};

struct bench {
    struct settings settings;
    char *folder;
    struct parameters *parameters;
    float *arrays[SAVER_ARRAYS];
    int64_t bytes;
    struct saver *saver;
};

static ls_status read_settings(struct settings *out, char **arguments)
{
    *out = (struct settings){.config = "configs/vitl16-pretrain-256px-16f.yaml",
                             .model = "vit_large",
                             .folder = "build",
                             .repeats = 3};
    for (; arguments[0] != NULL; arguments += 2) {
        if (arguments[1] == NULL)
            return LS_FAIL(LS_USAGE, "%s needs a value", arguments[0]);
        if (strcmp(arguments[0], "--config") == 0)
            out->config = arguments[1];
        else if (strcmp(arguments[0], "--model") == 0)
            out->model = arguments[1];
        else if (strcmp(arguments[0], "--folder") == 0)
            out->folder = arguments[1];
        else if (strcmp(arguments[0], "--table") == 0)
            out->table = arguments[1];
        else if (strcmp(arguments[0], "--repeats") == 0)
            out->repeats = strtol(arguments[1], NULL, 10);
        else
            return LS_FAIL(LS_USAGE, "%s: unknown option", arguments[0]);
    }
    if (out->repeats < 1 || out->repeats > REPEATS_MAX)
        return LS_FAIL(LS_USAGE, "--repeats is a number from 1 to %d", REPEATS_MAX);
    return LS_OK;
}

static ls_status open_parameters(struct bench *bench)
{
    ls_status st = LS_OK;
    struct config *config = NULL;
    struct model_shape shape;
    char model[128];
    (void)snprintf(model, sizeof model, "model.model_name=%s", bench->settings.model);
    LS_TRY(config_open(&config, bench->settings.config, (const char *[]){model}, 1));
    LS_TRY(model_shape_of_config(&shape, config));
    LS_TRY(parameters_open(&bench->parameters, &shape));
done:
    config_close(&config);
    return st;
}

static ls_status open_state(struct bench *bench)
{
    ls_status st = LS_OK;
    for (int a = 0; a < SAVER_ARRAYS; a++) {
        int64_t count = saver_array_total(a, bench->parameters);
        LS_TRY(core_alloc(&bench->arrays[a], count));
        uint32_t bits = (uint32_t)a + 1;
        for (int64_t i = 0; i < count; i++) {
            bits = bits * 1664525 + 1013904223; /* nothing for a disk to compress */
            memcpy(&bench->arrays[a][i], &bits, sizeof bits);
        }
        bench->bytes += count * (int64_t)sizeof(float);
    }
done:
    return st;
}

/* A line a parameter: name, elements, 1 where the EMA has it. */
static ls_status write_table(struct bench *bench)
{
    ls_status st = LS_OK;
    FILE *file = NULL;
    LS_TRY(open_parameters(bench));
    file = fopen(bench->settings.table, "we");
    for (int i = 0; i < bench->parameters->count && file != NULL; i++) {
        const struct parameter *p = &bench->parameters->table[i];
        (void)fprintf(file, "%s %" PRId64 " %d\n", p->name, p->count, p->encoder);
    }
    bool failed = file == NULL || ferror(file) != 0;
    if (file != NULL)
        failed = fclose(file) != 0 || failed;
    if (failed)
        st = LS_FAIL(LS_IO, "%s: cannot write: %s", bench->settings.table, strerror(errno));
done:
    return st;
}

static ls_status open_bench(struct bench *bench)
{
    ls_status st = LS_OK;
    LS_TRY(core_format(&bench->folder, "%s/bench-checkpoint-%ld", bench->settings.folder,
                       (long)getpid()));
    LS_TRY(open_parameters(bench));
    LS_TRY(open_state(bench));
    LS_TRY(files_make_folder(bench->folder));
    LS_TRY(checkpoint_take_over(bench->folder, 1, -1));
    LS_TRY(saver_open(&bench->saver,
                      &(struct saver_options){.folder = bench->folder,
                                              .config_yaml = "",
                                              .facts_json = "{}",
                                              .run_epoch = 1,
                                              .origin_step = -1,
                                              .size = 1,
                                              .retention = {.keep_last = 1}},
                      bench->parameters));
done:
    return st;
}

static ls_status bare_write(double *out, const struct bench *bench)
{
    ls_status st = LS_OK;
    char *path = NULL;
    int file = -1;
    LS_TRY(core_format(&path, "%s/bare", bench->folder));
    double start_s = clock_now_s();
    file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot create: %s", path, strerror(errno));
        goto done;
    }
    for (int a = 0; a < SAVER_ARRAYS; a++) {
        const char *data = (const char *)bench->arrays[a];
        size_t left = (size_t)saver_array_total(a, bench->parameters) * sizeof(float);
        for (size_t chunk = 0; left > 0; left -= chunk, data += chunk) {
            chunk = left < WRITE_BYTES ? left : WRITE_BYTES;
            LS_TRY(files_write_all(file, data, chunk, path));
        }
    }
    if (fsync(file) != 0) {
        st = LS_FAIL(LS_IO, "%s: cannot fsync: %s", path, strerror(errno));
        goto done;
    }
    *out = clock_now_s() - start_s;
done:
    if (file >= 0)
        (void)close(file);
    if (path != NULL)
        (void)unlink(path);
    free(path);
    return st;
}

static ls_status save(struct times *out, const struct bench *bench, int64_t step)
{
    ls_status st = LS_OK;
    struct saver *saver = bench->saver;
    struct checkpoint_state *state = saver_stage(saver);
    double start_s = clock_now_s();
    for (int a = 0; a < SAVER_ARRAYS; a++)
        memcpy(state->arrays[a].data, bench->arrays[a],
               (size_t)state->arrays[a].count * sizeof(float));
    state->step = step;
    LS_TRY(saver_write(saver));
    out->copy_s = clock_now_s() - start_s;
    LS_TRY(saver_wait(saver, WAIT_S));
    LS_TRY(saver_failure(saver));
    saver_commit(saver, saver_facts(saver));
    LS_TRY(saver_wait(saver, WAIT_S));
    LS_TRY(saver_failure(saver));
    out->durable_s = clock_now_s() - start_s;
    saver_finish(saver, false);
done:
    return st;
}

/* "VmHWM" or "VmRSS" of this process, GB. */
static double memory_gb(const char *key)
{
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtol(line + strlen(key) + 1, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return (double)kib * 1024 / 1e9;
}

static ls_status run(struct bench *bench)
{
    ls_status st = LS_OK;
    double copy_s[REPEATS_MAX] = {0};
    double durable_s[REPEATS_MAX] = {0};
    double bare_s[REPEATS_MAX] = {0};
    double gb = (double)bench->bytes / 1e9;
    long repeats = bench->settings.repeats;
    printf("%s: %.1f M parameters, %.2f GB of state, in %s\n", bench->settings.model,
           (double)bench->parameters->true_count / 1e6, gb, bench->folder);
    printf("%6s %16s %12s %16s\n", "", "stands still s", "durable s", "bare write s");
    for (long r = -1; r < repeats; r++) { /* the first touches the staging memory */
        struct times times = {0};
        LS_TRY(save(&times, bench, r + 2));
        LS_TRY(bare_write(&times.bare_s, bench));
        printf("%6s %16.3f %12.2f %16.2f\n", r < 0 ? "first" : "", times.copy_s, times.durable_s,
               times.bare_s);
        if (r < 0)
            continue;
        copy_s[r] = times.copy_s;
        durable_s[r] = times.durable_s;
        bare_s[r] = times.bare_s;
    }
    double copy = median_of(copy_s, repeats);
    double durable = median_of(durable_s, repeats);
    double bare = median_of(bare_s, repeats);
    printf("median: stands still %.3f s (%.2f GB/s), durable after %.2f s (%.3f GB/s), bare write "
           "%.2f s (%.3f GB/s): %.0f %% of it\n",
           copy, gb / copy, durable, gb / durable, bare, gb / bare, 100 * bare / durable);
    printf("peak memory %.2f GB: the state and %.2f times its size\n", memory_gb("VmHWM"),
           (memory_gb("VmHWM") - gb) / gb);
done:
    return st;
}

int main(int argc, char **argv)
{
    (void)argc;
    struct bench bench = {0};
    log_open(0, LOG_LEVEL_WARN);
    ls_status st = read_settings(&bench.settings, argv + 1);
    bool table = st == LS_OK && bench.settings.table != NULL;
    if (table)
        st = write_table(&bench);
    if (st == LS_OK && !table)
        st = open_bench(&bench);
    if (st == LS_OK && !table)
        st = run(&bench);
    if (st != LS_OK)
        log_error("%s", status_text());
    saver_close(&bench.saver, WAIT_S);
    if (bench.folder != NULL && files_remove(bench.folder) != LS_OK)
        log_warn("%s", status_text());
    for (int a = 0; a < SAVER_ARRAYS; a++)
        free(bench.arrays[a]);
    parameters_close(&bench.parameters);
    free(bench.folder);
    return status_exit_code(st);
}
