/* The card's work of the last step must be done before the profiler looks away, and the first
 * step begins with an idle card: the device is waited for at both ends. */
#include "worker/profile.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/files.h"
#include "core/log.h"

void profile_open(struct profile *out, struct trace_steps steps, const char *run, int rank,
                  const struct model_device *device)
{
    *out = (struct profile){.steps = steps, .run = run, .device = device, .rank = rank};
    if (device->gpu)
        trace_hooks_set((struct trace_hooks){gpu_build.range_begin, gpu_build.range_end});
}

/* Wait for the card, then switch its profiler. */
static ls_status switch_card(const struct profile *profile, bool on)
{
    ls_status st = LS_OK;
    if (!profile->device->gpu)
        return LS_OK;
    LS_TRY(profile->device->table->synchronize(profile->device->device));
    LS_TRY(gpu_build.profiler(on));
done:
    return st;
}

static void warn(ls_status st)
{
    if (st == LS_OK)
        return;
    log_warn("profile incomplete reason=\"%s\"", status_text());
    status_clear();
}

static ls_status write_trace(const struct profile *profile)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *path = NULL;
    LS_TRY(core_format(&folder, "%s/profile", profile->run));
    LS_TRY(files_make_folder(folder));
    LS_TRY(core_format(&path, "%s/steps-%" PRId64 "-%" PRId64 "-%d.json", folder, profile->first,
                       profile->last, profile->rank));
    LS_TRY(trace_write(path, profile->rank));
    if (profile->rank == 0)
        log_info("profile written=\"%s\"", path);
done:
    free(folder);
    free(path);
    return st;
}

void profile_before(struct profile *profile, int64_t step)
{
    if (profile->on || step < profile->steps.first || step > profile->steps.last)
        return;
    profile->on = true;
    profile->first = profile->last = step;
    warn(switch_card(profile, true));
    warn(trace_start());
}

static void finish(struct profile *profile)
{
    profile->on = false;
    warn(switch_card(profile, false));
    trace_stop();
    warn(write_trace(profile));
}

void profile_after(struct profile *profile, int64_t step)
{
    if (!profile->on)
        return;
    profile->last = step;
    if (step >= profile->steps.last)
        finish(profile);
}

void profile_close(struct profile *profile)
{
    if (profile->on)
        finish(profile);
    else if (profile->steps.first > 0 && profile->first == 0 && profile->rank == 0)
        log_warn("profile asked=%" PRId64 ":%" PRId64 " used=none reason=\"this start did none of "
                 "these steps\"",
                 profile->steps.first, profile->steps.last);
}
