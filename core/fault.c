/* One armed fault a process; the counter is atomic because background writers pass points too. */
#include "core/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"

static _Atomic int armed = FAULT_OFF;
static _Atomic int64_t passed;
static const char *armed_site;
static int64_t armed_nth;
static int armed_error;

void fault_arm(enum fault_action action, const char *site, int64_t nth, int error)
{
    armed_site = site;
    armed_nth = nth;
    armed_error = error;
    atomic_store(&passed, 0);
    atomic_store(&armed, (int)action);
}

/* One fault of the list; whether it is for this rank and epoch, and armed. */
static bool arm_one(const char *text, int rank, int64_t run_epoch)
{
    static char site[32]; /* of the armed one */
    static const struct {
        const char *name;
        enum fault_action action;
        int error;
    } actions[] = {{"kill", FAULT_KILL, 0},         {"segv", FAULT_SIGNAL, SIGSEGV},
                   {"stop", FAULT_SIGNAL, SIGSTOP}, {"exit", FAULT_EXIT, 1},
                   {"hang", FAULT_HANG, 0},         {"pause", FAULT_PAUSE, 0},
                   {"fail", FAULT_FAIL, ENOSPC},    {"fail-for-good", FAULT_FAIL_FOR_GOOD, ENOSPC},
                   {"quota", FAULT_FAIL, EDQUOT}};
    char action[16] = "";
    long long nth = 0;
    long long epoch = 0;
    int wanted = 0;
    site[0] = '\0';
    if (sscanf(text, "%15[a-z-]:%31[a-z_]:%lld:%d:%lld", action, site, &nth, &wanted, &epoch) !=
            5 &&
        sscanf(text, "%15[a-z-]::%lld:%d:%lld", action, &nth, &wanted, &epoch) != 4)
        return false;
    if ((wanted >= 0 && rank != wanted) || (epoch < 0 ? run_epoch > -epoch : run_epoch != epoch))
        return false;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(actions[i].name, action) == 0) {
            fault_arm(actions[i].action, site[0] != '\0' ? site : NULL, nth, actions[i].error);
            return true;
        }
    return false;
}

void fault_arm_text(const char *text, int rank, int64_t run_epoch)
{
    for (const char *one = text; one != NULL && !arm_one(one, rank, run_epoch);) {
        const char *comma = strchr(one, ',');
        one = comma != NULL ? comma + 1 : NULL;
    }
}

int64_t fault_count(void)
{
    return atomic_load(&passed);
}

static void strike(int action)
{
    if (action == FAULT_KILL || action == FAULT_SIGNAL)
        (void)kill(getpid(), action == FAULT_KILL ? SIGKILL : armed_error);
    else if (action == FAULT_EXIT)
        _exit(armed_error);
    else if (action == FAULT_PAUSE)
        clock_sleep_s(FAULT_PAUSE_S);
    else if (action == FAULT_HANG)
        for (;;)
            (void)pause();
}

int fault_point(const char *site)
{
    int action = atomic_load_explicit(&armed, memory_order_acquire);
    if (action == FAULT_OFF || (armed_site != NULL && strcmp(armed_site, site) != 0))
        return 0;
    int64_t number = atomic_fetch_add(&passed, 1) + 1;
    if (number == armed_nth)
        strike(action);
    bool fails = (action == FAULT_FAIL && number == armed_nth) ||
                 (action == FAULT_FAIL_FOR_GOOD && number >= armed_nth);
    if (fails)
        errno = armed_error;
    return fails ? armed_error : 0;
}
