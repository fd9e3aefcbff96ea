/* One job with the largest count's nodes, in which all counts are run: the same machines for all.
 */
#include <stdio.h>
#include <stdlib.h>

#include "launcher/ask.h"
#include "launcher/command_line.h"
#include "launcher/scale.h"

static ls_status add_slurm(struct command_line *line, const char *option, const char *value)
{
    ls_status st = LS_OK;
    if (value != NULL)
        LS_TRY(command_line_format(line, "--%s=%s", option, value));
done:
    return st;
}

ls_status scale_submit(const struct config *config, int nodes, const char *command,
                       const char *folder)
{
    ls_status st = LS_OK;
    struct command_line line = {0};
    char *said = NULL;
    LS_TRY(command_line_add(&line, "sbatch"));
    LS_TRY(command_line_add(&line, "--parsable"));
    LS_TRY(command_line_add(&line, "--job-name=lockstep-scale"));
    LS_TRY(command_line_format(&line, "--nodes=%d", nodes));
    LS_TRY(command_line_format(&line, "--ntasks-per-node=%d", config->tasks_per_node));
    if (config->cpus_per_task > 0)
        LS_TRY(command_line_format(&line, "--cpus-per-task=%d", config->cpus_per_task));
    LS_TRY(add_slurm(&line, "account", config->slurm.account));
    LS_TRY(add_slurm(&line, "partition", config->slurm.partition));
    LS_TRY(add_slurm(&line, "qos", config->slurm.qos));
    LS_TRY(add_slurm(&line, "constraint", config->slurm.constraint));
    LS_TRY(add_slurm(&line, "time", config->slurm.time));
    if (config->slurm.gpus_per_node > 0)
        LS_TRY(command_line_format(&line, "--gpus-per-node=%d", config->slurm.gpus_per_node));
    LS_TRY(command_line_format(&line, "--output=%s/job-%%j.log", folder));
    LS_TRY(command_line_format(&line, "--wrap=%s%s%s",
                               config->slurm.setup != NULL ? config->slurm.setup : "",
                               config->slurm.setup != NULL ? "\n" : "", command));
    LS_TRY(ask(&said, line.list));
    (void)printf("job        %s\nresults    %s/scale.txt\nlog        %s/job-%s.log\n", said, folder,
                 folder, said);
done:
    command_line_close(&line);
    free(said);
    return st;
}
