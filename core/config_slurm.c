/* What the `slurm:` keys say together, and what is worked out from them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_read.h"

enum { WARNING_MAX_S = 65535 }; /* sbatch takes no more */

/* Seconds of "NAME@SECONDS", 0 for anything else. */
static long warning_of(const char *text)
{
    static const char *const names[] = {"INT@", "TERM@", "USR1@", "USR2@"};
    for (size_t i = 0; text != NULL && i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        char *end = NULL;
        if (strncmp(text, names[i], length) != 0 || text[length] < '0' || text[length] > '9')
            continue;
        long seconds = strtol(text + length, &end, 10);
        return *end == '\0' && seconds <= WARNING_MAX_S ? seconds : 0;
    }
    return 0;
}

double config_slurm_warning_s(const struct config *config)
{
    return (double)warning_of(config->slurm.signal);
}

void config_check_slurm(struct config_reader *reader)
{
    const struct config *config = reader->config;
    if (warning_of(config->slurm.signal) == 0)
        config_mistake(reader, config_node(reader, "slurm.signal"), "slurm.signal",
                       "'%.60s' is not INT, TERM, USR1 or USR2, @ and 1 to %d seconds, for example "
                       "USR1@120",
                       config->slurm.signal, WARNING_MAX_S);
    if (config->run.min_workers > config->nodes * config->tasks_per_node)
        config_mistake(reader, config_node(reader, "lockstep.min_workers"), "lockstep.min_workers",
                       "%d is more than nodes x tasks_per_node (%d)", config->run.min_workers,
                       config->nodes * config->tasks_per_node);
}
