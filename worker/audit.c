/* The usual case costs one pass over the state and an exchange of 16 bytes; only when these differ
 * are the hashes of all ranges exchanged.  Ranges are hashed by all compute threads, where the
 * state is in host memory; a hash does not depend on who makes it. */
#include "worker/audit.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"

enum {
    ARRAYS = 4,
    RANGES_AN_ARRAY = 64,
    RANGES = ARRAYS * RANGES_AN_ARRAY + 1, /* the last: step counts */
    PIECE_ELEMENTS = 1 << 18,
    HOST_BYTES = 64,
    COPIES_MAX = 4,
    TEXT_BYTES = 320
};

static const char *const array_names[ARRAYS] = {"weights", "moment1", "moment2", "ema"};

struct report { /* exchanged as bytes */
    char host[HOST_BYTES];
    struct hash128 ranges[RANGES];
};

struct audit {
    struct audit_options options;
    int threads;            /* that hash */
    float *pieces;          /* [threads][PIECE_ELEMENTS] */
    int64_t *adam_steps;    /* [parameters] */
    struct hash128 *totals; /* [size] */
    struct report own;
    struct report *all; /* [size] */
    bool *deviates;     /* [size] */
};

ls_status audit_open(struct audit **out, const struct audit_options *options)
{
    ls_status st = LS_OK;
    struct audit *audit = NULL;
    int size = comm_size(options->group);
    LS_TRY(core_alloc(&audit, 1));
    audit->options = *options;
    audit->threads = options->threads > 1 ? options->threads : 1;
    LS_TRY(core_alloc(&audit->pieces, (int64_t)audit->threads * PIECE_ELEMENTS));
    LS_TRY(core_alloc(&audit->adam_steps, jepa_parameters(options->jepa)->count));
    LS_TRY(core_alloc(&audit->totals, size));
    LS_TRY(core_alloc(&audit->all, size));
    LS_TRY(core_alloc(&audit->deviates, size));
    *out = audit;
    audit = NULL;
done:
    audit_close(&audit);
    return st;
}

void audit_close(struct audit **audit)
{
    if (*audit == NULL)
        return;
    free((*audit)->pieces);
    free((*audit)->adam_steps);
    free((*audit)->totals);
    free((*audit)->all);
    free((*audit)->deviates);
    free(*audit);
    *audit = NULL;
}

/* Where range `index` of an array lies in the flat space. */
static int64_t range_of(int64_t *count, const struct audit *audit, int array, int index)
{
    const struct parameters *parameters = jepa_parameters(audit->options.jepa);
    int64_t total = array == ARRAYS - 1 ? parameters->encoder_count : parameters->flat_count;
    int64_t width = (total + RANGES_AN_ARRAY - 1) / RANGES_AN_ARRAY;
    int64_t begin = width * index < total ? width * index : total;
    *count = total - begin < width ? total - begin : width;
    return begin;
}

static ls_status download(const struct audit *audit, float *into, int array, int64_t offset,
                          int64_t count)
{
    struct jepa_state state = {.offset = offset, .count = count, .copies = audit->options.divided};
    float **const slots[ARRAYS] = {&state.weights, &state.moment1, &state.moment2, &state.ema};
    *slots[array] = into;
    return jepa_state_download(audit->options.jepa, &state);
}

static ls_status hash_range(struct hash128 *out, const struct audit *audit, float *memory,
                            int array, int index)
{
    ls_status st = LS_OK;
    int64_t count = 0;
    int64_t begin = range_of(&count, audit, array, index);
    *out = (struct hash128){0};
    for (int64_t done_count = 0; done_count < count;) {
        int64_t piece = count - done_count < PIECE_ELEMENTS ? count - done_count : PIECE_ELEMENTS;
        int64_t offset = begin + done_count;
        LS_TRY(download(audit, memory, array, offset, piece));
        *out = hash_add(*out, hash_buffer_at(memory, (size_t)piece * sizeof *memory,
                                             (uint64_t)array, (uint64_t)offset));
        done_count += piece;
    }
done:
    return st;
}

static ls_status hash_state(struct audit *audit)
{
    ls_status st = LS_OK;
    struct report *own = &audit->own;
    char why[TEXT_BYTES] = "";
    /* A failure's record belongs to its thread: its words are carried over. */
#pragma omp parallel for schedule(dynamic) num_threads(audit->threads) if (audit->threads > 1)
    for (int range = 0; range < RANGES - 1; range++) {
        int array = range / RANGES_AN_ARRAY;
        if (audit->options.divided && array != 0 && array != ARRAYS - 1)
            continue;
        float *memory = audit->pieces + (size_t)omp_get_thread_num() * PIECE_ELEMENTS;
        ls_status hashed =
            hash_range(&own->ranges[range], audit, memory, array, range % RANGES_AN_ARRAY);
#pragma omp critical
        if (hashed != LS_OK && st == LS_OK) {
            st = hashed;
            (void)snprintf(why, sizeof why, "%s", status_message());
        }
    }
    if (st != LS_OK)
        return status_adopt(st, why);
    LS_TRY(jepa_state_download(audit->options.jepa,
                               &(struct jepa_state){.adam_steps = audit->adam_steps}));
    size_t counts = (size_t)jepa_parameters(audit->options.jepa)->count;
    own->ranges[RANGES - 1] = hash_buffer(audit->adam_steps, counts * sizeof *audit->adam_steps);
done:
    return st;
}

bool audit_judge(bool *deviates, const struct hash128 *hashes, int64_t stride, int size)
{
    int best = 0;
    int best_count = 0;
    for (int r = 0; r < size; r++) {
        int count = 0;
        for (int other = 0; other < size; other++)
            count += hash_equal(hashes[r * stride], hashes[other * stride]) != 0;
        if (count > best_count) {
            best_count = count;
            best = r;
        }
    }
    bool majority = 2 * best_count > size;
    for (int r = 0; r < size; r++)
        deviates[r] = !majority || hash_equal(hashes[r * stride], hashes[best * stride]) == 0;
    return majority;
}

/* "weights [0, 1024)" or "step counts". */
static void name_range(char *out, size_t bytes, const struct audit *audit, int range)
{
    int64_t count = 0;
    if (range == RANGES - 1) {
        (void)snprintf(out, bytes, "step counts");
        return;
    }
    int array = range / RANGES_AN_ARRAY;
    int64_t begin = range_of(&count, audit, array, range % RANGES_AN_ARRAY);
    (void)snprintf(out, bytes, "%s [%" PRId64 ", %" PRId64 ")", array_names[array], begin,
                   begin + count);
}

/* A copy for study; that it cannot be written changes nothing. */
static void keep_copy(struct audit *audit, int64_t step, int range)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *path = NULL;
    float *copy = NULL;
    int64_t count = 0;
    if (range == RANGES - 1)
        return;
    int array = range / RANGES_AN_ARRAY;
    int64_t begin = range_of(&count, audit, array, range % RANGES_AN_ARRAY);
    LS_TRY(core_format(&folder, "%s/audit", audit->options.run));
    LS_TRY(files_make_folder(folder));
    LS_TRY(core_format(&path, "%s/step-%09" PRId64 "-rank-%04d-%s-%" PRId64 ".f32", folder, step,
                       comm_rank(audit->options.group), array_names[array], begin));
    LS_TRY(core_alloc(&copy, count));
    LS_TRY(download(audit, copy, array, begin, count));
    LS_TRY(files_replace(path, copy, (size_t)count * sizeof *copy));
done:
    if (st != LS_OK) {
        log_warn("audit no_copy: %s", status_text());
        status_clear();
    }
    free(copy);
    free(path);
    free(folder);
}

/* Everybody has all reports: the ranges that differ, who deviates, and the same words on all. */
static ls_status tell(struct audit *audit, struct audit_finding *out, int64_t step)
{
    int size = comm_size(audit->options.group);
    int rank = comm_rank(audit->options.group);
    int64_t stride = (int64_t)(sizeof *audit->all / sizeof(struct hash128));
    char where[TEXT_BYTES] = "";
    int found = 0;
    _Static_assert(sizeof(struct report) % sizeof(struct hash128) == 0, "reports are a table");
    for (int i = 0; i < RANGES; i++) {
        bool majority = audit_judge(audit->deviates, &audit->all[0].ranges[i], stride, size);
        int ranks = 0;
        int first = -1;
        int right = -1;
        for (int r = 0; r < size; r++) {
            ranks += audit->deviates[r];
            if (audit->deviates[r] && first < 0)
                first = r;
            if (!audit->deviates[r] && right < 0)
                right = r;
        }
        if (ranks == 0)
            continue;
        if (found++ == 0) {
            *out = (struct audit_finding){.majority = majority, .rank = first, .ranks = ranks};
            name_range(where, sizeof where, audit, i);
        }
        if (found <= COPIES_MAX && (audit->deviates[rank] || rank == right))
            keep_copy(audit, step, i);
    }
    const char *host = audit->all[out->rank].host;
    if (!out->majority)
        return LS_FAIL(LS_DEVICE,
                       "audit of step %" PRId64 ": %d ranks, from rank %d on node %s on, differ in "
                       "%s and %d more of %d ranges; nobody can tell which is right",
                       step, out->ranks, out->rank, host, where, found - 1, RANGES);
    return LS_FAIL(
        LS_DEVICE,
        "audit of step %" PRId64 ": rank %d on node %s%s differs from the other ranks in "
        "%s and %d more of %d ranges: its memory or card is not to be trusted",
        step, out->rank, host, out->ranks > 1 ? " (and others)" : "", where, found - 1, RANGES);
}

ls_status audit_run(struct audit *audit, struct audit_finding *out, int64_t step)
{
    ls_status st = LS_OK;
    struct comm_group *group = audit->options.group;
    *out = (struct audit_finding){.good = true};
    if (comm_size(group) == 1)
        return LS_OK;
    LS_TRY(comm_agree(group, hash_state(audit)));
    struct hash128 total = hash_buffer(audit->own.ranges, sizeof audit->own.ranges);
    LS_TRY(comm_exchange(group, &total, sizeof total, audit->totals));
    for (int r = 1; r < comm_size(group); r++)
        out->good = out->good && hash_equal(audit->totals[0], audit->totals[r]) != 0;
    if (out->good)
        goto done;
    if (gethostname(audit->own.host, sizeof audit->own.host - 1) != 0)
        audit->own.host[0] = '\0';
    LS_TRY(comm_exchange(group, &audit->own, sizeof audit->own, audit->all));
    st = tell(audit, out, step);
done:
    return st;
}

ls_status audit_spoil(struct audit *audit)
{
    ls_status st = LS_OK;
    uint32_t bits = 0;
    float value = 0;
    struct jepa_state state = {.weights = &value, .count = 1};
    state.offset = audit->options.own;
    LS_TRY(jepa_state_download(audit->options.jepa, &state));
    memcpy(&bits, &value, sizeof bits);
    bits ^= audit->options.divided ? 1U << 16 : 1U; /* copies may have the upper half only */
    memcpy(&value, &bits, sizeof value);
    LS_TRY(jepa_state_upload(audit->options.jepa, &state));
done:
    return st;
}
