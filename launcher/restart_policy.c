/* Times of restarts in a ring as long as the limit: the window is full when its oldest entry is
 * younger than the window. */
#include "launcher/restart_policy.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { FAULTS_TO_LEAVE_OUT = 2, GONE = 1 << 20, PAUSE_MAX_S = 60 };

struct restart_policy {
    int most, used;
    double window_s;
    double *times; /* of the last `used` restarts within the window, oldest first */
    int in_a_row;  /* failures without progress */
    int workers, workers_least;
    const struct allocation *allocation;
    int *faults; /* one a host; GONE and more: it never comes back */
    bool *left_out;
};

ls_status restart_policy_open(struct restart_policy **out, int most, double window_s, int workers,
                              int workers_least, const struct allocation *allocation)
{
    ls_status st = LS_OK;
    struct restart_policy *policy = NULL;
    LS_TRY(core_alloc(&policy, 1));
    policy->most = most;
    policy->window_s = window_s;
    policy->workers = workers;
    policy->workers_least = workers_least > 0 ? workers_least : workers;
    policy->allocation = allocation;
    LS_TRY(core_alloc(&policy->times, most + 1));
    LS_TRY(core_alloc(&policy->faults, allocation->host_count + 1));
    LS_TRY(core_alloc(&policy->left_out, allocation->host_count + 1));
    *out = policy;
    policy = NULL;
done:
    restart_policy_close(&policy);
    return st;
}

void restart_policy_close(struct restart_policy **policy)
{
    if (*policy == NULL)
        return;
    free((*policy)->times);
    free((*policy)->faults);
    free((*policy)->left_out);
    free(*policy);
    *policy = NULL;
}

static void blame(struct restart_policy *policy, const char *host)
{
    for (int i = 0; host != NULL && i < policy->allocation->host_count; i++)
        if (strcmp(policy->allocation->hosts[i].name, host) == 0)
            policy->faults[i]++;
}

bool restart_policy_failed(struct restart_policy *policy, double *pause_s, double now_s,
                           const char *host, bool progress)
{
    int kept = 0;
    blame(policy, host);
    policy->in_a_row = progress ? 1 : policy->in_a_row + 1;
    for (int i = 0; i < policy->used; i++)
        if (policy->times[i] > now_s - policy->window_s)
            policy->times[kept++] = policy->times[i];
    policy->used = kept;
    *pause_s = 1;
    for (int i = 1; i < policy->in_a_row && *pause_s < PAUSE_MAX_S; i++)
        *pause_s *= 2;
    if (*pause_s > PAUSE_MAX_S)
        *pause_s = PAUSE_MAX_S;
    if (policy->used >= policy->most)
        return false;
    policy->times[policy->used++] = now_s;
    return true;
}

int restart_policy_used(const struct restart_policy *policy)
{
    return policy->used;
}

void restart_policy_gone(struct restart_policy *policy, int host)
{
    policy->faults[host] = GONE;
}

int restart_policy_choose(struct restart_policy *policy, const bool **left_out)
{
    int slots = 0;
    bool any = false;
    for (int i = 0; i < policy->allocation->host_count; i++) {
        policy->left_out[i] = policy->faults[i] >= FAULTS_TO_LEAVE_OUT;
        any = any || policy->left_out[i];
        if (!policy->left_out[i])
            slots += policy->allocation->hosts[i].slots;
    }
    int workers = slots < policy->workers ? slots : policy->workers;
    *left_out = NULL;
    if (!any || workers < policy->workers_least)
        return policy->workers;
    for (int i = 0; i < policy->allocation->host_count; i++)
        if (policy->left_out[i] && policy->faults[i] < GONE)
            policy->faults[i] = FAULTS_TO_LEAVE_OUT - 1;
    *left_out = policy->left_out;
    return workers;
}
