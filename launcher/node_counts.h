/* Node counts on a command line: "1,2,4". */
#ifndef LOCKSTEP_LAUNCHER_NODE_COUNTS_H
#define LOCKSTEP_LAUNCHER_NODE_COUNTS_H

#include "core/status.h"

enum { NODE_COUNTS_MAX = 32 };

struct node_counts {
    int list[NODE_COUNTS_MAX];
    int count;
};

/* Local.  Errors: LS_USAGE for anything else than numbers from 1 to 65536 by commas. */
ls_status node_counts_read(struct node_counts *out, const char *text) LS_MUST_CHECK;

#endif
