/* Records are written with write(2) from static memory: the heap may be what hangs or is full. */
#include "core/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"

enum {
    EVENT_BYTES = 160,
    PATH_BYTES = 4096,
    RECORD_LIMIT_BYTES = FLIGHT_EVENTS * EVENT_BYTES + FLIGHT_BEAT_BYTES
};

/* How long after a pause of the process its place still tells of it. */
static const double PAUSE_IS_NEWS_S = 10;

struct event {
    double time_s;
    int64_t step, sequence, bucket, bytes; /* sequence -1: no collective; bucket -1: none */
    const char *phase, *kind;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held for a copy, or one write */
static struct event events[FLIGHT_EVENTS];
static int64_t event_count;
static int64_t entered;
static int64_t next_bucket = -1;
static struct event now = {.step = -1, .sequence = -1, .bucket = -1, .phase = "start", .kind = ""};
static bool waiting;
static double pause_s, pause_ended_s;
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
    keep((struct event){.step = step, .sequence = -1, .bucket = -1, .phase = phase, .kind = ""});
    (void)pthread_mutex_unlock(&lock);
}

void flight_bucket(int64_t bucket)
{
    (void)pthread_mutex_lock(&lock);
    next_bucket = bucket;
    (void)pthread_mutex_unlock(&lock);
}

void flight_collective(const char *kind, int64_t sequence, int64_t bytes)
{
    (void)pthread_mutex_lock(&lock);
    entered++;
    now.kind = kind;
    now.sequence = sequence;
    now.bytes = bytes;
    now.bucket = next_bucket;
    next_bucket = -1;
    keep(now);
    (void)pthread_mutex_unlock(&lock);
}

void flight_waits(bool waits)
{
    (void)pthread_mutex_lock(&lock);
    waiting = waits;
    (void)pthread_mutex_unlock(&lock);
}

void flight_stood_still(double seconds)
{
    (void)pthread_mutex_lock(&lock);
    pause_s = seconds;
    pause_ended_s = clock_now_s();
    keep((struct event){
        .step = now.step, .sequence = -1, .bucket = -1, .phase = "stood still", .kind = ""});
    (void)pthread_mutex_unlock(&lock);
}

/* The place as members of a JSON object, into out[FLIGHT_BEAT_BYTES].  The lock is held. */
static size_t print_place(char *out)
{
    char host[FLIGHT_HOST_BYTES] = "";
    bool news = pause_s > 0 && clock_now_s() - pause_ended_s < PAUSE_IS_NEWS_S;
    (void)gethostname(host, sizeof host - 1);
    int used = snprintf(out, FLIGHT_BEAT_BYTES,
                        "\"rank\":%d,\"host\":\"%s\",\"step\":%" PRId64 ",\"phase\":\"%s\","
                        "\"entered\":%" PRId64 ",\"sequence\":%" PRId64
                        ",\"kind\":\"%s\",\"waits\":%s,\"stood_still_s\":%.1f",
                        own_rank, host, now.step, now.phase, entered, now.sequence, now.kind,
                        waiting ? "true" : "false", news ? pause_s : 0.0);
    return used < FLIGHT_BEAT_BYTES ? (size_t)used : FLIGHT_BEAT_BYTES - 1;
}

size_t flight_beat(char *out)
{
    char place[FLIGHT_BEAT_BYTES];
    (void)pthread_mutex_lock(&lock);
    (void)print_place(place);
    (void)pthread_mutex_unlock(&lock);
    int used = snprintf(out, FLIGHT_BEAT_BYTES, FLIGHT_BEAT "{%s}\n", place);
    return used < FLIGHT_BEAT_BYTES ? (size_t)used : 0;
}

/* The record as text, into out[RECORD_LIMIT_BYTES]; its length. */
static size_t print_record(char *out)
{
    size_t used = 1;
    out[0] = '{';
    used += print_place(out + used);
    used += (size_t)snprintf(out + used, EVENT_BYTES, ",\"events\":[\n");
    int64_t first = event_count > FLIGHT_EVENTS ? event_count - FLIGHT_EVENTS : 0;
    for (int64_t i = first; i < event_count && used < RECORD_LIMIT_BYTES - 2 * EVENT_BYTES; i++) {
        const struct event *e = &events[i % FLIGHT_EVENTS];
        used += (size_t)snprintf(out + used, EVENT_BYTES,
                                 "%s[%.3f,%" PRId64 ",\"%s\",\"%s\",%" PRId64 ",%" PRId64
                                 ",%" PRId64 "]",
                                 i > first ? ",\n" : "", e->time_s, e->step, e->phase, e->kind,
                                 e->sequence, e->bucket, e->bytes);
    }
    used += (size_t)snprintf(out + used, EVENT_BYTES, "]}\n");
    return used;
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
