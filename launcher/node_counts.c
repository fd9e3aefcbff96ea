#include "launcher/node_counts.h"

#include <stdlib.h>

ls_status node_counts_read(struct node_counts *out, const char *text)
{
    const char *at = text;
    out->count = 0;
    do {
        char *end = NULL;
        long nodes = strtol(at, &end, 10);
        if (end == at || nodes < 1 || nodes > 65536 || (*end != ',' && *end != '\0') ||
            out->count == NODE_COUNTS_MAX)
            return LS_FAIL(LS_USAGE, "--nodes %s: up to %d numbers from 1 to 65536, by commas",
                           text, NODE_COUNTS_MAX);
        out->list[out->count++] = (int)nodes;
        at = end + (*end == ',');
    } while (*at != '\0');
    return LS_OK;
}
