/* A window of raw times is kept, not sums: what tells a hiccup from slowness is how the lateness is
 * spread over the steps. */
#include "worker/ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"
#include "core/median.h"

enum { RANKS_SORTED_MAX = 4096, LINE_A_RANK_BYTES = 320, WINDOWS_BETWEEN_WORDS = 20 };

static const double LATE_FACTOR = 1.2;
static const double LATE_SHARE = 0.05;

static const char *const part_names[RANKS_PARTS] = {"data", "compute", "reduce"};

struct ranks {
    struct ranks_options options;
    char *hosts;
    char *path;
    struct ranks_step *window; /* [freq * size] */
    int count;
    int64_t first_step;
    char *line;
    int *quiet; /* [size] windows until chronic slowness is told again */
};

ls_status ranks_open(struct ranks **out, const struct ranks_options *options)
{
    ls_status st = LS_OK;
    struct ranks *ranks = NULL;
    size_t hosts = (size_t)options->size * RANKS_HOST_BYTES;
    LS_TRY(core_alloc(&ranks, 1));
    ranks->options = *options;
    LS_TRY(core_alloc(&ranks->hosts, hosts));
    memcpy(ranks->hosts, options->hosts, hosts);
    LS_TRY(core_format(&ranks->path, "%s/ranks.jsonl", options->run));
    LS_TRY(core_alloc(&ranks->window, (int64_t)options->freq * options->size));
    LS_TRY(core_alloc(&ranks->line, ((int64_t)options->size + 1) * LINE_A_RANK_BYTES));
    LS_TRY(core_alloc(&ranks->quiet, options->size));
    *out = ranks;
    ranks = NULL;
done:
    ranks_close(&ranks);
    return st;
}

void ranks_close(struct ranks **ranks)
{
    if (*ranks == NULL)
        return;
    free((*ranks)->hosts);
    free((*ranks)->path);
    free((*ranks)->window);
    free((*ranks)->line);
    free((*ranks)->quiet);
    free(*ranks);
    *ranks = NULL;
}

/* The median rank's time for a part of one step; of two ranks the faster one's. */
static double median(const struct ranks_step *steps, int size, enum ranks_part part)
{
    double sorted[RANKS_SORTED_MAX];
    int count = size < RANKS_SORTED_MAX ? size : RANKS_SORTED_MAX;
    if (count < 1)
        return 0;
    for (int r = 0; r < count; r++)
        sorted[r] = steps[r].parts_s[part];
    median_sort(sorted, count);
    return sorted[(count - 1) / 2];
}

/* What one part says of a rank. */
static struct ranks_verdict judge_part(const struct ranks_step *steps, int64_t first_step,
                                       int count, int size, int rank, enum ranks_part part)
{
    struct ranks_verdict verdict = {.part = part, .worst_step = -1};
    double own_s = 0;
    double medians_s = 0;
    bool hiccup = false;
    for (int i = 0; i < count; i++) {
        const struct ranks_step *step = steps + (size_t)i * (size_t)size;
        double step_s = 0;
        for (int p = 0; p < RANKS_PARTS; p++)
            step_s += median(step, size, (enum ranks_part)p);
        double middle_s = median(step, size, part);
        double excess_s = step[rank].parts_s[part] - middle_s;
        own_s += step[rank].parts_s[part];
        medians_s += middle_s;
        if (step[rank].parts_s[part] > LATE_FACTOR * middle_s && excess_s > LATE_SHARE * step_s)
            verdict.late_steps++;
        if (excess_s > verdict.worst_excess_s) {
            verdict.worst_excess_s = excess_s;
            verdict.worst_step = first_step + i;
            hiccup = excess_s > step_s;
        }
    }
    verdict.factor = medians_s > 0 ? own_s / medians_s : 0;
    if (2 * verdict.late_steps > count)
        verdict.state = RANKS_CHRONIC;
    else if (hiccup)
        verdict.state = RANKS_HICCUP;
    return verdict;
}

struct ranks_verdict ranks_judge(const struct ranks_step *steps, int64_t first_step, int count,
                                 int size, int rank)
{
    struct ranks_verdict worst = {.state = RANKS_EVEN, .worst_step = -1};
    for (int p = 0; p < RANKS_PARTS; p++) {
        struct ranks_verdict verdict =
            judge_part(steps, first_step, count, size, rank, (enum ranks_part)p);
        if (verdict.state > worst.state ||
            (verdict.state == worst.state && verdict.worst_excess_s > worst.worst_excess_s))
            worst = verdict;
    }
    return worst;
}

static void tell(struct ranks *ranks, int rank, const struct ranks_verdict *verdict)
{
    const char *host = ranks->hosts + (size_t)rank * RANKS_HOST_BYTES;
    if (verdict->state == RANKS_CHRONIC) {
        if (ranks->quiet[rank]-- > 0)
            return;
        ranks->quiet[rank] = WINDOWS_BETWEEN_WORDS;
        log_warn("slow_rank rank=%d node=%s part=%s late_steps=%d of=%d times_the_median=%.2f",
                 rank, host, part_names[verdict->part], verdict->late_steps, ranks->count,
                 verdict->factor);
        return;
    }
    ranks->quiet[rank] = 0;
    if (verdict->state == RANKS_HICCUP)
        log_warn("hiccup rank=%d node=%s part=%s at_step=%" PRId64 " seconds=%.2f", rank, host,
                 part_names[verdict->part], verdict->worst_step, verdict->worst_excess_s);
}

static size_t print_rank(char *out, const struct ranks *ranks, int rank,
                         const struct ranks_verdict *verdict)
{
    static const char *const states[] = {"even", "hiccup", "chronic"};
    struct ranks_step mean = {0};
    for (int i = 0; i < ranks->count; i++) {
        const struct ranks_step *step =
            &ranks->window[(size_t)i * (size_t)ranks->options.size + (size_t)rank];
        for (int p = 0; p < RANKS_PARTS; p++)
            mean.parts_s[p] += step->parts_s[p] / ranks->count;
        mean.wait_s += step->wait_s / ranks->count;
    }
    int used = snprintf(
        out, LINE_A_RANK_BYTES,
        "%s{\"rank\":%d,\"node\":\"%s\",\"data_s\":%.6f,\"compute_s\":%.6f,\"reduce_s\":%.6f,"
        "\"wait_s\":%.6f,\"state\":\"%s\"",
        rank > 0 ? "," : "", rank, ranks->hosts + (size_t)rank * RANKS_HOST_BYTES,
        mean.parts_s[RANKS_DATA], mean.parts_s[RANKS_COMPUTE], mean.parts_s[RANKS_REDUCE],
        mean.wait_s, states[verdict->state]);
    if (verdict->state != RANKS_EVEN)
        used += snprintf(out + used, (size_t)(LINE_A_RANK_BYTES - used),
                         ",\"part\":\"%s\",\"late_steps\":%d,\"worst_step\":%" PRId64
                         ",\"worst_excess_s\":%.6f",
                         part_names[verdict->part], verdict->late_steps, verdict->worst_step,
                         verdict->worst_excess_s);
    used += snprintf(out + used, (size_t)(LINE_A_RANK_BYTES - used), "}");
    return (size_t)used;
}

static void write_line(const struct ranks *ranks, size_t bytes)
{
    int file = open(ranks->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    ssize_t written = file >= 0 ? write(file, ranks->line, bytes) : -1;
    if (written != (ssize_t)bytes)
        log_warn("ranks lost_line: %s: %s", ranks->path, strerror(written < 0 ? errno : ENOSPC));
    if (file >= 0)
        (void)close(file);
}

void ranks_take(struct ranks *ranks, int64_t step, const struct ranks_step *steps)
{
    size_t size = (size_t)ranks->options.size;
    if (ranks->count == 0)
        ranks->first_step = step;
    memcpy(ranks->window + (size_t)ranks->count * size, steps, size * sizeof *steps);
    ranks->count++;
    if (ranks->count < ranks->options.freq)
        return;
    int head = snprintf(ranks->line, LINE_A_RANK_BYTES,
                        "{\"step\":%" PRId64 ",\"steps\":%d,\"start\":%" PRId64 ",\"ranks\":[",
                        step, ranks->count, ranks->options.run_epoch);
    size_t used = (size_t)head;
    for (int r = 0; r < ranks->options.size; r++) {
        struct ranks_verdict verdict =
            ranks_judge(ranks->window, ranks->first_step, ranks->count, ranks->options.size, r);
        tell(ranks, r, &verdict);
        used += print_rank(ranks->line + used, ranks, r, &verdict);
    }
    memcpy(ranks->line + used, "]}\n", 3);
    write_line(ranks, used + 3);
    ranks->count = 0;
}
