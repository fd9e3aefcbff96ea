/* SLURM tells a job its shape in environment variables; only the list of node names is packed
 * ("node[1-4,7]"), and unpacking it is left to scontrol. */
#include "launcher/allocation.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "launcher/ask.h"

static int number_of(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    long value = text != NULL ? strtol(text, &end, 10) : 0;
    return text != NULL && end != text && *end == '\0' && value > 0 && value < INT_MAX ? (int)value
                                                                                       : 0;
}

int allocation_slots(const char *list, int index)
{
    while (list != NULL && *list != '\0') {
        char *end = NULL;
        long slots = strtol(list, &end, 10);
        long times = 1;
        if (end == list || slots < 1 || slots > INT_MAX)
            return 0;
        if (strncmp(end, "(x", 2) == 0) {
            times = strtol(end + 2, &end, 10);
            if (*end++ != ')' || times < 1)
                return 0;
        }
        if (index < times)
            return (int)slots;
        index -= (int)times;
        list = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != '\0')
            return 0;
    }
    return 0;
}

static ls_status add_host(struct allocation *a, const char *name, size_t length, int slots)
{
    char *copy = NULL;
    ls_status st = core_format(&copy, "%.*s", (int)length, name);
    if (st != LS_OK)
        return st;
    struct allocation_host *more = realloc(a->hosts, ((size_t)a->host_count + 1) * sizeof *more);
    if (more == NULL) {
        free(copy);
        return LS_FAIL(LS_NOMEM, "out of memory for %d hosts", a->host_count);
    }
    a->hosts = more;
    a->hosts[a->host_count++] = (struct allocation_host){.name = copy, .slots = slots};
    return LS_OK;
}

static ls_status read_given(struct allocation *a, const char *hosts)
{
    for (const char *from = hosts;;) {
        size_t length = strcspn(from, ",");
        size_t name = strcspn(from, ",:");
        long slots = 1;
        char *end = NULL;
        if (name < length) {
            slots = strtol(from + name + 1, &end, 10);
            if (end != from + length || slots < 1 || slots > 1024)
                name = 0;
        }
        if (name == 0)
            return LS_FAIL(LS_USAGE, "--hosts: '%.*s' is not NAME or NAME:WORKERS", (int)length,
                           from);
        ls_status st = add_host(a, from, name, (int)slots);
        if (st != LS_OK || from[length] == '\0')
            return st;
        from += length + 1;
    }
}

/* The nodes of the job.  Without their names a run only cannot leave one of them out. */
static ls_status read_nodes(struct allocation *a)
{
    ls_status st = LS_OK;
    char *names = NULL;
    const char *packed = getenv("SLURM_JOB_NODELIST");
    const char *slots = getenv("SLURM_TASKS_PER_NODE");
    if (packed == NULL)
        return LS_OK;
    const char *const words[] = {"scontrol", "show", "hostnames", packed, NULL};
    if (ask(&names, words) != LS_OK) {
        log_warn("slurm node_names=unknown reason=\"%s\"", status_message());
        status_clear();
        return LS_OK;
    }
    for (const char *from = names; *from != '\0';) {
        size_t length = strcspn(from, "\n");
        int here = allocation_slots(slots, a->host_count);
        if (length > 0)
            LS_TRY(add_host(a, from, length, here > 0 ? here : 1));
        from += length;
        from += *from == '\n';
    }
done:
    free(names);
    return st;
}

/* Whether a name is one of the lines of a text. */
static bool has_line(const char *text, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += bytes)
        if ((at == text || at[-1] == '\n') && (at[bytes] == '\0' || at[bytes] == '\n'))
            return true;
    return false;
}

void allocation_ask_gone(bool *gone, const struct allocation *allocation)
{
    char *packed = NULL;
    char *names = NULL;
    memset(gone, 0, (size_t)allocation->host_count * sizeof *gone);
    if (allocation->job == NULL || allocation->host_count == 0)
        return;
    const char *const queue[] = {"squeue", "--noheader",    "--format=%N",
                                 "--jobs", allocation->job, NULL};
    ls_status st = ask(&packed, queue);
    const char *const show[] = {"scontrol", "show", "hostnames", packed, NULL};
    if (st == LS_OK && packed[0] != '\0')
        st = ask(&names, show);
    for (int i = 0; i < allocation->host_count && names != NULL; i++)
        gone[i] = !has_line(names, allocation->hosts[i].name);
    if (st != LS_OK)
        status_clear();
    free(packed);
    free(names);
}

/* "1-02:03:04", "02:03:04", "03:04", as squeue writes it; -1 for anything else ("UNLIMITED"). */
static double seconds_of(const char *text)
{
    double parts[4] = {0};
    int count = 0;
    char *end = NULL;
    const char *dash = strchr(text, '-');
    double days = 0;
    if (dash != NULL) {
        days = strtod(text, &end);
        if (end != dash)
            return -1;
        text = dash + 1;
    }
    while (count < 3) {
        parts[count++] = strtod(text, &end);
        if (end == text)
            return -1;
        if (*end != ':')
            break;
        text = end + 1;
    }
    if (*end != '\0' && *end != '\n')
        return -1;
    double seconds = 0;
    for (int i = 0; i < count; i++)
        seconds = seconds * 60 + parts[i];
    return days * 86400 + seconds;
}

static double time_left(const char *job)
{
    char *text = NULL;
    double left = -1;
    const char *const words[] = {"squeue", "--noheader", "--format=%L", "--jobs", job, NULL};
    if (ask(&text, words) == LS_OK)
        left = seconds_of(text);
    else
        status_clear();
    free(text);
    return left;
}

ls_status allocation_open(struct allocation **out, const char *hosts)
{
    ls_status st = LS_OK;
    struct allocation *a = NULL;
    const char *job = getenv("SLURM_JOB_ID");
    LS_TRY(core_alloc(&a, 1));
    a->time_left_s = -1;
    a->nodes = 1;
    if (job != NULL && hosts != NULL) {
        st = LS_FAIL(LS_USAGE, "--hosts: SLURM gave job %s its nodes; leave the option out", job);
        goto done;
    }
    if (hosts != NULL)
        LS_TRY(read_given(a, hosts));
    if (job != NULL) {
        int nodes = number_of("SLURM_JOB_NUM_NODES");
        LS_TRY(core_format(&a->job, "%s", job));
        a->nodes = nodes > 0 ? nodes : 1;
        a->restart = number_of("SLURM_RESTART_COUNT");
        a->tasks = number_of("SLURM_NTASKS");
        a->cores_a_task = number_of("SLURM_CPUS_PER_TASK");
        a->time_left_s = time_left(job);
        LS_TRY(read_nodes(a));
    } else if (hosts != NULL) {
        a->nodes = a->host_count;
        for (int i = 0; i < a->host_count; i++)
            a->tasks += a->hosts[i].slots;
    }
    *out = a;
    a = NULL;
done:
    allocation_close(&a);
    return st;
}

void allocation_close(struct allocation **allocation)
{
    struct allocation *a = *allocation;
    if (a == NULL)
        return;
    for (int i = 0; i < a->host_count; i++)
        free(a->hosts[i].name);
    free(a->hosts);
    free(a->job);
    free(a);
    *allocation = NULL;
}
