/* Lines start with {"step":N, so that a resume finds where to cut without parsing whole objects. */
#include "worker/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"

enum { LINE_BYTES = 2048, STEPS_BETWEEN_SYNCS = 50 };

static const char line_start[] = "{\"step\":";

struct line {
    char text[LINE_BYTES];
    size_t used;
};

struct metrics {
    char *path;
    int file;
    off_t end; /* behind the last whole line */
    int unsynced;
    bool failing;
    struct line line; /* the newest */
};

/* The step of a line, -1 when it is not one of ours or not whole. */
static int64_t step_of_line(const char *line, size_t length)
{
    size_t start = sizeof line_start - 1;
    if (length < start + 3 || memcmp(line, line_start, start) != 0 ||
        memcmp(line + length - 2, "}\n", 2) != 0)
        return -1;
    char *end = NULL;
    errno = 0;
    long long step = strtoll(line + start, &end, 10);
    return errno == 0 && *end == ',' && step > 0 ? step : -1;
}

/* Copy the whole lines of steps up to `finished` that follow each other; `*last` the last of them,
 * 0 when there are none. */
static ls_status copy_lines(int64_t *last, FILE *to, const char *path, int64_t finished)
{
    ls_status st = LS_OK;
    char *line = NULL;
    size_t room = 0;
    *last = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT ? LS_OK
                               : LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
    for (;;) {
        ssize_t length = getline(&line, &room, file);
        if (length < 0)
            break;
        int64_t step = step_of_line(line, (size_t)length);
        if (step <= *last || step > finished)
            continue;
        *last = step;
        if (fwrite(line, 1, (size_t)length, to) != (size_t)length)
            break; /* told by the caller, who looks at `to` */
    }
    if (ferror(file) != 0)
        st = LS_FAIL(LS_IO, "%s: cannot read: %s", path, strerror(errno));
    free(line);
    (void)fclose(file);
    return st;
}

/* A new file in the place of the old one, with the lines that stay.  Rank 0 of an earlier start may
 * still live (a node that was cut off): what it goes on to write is in a file that nobody reads. */
static ls_status renew(struct metrics *metrics, int64_t *last, int64_t finished)
{
    ls_status st = LS_OK;
    char *beside = NULL;
    FILE *to = NULL;
    LS_TRY(core_format(&beside, "%s.tmp", metrics->path));
    to = fopen(beside, "we");
    if (to == NULL) {
        st = LS_FAIL(LS_IO, "%s: cannot create: %s", beside, strerror(errno));
        goto done;
    }
    LS_TRY(copy_lines(last, to, metrics->path, finished));
    metrics->end = ftello(to);
    if (ferror(to) != 0 || fflush(to) != 0 || metrics->end < 0 || fsync(fileno(to)) != 0) {
        st = LS_FAIL(LS_IO, "%s: cannot write: %s", beside, strerror(errno));
        goto done;
    }
    metrics->file = open(beside, O_WRONLY | O_CLOEXEC);
    if (metrics->file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot open for writing: %s", beside, strerror(errno));
        goto done;
    }
    LS_TRY(files_rename(beside, metrics->path));
done:
    if (to != NULL)
        (void)fclose(to);
    if (st != LS_OK && beside != NULL)
        (void)unlink(beside);
    free(beside);
    return st;
}

ls_status metrics_open(struct metrics **out, const char *run, int64_t finished)
{
    ls_status st = LS_OK;
    struct metrics *metrics = NULL;
    int64_t last = 0;
    LS_TRY(core_alloc(&metrics, 1));
    metrics->file = -1;
    LS_TRY(core_format(&metrics->path, "%s/metrics.jsonl", run));
    LS_TRY(renew(metrics, &last, finished));
    if (last < finished && last > 0)
        log_warn("metrics lost_steps=%" PRId64 "..%" PRId64 " file=%s", last + 1, finished,
                 metrics->path);
    *out = metrics;
    metrics = NULL;
done:
    metrics_close(&metrics);
    return st;
}

void metrics_close(struct metrics **metrics)
{
    if (*metrics == NULL)
        return;
    if ((*metrics)->file >= 0) {
        metrics_sync(*metrics);
        (void)close((*metrics)->file);
    }
    free((*metrics)->path);
    free(*metrics);
    *metrics = NULL;
}

static void add(struct line *line, const char *format, ...) LS_PRINTF(2, 3);
static void add(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count =
        vsnprintf(line->text + line->used, sizeof line->text - line->used, format, arguments);
    va_end(arguments);
    if (count > 0)
        line->used += (size_t)count;
    if (line->used > sizeof line->text - 1)
        line->used = sizeof line->text - 1;
}

/* JSON has no word for a number that is not finite: null. */
static void add_number(struct line *line, const char *key, double value)
{
    if (isfinite(value))
        add(line, ",\"%s\":%.10g", key, value);
    else
        add(line, ",\"%s\":null", key);
}

static void format_line(struct line *line, const struct step_metrics *step)
{
    char hash[HASH_TEXT_BYTES];
    hash_text(hash, step->draw_hash);
    line->used = 0;
    add(line, "%s%" PRId64 ",\"epoch\":%" PRId64, line_start, step->step, step->epoch);
    add_number(line, "loss", step->loss);
    add(line, ",\"loss_groups\":[");
    for (int g = 0; g < step->group_count; g++)
        if (isfinite(step->group_loss[g]))
            add(line, "%s%.10g", g > 0 ? "," : "", step->group_loss[g]);
        else
            add(line, "%snull", g > 0 ? "," : "");
    add(line, "]");
    add_number(line, "lr", step->lr);
    add_number(line, "weight_decay", step->weight_decay);
    add_number(line, "ema", step->ema);
    add_number(line, "grad_norm", step->grad_norm);
    add_number(line, "target_std", step->target_std);
    add_number(line, "target_rank", step->has_rank ? step->target_rank : NAN);
    add_number(line, "prediction_cosine", step->prediction_cosine);
    add_number(line, "clips_per_s", step->clips_per_s);
    add_number(line, "flops_per_s", step->flops_per_s);
    add_number(line, "step_s", step->step_s);
    add_number(line, "padding_share", step->padding_share);
    add_number(line, "data_wait_s", step->data_wait_s);
    add_number(line, "comm_wait_s", step->comm_wait_s);
    add_number(line, "rank_wait_s", step->rank_wait_s);
    if (step->replaced_draws > 0)
        add(line, ",\"replaced_draws\":%" PRId64, step->replaced_draws);
    if (step->skipped)
        add(line, ",\"skipped\":true");
    if (step->spike_score > 0)
        add_number(line, "spike_score", step->spike_score);
    add(line, ",\"draw_hash\":\"%s\"}\n", hash);
}

void metrics_append(struct metrics *metrics, const struct step_metrics *step)
{
    const struct line *line = &metrics->line;
    format_line(&metrics->line, step);
    ssize_t written = pwrite(metrics->file, line->text, line->used, metrics->end);
    if (written != (ssize_t)line->used) {
        /* What was written of the line must not stay: the next one would be appended to it. */
        int cause = written < 0 ? errno : ENOSPC;
        if (ftruncate(metrics->file, metrics->end) != 0 || !metrics->failing)
            log_warn("metrics step=%" PRId64 " lost: %s: %s", step->step, metrics->path,
                     strerror(cause));
        metrics->failing = true;
        return;
    }
    metrics->failing = false;
    metrics->end += written;
    if (++metrics->unsynced >= STEPS_BETWEEN_SYNCS) {
        metrics->unsynced = 0;
        metrics_sync(metrics);
    }
}

const char *metrics_line(const struct metrics *metrics)
{
    return metrics->line.text;
}

void metrics_sync(struct metrics *metrics)
{
    if (fdatasync(metrics->file) != 0 && errno != EINVAL && errno != EROFS)
        log_warn("metrics not_durable: %s: %s", metrics->path, strerror(errno));
}
