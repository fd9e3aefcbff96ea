/* golden FILE... [--device auto|cpu|cuda|emulated] [--dtype float32|bfloat16] [--threads N]
 * [--workers N]
 *                [--bucket TOKENS] [--checkpointing] [--quiet]
 *
 * Prints for every quantity of the golden files its error, its bound, and ok or MISS.  Exit code: 0
 * all hold, 1 a miss, 2 usage (an unknown file is usage), else that of the failure. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/device.h"
#include "tests/support/golden_pretrain.h"
#include "tests/support/golden_schedules.h"

struct arguments {
    const char **files;
    int file_count;
    enum config_device device;
    enum op_dtype dtype;
    int threads, workers, bucket;
    bool checkpointing, quiet;
};

static const char usage[] = "usage: golden FILE... [--device auto|cpu|cuda|emulated] [--dtype "
                            "float32|bfloat16] [--threads N] "
                            "[--workers N] [--bucket TOKENS] [--checkpointing] [--quiet]";

static ls_status choose(int *out, const char *option, const char *value, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], value) == 0) {
            *out = i;
            return LS_OK;
        }
    return LS_FAIL(LS_USAGE, "%s: unknown value %s; %s", option, value, usage);
}

static ls_status read_number(int *out, const char *option, const char *value)
{
    char *end = NULL;
    errno = 0;
    const long number = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < 1 || number > 1024)
        return LS_FAIL(LS_USAGE, "%s: %s is not a number from 1 to 1024", option, value);
    *out = (int)number;
    return LS_OK;
}

static ls_status take_value(struct arguments *out, const char *option, const char *value)
{
    static const char *const devices[] = {"auto", "cpu", "cuda", "emulated",
                                          NULL};                       /* enum config_device */
    static const char *const dtypes[] = {"float32", "bfloat16", NULL}; /* enum op_dtype */
    int choice = 0;
    ls_status st = LS_OK;
    if (value == NULL) {
        st = LS_FAIL(LS_USAGE, "%s: a value is missing; %s", option, usage);
    } else if (strcmp(option, "--device") == 0) {
        LS_TRY(choose(&choice, option, value, devices));
        out->device = (enum config_device)choice;
    } else if (strcmp(option, "--dtype") == 0) {
        LS_TRY(choose(&choice, option, value, dtypes));
        out->dtype = (enum op_dtype)choice;
    } else if (strcmp(option, "--threads") == 0) {
        LS_TRY(read_number(&out->threads, option, value));
    } else if (strcmp(option, "--workers") == 0) {
        LS_TRY(read_number(&out->workers, option, value));
    } else if (strcmp(option, "--bucket") == 0) {
        LS_TRY(read_number(&out->bucket, option, value));
    } else {
        st = LS_FAIL(LS_USAGE, "unknown option %s; %s", option, usage);
    }
done:
    return st;
}

static ls_status read_arguments(struct arguments *out, int count, char **words)
{
    ls_status st = LS_OK;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *out = (struct arguments){.device = CONFIG_DEVICE_CPU,
                              .dtype = OP_F32,
                              .threads = cores > 0 ? (int)cores : 1,
                              .workers = 1};
    out->files = calloc((size_t)count + 1, sizeof *out->files);
    if (out->files == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the arguments");
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--checkpointing") == 0) {
            out->checkpointing = true;
        } else if (strcmp(words[i], "--quiet") == 0) {
            out->quiet = true;
        } else if (strncmp(words[i], "--", 2) == 0) {
            LS_TRY(take_value(out, words[i], words[i + 1]));
            i++;
        } else {
            out->files[out->file_count++] = words[i];
        }
    }
    if (out->file_count == 0)
        st = LS_FAIL(LS_USAGE, "%s", usage);
done:
    return st;
}

static ls_status check_file(struct golden_report *report, const struct arguments *arguments,
                            const struct model_device *device, const char *path)
{
    ls_status st = LS_OK;
    struct golden *golden = NULL;
    const struct golden_run run = {.table = device->table,
                                   .device = device->device,
                                   .dtype = arguments->dtype,
                                   .activation_checkpointing = arguments->checkpointing,
                                   .bucket_tokens = arguments->bucket,
                                   .workers = arguments->workers,
                                   .size = 1};
    LS_TRY(golden_open(&golden, path));
    if (golden_is_pretrain(golden))
        LS_TRY(golden_pretrain(report, golden, &run));
    else if (golden_is_schedules(golden))
        LS_TRY(golden_schedules(report, golden));
    else
        st = LS_FAIL(LS_USAGE, "%s: not a file this program knows", path);
done:
    golden_close(&golden);
    return st;
}

static ls_status check_files(int *missed, const struct arguments *arguments)
{
    ls_status st = LS_OK;
    struct model_device device = {0};
    LS_TRY(model_device_open(&device, arguments->device, arguments->threads, 0, true));
    for (int i = 0; i < arguments->file_count; i++) {
        struct golden_report report = {.out = arguments->quiet ? NULL : stdout};
        LS_TRY(check_file(&report, arguments, &device, arguments->files[i]));
        (void)printf("%s: %d quantities, %d missed; worst error/bound %.3f (%s)\n",
                     arguments->files[i], report.checked, report.missed, report.worst,
                     report.worst_name);
        *missed += report.missed;
    }
done:
    model_device_close(&device);
    return st;
}

int main(int argc, char **argv)
{
    ls_status st = LS_OK;
    struct arguments arguments;
    int missed = 0;
    LS_TRY(read_arguments(&arguments, argc, argv));
    LS_TRY(check_files(&missed, &arguments));
done:
    free(arguments.files);
    if (st != LS_OK) {
        (void)fprintf(stderr, "golden: %s\n", status_text());
        return status_exit_code(st);
    }
    return missed > 0 ? 1 : 0;
}
