#include "launcher/skew.h"

#include <cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

static void window_free(struct skew_window *window)
{
    free(window->own_s);
    free(window->states);
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* Numbers of ranks and steps are checked before they count anything. */
static int64_t whole(const cJSON *object, const char *key, double most)
{
    double value = number_of(object, key);
    return value >= 0 && value <= most && value == floor(value) ? (int64_t)value : -1;
}

static int compare(const void *a, const void *b)
{
    float left = *(const float *)a;
    float right = *(const float *)b;
    return (left > right) - (left < right);
}

static ls_status find_median(struct skew_window *window)
{
    ls_status st = LS_OK;
    float *sorted = NULL;
    int count = 0;
    LS_TRY(core_alloc(&sorted, window->ranks));
    for (int r = 0; r < window->ranks; r++)
        if (isfinite(window->own_s[r]))
            sorted[count++] = window->own_s[r];
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    window->median_s = count > 0 ? sorted[(count - 1) / 2] : NAN;
done:
    free(sorted);
    return st;
}

/* The ranks' table has room for `count`. */
static ls_status widen_ranks(struct skew *skew, int count)
{
    if (count <= skew->rank_count)
        return LS_OK;
    struct skew_rank *wider = realloc(skew->ranks, (size_t)count * sizeof *wider);
    if (wider == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for %d ranks", count);
    memset(wider + skew->rank_count, 0, (size_t)(count - skew->rank_count) * sizeof *wider);
    skew->ranks = wider;
    skew->rank_count = count;
    return LS_OK;
}

static void take_rank(struct skew *skew, struct skew_window *window, const cJSON *rank)
{
    int64_t number = whole(rank, "rank", window->ranks - 1);
    const char *node = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(rank, "node"));
    const char *state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(rank, "state"));
    if (number < 0)
        return;
    window->own_s[number] = (float)(number_of(rank, "data_s") + number_of(rank, "compute_s"));
    if (state != NULL)
        window->states[number] = strcmp(state, "chronic") == 0  ? 2
                                 : strcmp(state, "hiccup") == 0 ? 1
                                                                : 0;
    if (node != NULL)
        (void)snprintf(skew->ranks[number].node, SKEW_NODE_BYTES, "%s", node);
}

static ls_status take_line(struct skew *skew, int *room, const cJSON *line)
{
    ls_status st = LS_OK;
    struct skew_window window = {.step = whole(line, "step", 1e15)};
    const cJSON *ranks = cJSON_GetObjectItemCaseSensitive(line, "ranks");
    const cJSON *rank = NULL;
    window.ranks = cJSON_IsArray(ranks) ? cJSON_GetArraySize(ranks) : 0;
    if (window.step < 0 || window.ranks < 1 || window.ranks > SKEW_RANKS_MAX)
        return LS_OK;
    while (skew->window_count > 0 && skew->windows[skew->window_count - 1].step >= window.step)
        window_free(&skew->windows[--skew->window_count]);
    LS_TRY(core_alloc(&window.own_s, window.ranks));
    LS_TRY(core_alloc(&window.states, window.ranks));
    LS_TRY(widen_ranks(skew, window.ranks));
    for (int r = 0; r < window.ranks; r++)
        window.own_s[r] = NAN;
    cJSON_ArrayForEach(rank, ranks) take_rank(skew, &window, rank);
    LS_TRY(find_median(&window));
    if (skew->window_count == *room) {
        int wanted = *room > 0 ? 2 * *room : 64;
        struct skew_window *wider = realloc(skew->windows, (size_t)wanted * sizeof *wider);
        if (wider == NULL) {
            st = LS_FAIL(LS_NOMEM, "out of memory for %d windows of ranks", wanted);
            goto done;
        }
        skew->windows = wider;
        *room = wanted;
    }
    skew->windows[skew->window_count++] = window;
    memset(&window, 0, sizeof window);
done:
    window_free(&window);
    return st;
}

static void count_states(struct skew *skew)
{
    for (int w = 0; w < skew->window_count; w++)
        for (int r = 0; r < skew->windows[w].ranks; r++) {
            skew->ranks[r].windows += isfinite(skew->windows[w].own_s[r]) ? 1 : 0;
            skew->ranks[r].hiccups += skew->windows[w].states[r] == 1;
            skew->ranks[r].chronic += skew->windows[w].states[r] == 2;
        }
}

ls_status skew_open(struct skew *out, const char *run)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *line = NULL;
    size_t length = 0;
    int room = 0;
    FILE *file = NULL;
    memset(out, 0, sizeof *out);
    LS_TRY(core_format(&path, "%s/ranks.jsonl", run));
    file = fopen(path, "re");
    if (file == NULL && errno != ENOENT) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    while (st == LS_OK && file != NULL && getline(&line, &length, file) >= 0) {
        cJSON *json = cJSON_Parse(line);
        st = take_line(out, &room, json);
        cJSON_Delete(json);
    }
    if (st == LS_OK && file != NULL && ferror(file) != 0)
        st = LS_FAIL(LS_IO, "%s: cannot read: %s", path, strerror(errno));
    count_states(out);
done:
    if (file != NULL)
        (void)fclose(file);
    free(line);
    free(path);
    return st;
}

void skew_close(struct skew *skew)
{
    for (int w = 0; w < skew->window_count; w++)
        window_free(&skew->windows[w]);
    free(skew->windows);
    free(skew->ranks);
    memset(skew, 0, sizeof *skew);
}
