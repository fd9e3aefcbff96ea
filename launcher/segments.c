/* A segment is called vader_segment.HOST.UID.JOBID.RANK, where JOBID in hexadecimal is mpirun's own
 * number, which it reports as "2434662400.0;tcp://...", plus the number of the application. */
#include "launcher/segments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"

static const char shared_memory[] = "/dev/shm";
enum { NOTE_BYTES = 4096, HOST_BYTES = 256 };

ls_status segments_note(char **out, const char *run)
{
    char host[HOST_BYTES] = "unknown";
    if (gethostname(host, sizeof host - 1) != 0)
        (void)snprintf(host, sizeof host, "unknown");
    return core_format(out, "%s/mpirun-%s", run, host);
}

/* Whether the last field but one of a name, "....JOBID.RANK", is of this family. */
static bool belongs_to(const char *name, uint32_t family)
{
    char *end = NULL;
    const char *rank = strrchr(name, '.');
    if (strncmp(name, "vader_segment.", 14) != 0 || rank == NULL || rank == name)
        return false;
    const char *job = rank - 1;
    while (job > name && *job != '.')
        job--;
    unsigned long id = strtoul(job + 1, &end, 16);
    return end == rank && (id >> 16) == family;
}

static void remove_family(uint32_t family)
{
    char **names = NULL;
    size_t count = 0;
    int removed = 0;
    if (files_list(&names, &count, shared_memory) != LS_OK) {
        status_clear();
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *path = NULL;
        if (belongs_to(names[i], family) &&
            core_format(&path, "%s/%s", shared_memory, names[i]) == LS_OK && unlink(path) == 0)
            removed++;
        free(path);
    }
    files_list_free(&names, count);
    if (removed > 0)
        log_info("shared_memory_removed files=%d folder=%s left_by=killed_workers", removed,
                 shared_memory);
}

void segments_remove(const char *run)
{
    char *path = NULL;
    char *text = NULL;
    char *end = NULL;
    if (segments_note(&path, run) == LS_OK && files_exists(path) &&
        files_read(&text, NULL, path, NOTE_BYTES) == LS_OK) {
        unsigned long long id = strtoull(text, &end, 10);
        if (end != text && *end == '.' && id <= UINT32_MAX)
            remove_family((uint32_t)(id >> 16));
        (void)unlink(path);
    }
    free(text);
    free(path);
}
