/* mpirun first: it works inside any allocation, also where SLURM was built without PMIx.
 *
 * Measured with Open MPI 4.1.4 and SLURM 22.05: a cut cable goes unnoticed for minutes without the
 * keepalive settings and takes 6 s with them; `srun` without -K1 hangs when a rank dies. */
#include "launcher/starter.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/run.h"

/* A list of words that grows; after a failure it takes no more. */
struct words {
    char **list;
    size_t count;
    ls_status st;
};

static void add(struct words *words, const char *word)
{
    if (words->st != LS_OK)
        return;
    char **more = realloc(words->list, (words->count + 2) * sizeof *more);
    if (more == NULL) {
        words->st = LS_FAIL(LS_NOMEM, "out of memory for a command line");
        return;
    }
    words->list = more;
    words->list[words->count] = NULL;
    words->st = core_format(&words->list[words->count], "%s", word);
    if (words->st == LS_OK)
        words->list[++words->count] = NULL;
}

static void add_number(struct words *words, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    add(words, name);
    add(words, text);
}

static void add_setting(struct words *words, const char *name, const char *value)
{
    add(words, "--mca");
    add(words, name);
    add(words, value);
}

/* "apptainer exec --nv IMAGE", cut at spaces. */
static void add_split(struct words *words, const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, " ");
        char *word = NULL;
        if (length > 0 && words->st == LS_OK) {
            words->st = core_format(&word, "%.*s", (int)length, text);
            if (words->st == LS_OK)
                add(words, word);
        }
        free(word);
        text += length;
        text += strspn(text, " ");
    }
}

static bool takes_part(const struct starter_job *job, int host)
{
    return job->left_out == NULL || !job->left_out[host];
}

/* "node1:2,node3:2", or only the names of those left out. */
static ls_status host_list(char **out, const struct starter_job *job, bool left_out)
{
    const struct allocation *a = job->allocation;
    char *list = NULL;
    ls_status st = core_format(&list, "%s", "");
    for (int i = 0; i < a->host_count && st == LS_OK; i++) {
        char *longer = NULL;
        char slots[16] = "";
        if (takes_part(job, i) == left_out)
            continue;
        if (!left_out)
            (void)snprintf(slots, sizeof slots, ":%d", a->hosts[i].slots);
        st = core_format(&longer, "%s%s%s%s", list, list[0] != '\0' ? "," : "", a->hosts[i].name,
                         slots);
        free(list);
        list = longer;
    }
    *out = list;
    return st;
}

static void add_hosts(struct words *words, const struct starter_job *job, bool srun)
{
    char *list = NULL;
    bool none_left_out = true;
    for (int i = 0; i < job->allocation->host_count; i++)
        none_left_out = none_left_out && takes_part(job, i);
    /* SLURM's own list is what both take by themselves. */
    if (job->allocation->host_count == 0 || (job->allocation->job != NULL && none_left_out))
        return;
    if (words->st == LS_OK)
        words->st = host_list(&list, job, srun);
    if (words->st == LS_OK) {
        add(words, srun ? "--exclude" : "--host");
        add(words, list);
    }
    free(list);
}

static void add_mpirun(struct words *words, const struct starter *starter,
                       const struct starter_job *job)
{
    char forwarded[16];
    (void)snprintf(forwarded, sizeof forwarded, "%d", starter_stop_signal(starter));
    add(words, starter->program);
    add(words, "--oversubscribe");
    add(words, "--bind-to");
    add(words, "none");
    add_setting(words, "ess_base_forward_signals", forwarded);
    add_setting(words, "oob_tcp_keepalive_time", "2");
    add_setting(words, "oob_tcp_keepalive_intvl", "1");
    add_setting(words, "oob_tcp_keepalive_probes", "3");
    /* The agent's words are cut at spaces. */
    if (starter->shield != NULL && strchr(starter->shield, ' ') == NULL) {
        char *agent = NULL;
        if (words->st == LS_OK)
            words->st = core_format(&agent, "%s shield orted", starter->shield);
        if (words->st == LS_OK)
            add_setting(words, "orte_launch_agent", agent);
        free(agent);
    }
    add(words, "--report-uri");
    add(words, job->note);
    /* Daemons that a remote shell starts have the environment of a login. */
    add(words, "-x");
    add(words, "OMP_NUM_THREADS");
    add(words, "-x");
    add(words, "OMP_WAIT_POLICY");
    add_hosts(words, job, false);
    add_number(words, "-n", job->workers);
}

static void add_srun(struct words *words, const struct starter *starter,
                     const struct starter_job *job)
{
    add(words, starter->program);
    add(words, "--mpi=pmix");
    add(words, "--kill-on-bad-exit=1");
    add(words, "--unbuffered");
    add_hosts(words, job, true);
    add_number(words, "--ntasks", job->workers);
    if (job->allocation->cores_a_task > 0)
        add_number(words, "--cpus-per-task", job->allocation->cores_a_task);
    /* Deaf to the stop signal until the worker listens to it. */
    add(words, "sh");
    add(words, "-c");
    add(words, "trap '' USR1; exec \"$0\" \"$@\"");
}

ls_status starter_words(char ***out, const struct starter *starter, const struct starter_job *job)
{
    struct words words = {0};
    if (starter->srun)
        add_srun(&words, starter, job);
    else
        add_mpirun(&words, starter, job);
    add_split(&words, starter->container);
    add(&words, starter->worker);
    add(&words, job->run);
    if (starter->probe)
        add(&words, "--probe");
    add_number(&words, "--run-epoch", job->run_epoch);
    add(&words, "--progress");
    add(&words, job->bar ? "bar" : "lines");
    if (job->stop_at > 0)
        add_number(&words, "--stop-at", job->stop_at);
    if (job->profile != NULL) {
        add(&words, "--profile");
        add(&words, job->profile);
    }
    if (job->beat_s > 0)
        add_number(&words, "--beat", job->beat_s);
    if (words.st != LS_OK)
        starter_words_free(&words.list);
    *out = words.list;
    return words.st;
}

void starter_words_free(char ***words)
{
    for (char **word = *words; word != NULL && *word != NULL; word++)
        free(*word);
    free(*words);
    *words = NULL;
}

int starter_stop_signal(const struct starter *starter)
{
    return starter->srun ? SIGUSR1 : RUN_STOP_SIGNAL;
}

int starter_shield(char *const *words)
{
    sigset_t term;
    (void)sigemptyset(&term);
    (void)sigaddset(&term, SIGTERM);
    if (words[0] != NULL && sigprocmask(SIG_BLOCK, &term, NULL) == 0)
        (void)execvp(words[0], words);
    return 127;
}
