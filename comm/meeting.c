/* comm.h in a build without MPI (BUNDLE=1): the ranks of one machine meet in a file that they all
 * map.
 *
 * Each rank has two rooms in it, used in turn.  A collective goes by pieces: a rank puts its piece
 * into a room, publishes its number, waits until all ranks have published theirs, and reads them in
 * rank order.  A room is filled again two pieces later, and who has come to the piece between has
 * read the one before, so nothing else needs to be waited for.  Everything happens in the caller:
 * sums are over when they are started, and all collectives have one order, that of the program. */
#include "comm/meeting.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"

enum { MARK = 0x6c6d6565, ROOM_BYTES = 1 << 18, RANKS_MAX = 1024 };
enum { PATIENT_AFTER = 1000 }; /* looks, before a waiting rank sleeps between them */
static const double LOOK_S = 2e-5, MEET_LOOK_S = 0.01;

struct room {
    int32_t kind;
    int32_t bytes; /* of the piece */
    int64_t total; /* of the collective, alike on all ranks */
    _Alignas(16) char data[ROOM_BYTES];
};

struct place { /* of a rank */
    _Atomic int64_t published;
    struct room rooms[2];
};

struct meeting {
    int32_t mark, size;
    _Atomic int32_t left; /* 1 + the rank that ended the job; 0: none */
    _Atomic int32_t left_code;
    _Alignas(64) struct place places[];
};

static const char *const kind_name[] = {"sum",        "sum of slices", "gather", "exchange",
                                        "sum of f64", "broadcast",     "barrier"};

static ls_status read_count(int *out, const char *name, int least, int most)
{
    const char *text = getenv(name);
    char *end = NULL;
    long value = text != NULL ? strtol(text, &end, 10) : 0;
    if (text == NULL || end == text || *end != '\0' || value < least || value > most)
        return LS_FAIL(LS_USAGE, "%s is '%s', not a number from %d to %d", name,
                       text != NULL ? text : "", least, most);
    *out = (int)value;
    return LS_OK;
}

static ls_status map_file(struct comm_group *group, int file)
{
    void *memory = mmap(NULL, group->meeting_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED)
        return LS_FAIL(LS_IO, "%s: cannot be mapped: %s", group->path, strerror(errno));
    group->meeting = memory;
    return LS_OK;
}

/* Rank 0: it appears under its name when it is whole, and only if nothing is there. */
static ls_status make_file(struct comm_group *group)
{
    ls_status st = LS_OK;
    char *beside = NULL;
    int file = -1;
    LS_TRY(core_format(&beside, "%s.new", group->path));
    file = open(beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    /* posix_fallocate: a full disk is told here, not by a signal later. */
    int code = file < 0 ? errno : posix_fallocate(file, 0, (off_t)group->meeting_bytes);
    if (code != 0) {
        st = LS_FAIL(LS_IO, "%s: cannot be made: %s", beside, strerror(code));
        goto done;
    }
    LS_TRY(map_file(group, file));
    group->meeting->mark = MARK;
    group->meeting->size = group->size;
    if (link(beside, group->path) != 0)
        st = LS_FAIL(LS_IO, "%s: %s; every start of the ranks needs a path of its own (%s)",
                     group->path, strerror(errno), "LOCKSTEP_MEETING");
done:
    if (file >= 0) {
        (void)close(file);
        (void)unlink(beside);
    }
    free(beside);
    return st;
}

static ls_status find_file(struct comm_group *group)
{
    ls_status st = LS_OK;
    struct stat facts;
    double until_s = clock_now_s() + group->timeout_s;
    int file = open(group->path, O_RDWR | O_CLOEXEC);
    while (file < 0 && errno == ENOENT && clock_now_s() < until_s) {
        clock_sleep_s(MEET_LOOK_S);
        file = open(group->path, O_RDWR | O_CLOEXEC);
    }
    if (file < 0)
        return errno == ENOENT ? LS_FAIL(LS_TIMEOUT, "%s: rank 0 has not come within %g s",
                                         group->path, group->timeout_s)
                               : LS_FAIL(LS_IO, "%s: %s", group->path, strerror(errno));
    if (fstat(file, &facts) != 0 || facts.st_size != (off_t)group->meeting_bytes) {
        st = LS_FAIL(LS_USAGE, "%s: not where %d ranks meet", group->path, group->size);
        goto done;
    }
    LS_TRY(map_file(group, file));
    if (group->meeting->mark != MARK || group->meeting->size != group->size)
        st = LS_FAIL(LS_USAGE, "%s: not where %d ranks meet", group->path, group->size);
done:
    (void)close(file);
    return st;
}

static void free_group(struct comm_group *group)
{
    if (group->meeting != NULL)
        (void)munmap(group->meeting, group->meeting_bytes);
    free(group->path);
    free(group);
}

ls_status comm_open(struct comm_group **out, const struct comm_options *options)
{
    ls_status st = LS_OK;
    struct comm_group *group = NULL;
    const char *path = getenv("LOCKSTEP_MEETING");
    *out = NULL;
    LS_TRY(core_alloc(&group, 1));
    comm_set_timeout(group, options->timeout_s);
    group->size = 1;
    if (getenv("LOCKSTEP_RANKS") != NULL)
        LS_TRY(read_count(&group->size, "LOCKSTEP_RANKS", 1, RANKS_MAX));
    if (group->size > 1) {
        LS_TRY(read_count(&group->rank, "LOCKSTEP_RANK", 0, group->size - 1));
        if (path == NULL || path[0] == '\0') {
            st = LS_FAIL(LS_USAGE, "%d ranks need LOCKSTEP_MEETING, the path of a new file",
                         group->size);
            goto done;
        }
        LS_TRY(core_format(&group->path, "%s", path));
        group->meeting_bytes = sizeof(struct meeting) + (size_t)group->size * sizeof(struct place);
        LS_TRY(group->rank == 0 ? make_file(group) : find_file(group));
        st = comm_barrier(group);
        if (group->rank == 0)
            (void)unlink(group->path); /* all are in, or none will be */
        LS_TRY(st);
    }
    *out = group;
    group = NULL;
done:
    if (group != NULL)
        free_group(group);
    return st;
}

void comm_close(struct comm_group **group)
{
    if (*group == NULL)
        return;
    if (comm_barrier(*group) == LS_OK)
        free_group(*group);
    *group = NULL;
}

_Noreturn void comm_abort(struct comm_group *group, int exit_code)
{
    int32_t nobody = 0;
    if (group != NULL && group->meeting != NULL) {
        atomic_store(&group->meeting->left_code, exit_code);
        (void)atomic_compare_exchange_strong(&group->meeting->left, &nobody, group->rank + 1);
    }
    _exit(exit_code);
}

int comm_rank(const struct comm_group *group)
{
    return group->rank;
}

int comm_size(const struct comm_group *group)
{
    return group->size;
}

int comm_local_rank(const struct comm_group *group)
{
    return group->rank;
}

int comm_local_size(const struct comm_group *group)
{
    return group->size;
}

bool comm_is_broken(struct comm_group *group)
{
    return group->broken != LS_OK;
}

void comm_set_timeout(struct comm_group *group, double timeout_s)
{
    group->timeout_s = timeout_s > 0 ? timeout_s : 600.0;
}

ls_status meeting_state(const struct comm_group *group)
{
    return group->broken != LS_OK ? status_adopt(group->broken, group->broken_text) : LS_OK;
}

const char *meeting_kind_name(enum meeting_kind kind)
{
    return kind_name[kind];
}

/* Keep the first failure: every later call returns it. */
static ls_status keep(struct comm_group *group, ls_status st)
{
    if (group->broken == LS_OK) {
        group->broken = st;
        (void)snprintf(group->broken_text, sizeof group->broken_text, "%s", status_message());
    }
    return st;
}

static ls_status time_out(struct comm_group *group, const struct meeting_work *work)
{
    char missing[MEETING_TEXT_BYTES / 2] = "";
    for (int r = 0; r < group->size; r++) {
        size_t used = strlen(missing);
        if (atomic_load(&group->meeting->places[r].published) < group->number)
            (void)snprintf(missing + used, sizeof missing - used, "%s%d", used > 0 ? ", " : "", r);
    }
    return LS_FAIL(LS_TIMEOUT,
                   "%s of %" PRId64 " bytes did not end within %g s: nothing from rank %s",
                   kind_name[work->kind], work->longest, group->timeout_s, missing);
}

/* Until every rank has published the piece of this number. */
static ls_status wait_for_all(struct comm_group *group, const struct meeting_work *work)
{
    double until_s = clock_now_s() + group->timeout_s;
    for (int r = 0, looks = 0; r < group->size; looks++) {
        /* Looked at first: who has left had published whatever it came to before. */
        int left = atomic_load(&group->meeting->left);
        if (atomic_load_explicit(&group->meeting->places[r].published, memory_order_acquire) >=
            group->number) {
            r++;
            continue;
        }
        if (left != 0)
            return LS_FAIL(LS_COMM, "rank %d ended the job with code %d", left - 1,
                           (int)atomic_load(&group->meeting->left_code));
        if (clock_now_s() > until_s)
            return time_out(group, work);
        if (looks < PATIENT_AFTER)
            (void)sched_yield();
        else
            clock_sleep_s(LOOK_S);
    }
    return LS_OK;
}

static struct room *room_of(const struct comm_group *group, int rank)
{
    return &group->meeting->places[rank].rooms[group->number % 2];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Bring the piece at `offset`, and take those of all. */
static ls_status do_piece(struct comm_group *group, const struct meeting_work *work, int64_t offset)
{
    ls_status st = LS_OK;
    int64_t bytes = least(work->bytes - offset, ROOM_BYTES);
    bytes = bytes > 0 ? bytes : 0;
    if (group->size == 1) {
        work->take(work, 0, work->mine + offset, offset, bytes);
        return LS_OK;
    }
    group->number++;
    struct room *own = room_of(group, group->rank);
    own->kind = (int32_t)work->kind;
    own->bytes = (int32_t)bytes;
    own->total = work->longest;
    if (bytes > 0)
        memcpy(own->data, work->mine + offset, (size_t)bytes);
    atomic_store_explicit(&group->meeting->places[group->rank].published, group->number,
                          memory_order_release);
    LS_TRY(wait_for_all(group, work));
    for (int r = 0; r < group->size; r++) {
        const struct room *room = room_of(group, r);
        if (room->kind != own->kind || room->total != own->total) {
            st = LS_FAIL(LS_COMM,
                         "mismatched collective: rank %d has a %s of %" PRId64
                         " bytes, rank %d a %s of %" PRId64,
                         group->rank, kind_name[own->kind], own->total, r, kind_name[room->kind],
                         room->total);
            goto done;
        }
        work->take(work, r, room->data, offset, room->bytes);
    }
done:
    return st;
}

ls_status meeting_run(struct comm_group *group, const struct meeting_work *work)
{
    ls_status st = LS_OK;
    int64_t offset = 0;
    double start_s = clock_now_s();
    LS_TRY(meeting_state(group));
    flight_collective(kind_name[work->kind], group->number, work->longest);
    flight_waits(true);
    do {
        LS_TRY(do_piece(group, work, offset));
        offset += ROOM_BYTES;
    } while (offset < work->longest);
    flight_waits(false); /* after a failure the record says what it waits for */
    if (work->kind <= MEETING_GATHER) {
        group->counters.busy_s += clock_now_s() - start_s;
        group->counters.bytes += work->longest;
    }
done:
    return st != LS_OK ? keep(group, st) : LS_OK;
}
