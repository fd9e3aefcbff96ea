/* Ranges go into one array under a lock when they end; what is open is the thread's own. */
#include "core/trace.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/files.h"

enum { RANGE_BYTES = 160, LANES_MAX = 64 };

struct range {
    const char *name, *lane; /* lane NULL: of a thread */
    double start_s, end_s;
    int thread;
};

struct open_range {
    const char *name;
    double start_s; /* 0: began while nothing was kept */
};

static struct trace_hooks hooks;
static atomic_bool keeping;
static atomic_int next_thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct range *ranges; /* [TRACE_RANGES_MAX] */
static int64_t range_count;  /* also those that found no room */
static double origin_s;

static _Thread_local struct open_range open_ranges[TRACE_DEPTH_MAX];
static _Thread_local int depth;
static _Thread_local int thread_number = -1;

void trace_hooks_set(struct trace_hooks set)
{
    hooks = set;
}

static void keep(struct range range)
{
    (void)pthread_mutex_lock(&lock);
    if (atomic_load(&keeping) && ranges != NULL) {
        if (range_count < TRACE_RANGES_MAX)
            ranges[range_count] = range;
        range_count++;
    }
    (void)pthread_mutex_unlock(&lock);
}

void trace_begin(const char *name)
{
    if (hooks.begin != NULL)
        hooks.begin(name);
    if (depth < TRACE_DEPTH_MAX)
        open_ranges[depth] = (struct open_range){name, atomic_load(&keeping) ? clock_now_s() : 0.0};
    depth++;
}

void trace_end(void)
{
    if (hooks.end != NULL)
        hooks.end();
    if (depth == 0)
        return;
    depth--;
    if (depth >= TRACE_DEPTH_MAX || open_ranges[depth].start_s <= 0.0 || !atomic_load(&keeping))
        return;
    if (thread_number < 0)
        thread_number = atomic_fetch_add(&next_thread, 1);
    keep((struct range){.name = open_ranges[depth].name,
                        .start_s = open_ranges[depth].start_s,
                        .end_s = clock_now_s(),
                        .thread = thread_number});
}

ls_status trace_ended(ls_status st)
{
    trace_end();
    return st;
}

void trace_span(const char *lane, const char *name, double start_s, double end_s)
{
    if (atomic_load(&keeping) && start_s >= origin_s)
        keep((struct range){.name = name, .lane = lane, .start_s = start_s, .end_s = end_s});
}

static bool read_step(int64_t *out, const char **text)
{
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(*text, &end, 10);
    const bool good = errno == 0 && end != *text && value >= 1 && **text >= '0' && **text <= '9';
    *out = good ? value : 0;
    *text = end;
    return good;
}

ls_status trace_steps_parse(struct trace_steps *out, const char *text)
{
    const char *at = text;
    struct trace_steps steps;
    bool good = read_step(&steps.first, &at);
    steps.last = steps.first;
    if (good && *at == ':') {
        at++;
        good = read_step(&steps.last, &at);
    }
    if (!good || *at != '\0' || steps.last < steps.first)
        return LS_FAIL(LS_USAGE, "--profile: '%s' is not FIRST:LAST, steps counted from 1", text);
    *out = steps;
    return LS_OK;
}

ls_status trace_start(void)
{
    ls_status st = LS_OK;
    (void)pthread_mutex_lock(&lock);
    if (ranges == NULL)
        LS_TRY(core_alloc(&ranges, TRACE_RANGES_MAX));
    range_count = 0;
    origin_s = clock_now_s();
    atomic_store(&keeping, true);
done:
    (void)pthread_mutex_unlock(&lock);
    return st;
}

void trace_stop(void)
{
    (void)pthread_mutex_lock(&lock);
    atomic_store(&keeping, false);
    (void)pthread_mutex_unlock(&lock);
}

/* Lanes are numbered behind the threads, by their first range. */
struct lanes {
    const char *names[LANES_MAX];
    int count, first;
};

static int number_of(struct lanes *lanes, const struct range *range)
{
    int i = 0;
    if (range->lane == NULL)
        return range->thread;
    while (i < lanes->count && strcmp(lanes->names[i], range->lane) != 0)
        i++;
    if (i == lanes->count && lanes->count < LANES_MAX)
        lanes->names[lanes->count++] = range->lane;
    return lanes->first + i;
}

static size_t print_range(char *out, const struct range *range, int rank, int line)
{
    return (size_t)snprintf(out, RANGE_BYTES,
                            "{\"name\":\"%.40s\",\"ph\":\"X\",\"pid\":%d,\"tid\":%d,"
                            "\"ts\":%.3f,\"dur\":%.3f},\n",
                            range->name, rank, line, (range->start_s - origin_s) * 1e6,
                            (range->end_s - range->start_s) * 1e6);
}

static size_t print_name(char *out, const char *what, const char *name, int rank, int line)
{
    return (size_t)snprintf(out, RANGE_BYTES,
                            "{\"name\":\"%s\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,"
                            "\"args\":{\"name\":\"%.40s\"}},\n",
                            what, rank, line, name);
}

ls_status trace_write(const char *path, int rank)
{
    ls_status st = LS_OK;
    char *text = NULL;
    char process[32];
    const int64_t kept = range_count < TRACE_RANGES_MAX ? range_count : TRACE_RANGES_MAX;
    struct lanes lanes = {.first = atomic_load(&next_thread)};
    size_t used = 0;
    (void)snprintf(process, sizeof process, "rank %d", rank);
    LS_TRY(core_alloc(&text, (kept + LANES_MAX + 4) * RANGE_BYTES));
    used += (size_t)sprintf(text, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    used += print_name(text + used, "process_name", process, rank, 0);
    for (int64_t i = 0; i < kept; i++)
        used += print_range(text + used, &ranges[i], rank, number_of(&lanes, &ranges[i]));
    for (int i = 0; i < lanes.count; i++)
        used += print_name(text + used, "thread_name", lanes.names[i], rank, lanes.first + i);
    used += print_name(text + used, "thread_name", "step", rank, 0);
    used -= 2; /* the last comma */
    used += (size_t)sprintf(text + used, "\n],\"otherData\":{\"ranges\":%lld,\"lost\":%lld}}\n",
                            (long long)kept, (long long)(range_count - kept));
    LS_TRY(files_replace(path, text, used));
done:
    free(text);
    free(ranges);
    ranges = NULL;
    range_count = 0;
    return st;
}
