#include "core/version.h"

#include <stdio.h>

#define NUMBER "0.1.0"
#define BUILD LOCKSTEP_VARIANT " " LOCKSTEP_GPU

static char text[160] = NUMBER " commit unknown " BUILD;

void version_set_commit(const char *commit)
{
    (void)snprintf(text, sizeof text, "%s commit %s %s", NUMBER, commit, BUILD);
}

const char *version_text(void)
{
    return text;
}
