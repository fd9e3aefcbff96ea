/* Workers, threads and their starter, where neither config nor command line says. */
#include "launcher/choices.h"

#include <stdlib.h>

#include "core/log.h"
#include "launcher/processes.h"

int choice_workers(int64_t workers, const struct config *config,
                   const struct allocation *allocation)
{
    int most = config->micro_batches;
    int given = workers > 0 ? (int)workers : allocation->tasks;
    if (given == 0)
        given = allocation->job != NULL ? allocation->nodes * config->tasks_per_node
                                        : processes_cores();
    return given < most ? given : most;
}

int choice_threads(const struct config *config, int workers, const struct allocation *allocation)
{
    const char *given = getenv("OMP_NUM_THREADS");
    char *end = NULL;
    long wanted = given != NULL ? strtol(given, &end, 10) : 0;
    if (config->run.threads > 0)
        return config->run.threads;
    if (wanted > 0 && wanted <= 1024 && *end == '\0')
        return (int)wanted;
    if (allocation->cores_a_task > 0)
        return allocation->cores_a_task;
    int here = (workers + allocation->nodes - 1) / allocation->nodes;
    int share = processes_cores() / here;
    return share > 0 ? share : 1;
}

ls_status choice_starter(struct starter *out, char **program, const struct config *config,
                         const struct allocation *allocation)
{
    ls_status st = LS_OK;
    enum config_starter wanted = config->run.starter;
    static const char *const advice = "install it (Debian: apt-get install openmpi-bin)";
    out->srun = wanted == CONFIG_STARTER_SRUN;
    if (out->srun && allocation->job == NULL)
        return LS_FAIL(LS_USAGE, "lockstep.starter: srun works only inside a SLURM job; submit the "
                                 "run, or use mpirun");
    st = processes_find(program, out->srun ? "srun" : "mpirun", out->srun ? "load SLURM" : advice);
    if (st == LS_USAGE && wanted == CONFIG_STARTER_AUTO && allocation->job != NULL) {
        log_warn("starter asked=auto used=srun reason=\"no mpirun on PATH\"");
        out->srun = true;
        st = processes_find(program, "srun", advice);
    }
    out->program = *program;
    return st;
}
