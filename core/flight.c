/* Records are written with write(2) from static memory: the heap may be what hangs or is full. */
#include "core/flight.h"

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"

enum {
    EVENT_BYTES = 160,
    HOST_BYTES = 65,
    PATH_BYTES = 4096,
    NAMES_BYTES = 256,
    RECORD_LIMIT_BYTES = (FLIGHT_EVENTS + 8) * EVENT_BYTES
};

struct event {
    double time_s;
    int64_t step, sequence, bytes; /* sequence -1: no collective */
    const char *phase, *kind;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held for a copy, or one write */
static struct event events[FLIGHT_EVENTS];
static int64_t event_count;
static int64_t entered;
static struct event now = {.step = -1, .sequence = -1, .phase = "start", .kind = ""};
static const char *run_folder;
static int64_t epoch;
static int own_rank;

static void keep(struct event event)
{
    event.time_s = clock_now_s();
    events[event_count % FLIGHT_EVENTS] = event;
    event_count++;
}

void flight_open(const char *run, int64_t run_epoch, int rank)
{
    (void)pthread_mutex_lock(&lock);
    run_folder = run;
    epoch = run_epoch;
    own_rank = rank;
    (void)pthread_mutex_unlock(&lock);
}

void flight_phase(const char *phase, int64_t step)
{
    (void)pthread_mutex_lock(&lock);
    now.phase = phase;
    now.step = step;
    keep((struct event){.step = step, .sequence = -1, .phase = phase, .kind = ""});
    (void)pthread_mutex_unlock(&lock);
}

void flight_collective(const char *kind, int64_t sequence, int64_t bytes)
{
    (void)pthread_mutex_lock(&lock);
    entered++;
    now.kind = kind;
    now.sequence = sequence;
    now.bytes = bytes;
    keep(now);
    (void)pthread_mutex_unlock(&lock);
}

/* The record as text, into out[RECORD_LIMIT_BYTES]; its length. */
static size_t print_record(char *out)
{
    char host[HOST_BYTES] = "";
    (void)gethostname(host, sizeof host - 1);
    int used =
        snprintf(out, RECORD_LIMIT_BYTES,
                 "{\"rank\":%d,\"host\":\"%s\",\"step\":%" PRId64 ",\"phase\":\"%s\","
                 "\"entered\":%" PRId64 ",\"sequence\":%" PRId64 ",\"kind\":\"%s\",\"events\":[\n",
                 own_rank, host, now.step, now.phase, entered, now.sequence, now.kind);
    int64_t first = event_count > FLIGHT_EVENTS ? event_count - FLIGHT_EVENTS : 0;
    for (int64_t i = first; i < event_count && used < RECORD_LIMIT_BYTES - EVENT_BYTES; i++) {
        const struct event *e = &events[i % FLIGHT_EVENTS];
        used += snprintf(
            out + used, EVENT_BYTES, "%s[%.3f,%" PRId64 ",\"%s\",\"%s\",%" PRId64 ",%" PRId64 "]",
            i > first ? ",\n" : "", e->time_s, e->step, e->phase, e->kind, e->sequence, e->bytes);
    }
    used += snprintf(out + used, EVENT_BYTES, "]}\n");
    return (size_t)used;
}

ls_status flight_write(void)
{
    static char text[RECORD_LIMIT_BYTES];
    ls_status st = LS_OK;
    char path[PATH_BYTES];
    int file = -1;
    (void)pthread_mutex_lock(&lock);
    if (run_folder == NULL)
        goto done;
    size_t bytes = print_record(text);
    (void)snprintf(path, sizeof path, "%s/flight", run_folder);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        st = LS_FAIL(LS_IO, "%s: cannot be made: %s", path, strerror(errno));
        goto done;
    }
    (void)snprintf(path, sizeof path, "%s/flight/%06" PRId64 "-%04d.json", run_folder, epoch,
                   own_rank);
    file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot be opened: %s", path, strerror(errno));
        goto done;
    }
    LS_TRY(files_write_all(file, text, bytes, path));
done:
    if (file >= 0)
        (void)close(file);
    (void)pthread_mutex_unlock(&lock);
    return st;
}

/* How many collectives a rank entered, and its place in words; false without a readable record. */
static bool read_record(int64_t *out, char *text_out, size_t bytes, const char *run,
                        int64_t run_epoch, int rank)
{
    char *text = NULL;
    cJSON *json = NULL;
    char path[PATH_BYTES];
    bool good = false;
    (void)snprintf(path, sizeof path, "%s/flight/%06" PRId64 "-%04d.json", run, run_epoch, rank);
    if (files_exists(path) && files_read(&text, NULL, path, RECORD_LIMIT_BYTES) == LS_OK)
        json = cJSON_Parse(text);
    const cJSON *host = cJSON_GetObjectItemCaseSensitive(json, "host");
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(json, "step");
    const cJSON *phase = cJSON_GetObjectItemCaseSensitive(json, "phase");
    const cJSON *count = cJSON_GetObjectItemCaseSensitive(json, "entered");
    const cJSON *sequence = cJSON_GetObjectItemCaseSensitive(json, "sequence");
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(json, "kind");
    if (cJSON_IsString(host) && cJSON_IsNumber(step) && cJSON_IsString(phase) &&
        cJSON_IsNumber(sequence) && cJSON_IsNumber(count) && cJSON_IsString(kind)) {
        good = true;
        *out = (int64_t)count->valuedouble;
        (void)snprintf(text_out, bytes,
                       "rank=%d host=%s step=%" PRId64 " phase=%s collective=\"%s %" PRId64 "\"",
                       rank, host->valuestring, (int64_t)step->valuedouble, phase->valuestring,
                       kind->valuestring, (int64_t)sequence->valuedouble);
    }
    cJSON_Delete(json);
    free(text);
    return good;
}

static void add_rank(char *names, int rank)
{
    size_t used = strlen(names);
    if (used + 16 < NAMES_BYTES)
        (void)snprintf(names + used, NAMES_BYTES - used, "%s%d", used > 0 ? "," : "", rank);
}

void flight_explain(char *out, size_t bytes, const char *run, int64_t run_epoch, int size)
{
    char silent[NAMES_BYTES] = "";
    char first[NAMES_BYTES * 2] = "";
    char last[NAMES_BYTES * 2] = "";
    int64_t lowest = INT64_MAX;
    int64_t highest = -1;
    bool any = false;
    for (int rank = 0; rank < size; rank++) {
        int64_t at = 0;
        char text[NAMES_BYTES * 2];
        if (!read_record(&at, text, sizeof text, run, run_epoch, rank)) {
            add_rank(silent, rank);
            continue;
        }
        if (!any || at < lowest) {
            lowest = at;
            (void)snprintf(last, sizeof last, "%s", text);
        }
        if (!any || at > highest) {
            highest = at;
            (void)snprintf(first, sizeof first, "%s", text);
        }
        any = true;
    }
    out[0] = '\0';
    if (any && silent[0] != '\0')
        (void)snprintf(out, bytes, "no_record_of_ranks=%s others_at: %s", silent, first);
    else if (any && lowest < highest)
        (void)snprintf(out, bytes, "behind: %s others_at: %s", last, first);
}
