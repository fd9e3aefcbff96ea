/* What a step will take on more nodes: computed from parts that were measured on one, and from the
 * network.
 *
 * compute   a micro-batch without waiting, as measured, or FLOPs over the speed of a GPU
 * CPU       what the all-reduce takes from the cores that also compute (MPI only): a worker that
 * has
 *           half a core loses twice the time
 * network   the gradient's way through a node's link; it begins when backward of the last
 *           micro-batch has its first bucket, and the last bucket cannot be hidden
 * ranks     the slowest of n workers whose step times scatter: its expected place among n normal
 *           values (Blom, 1958)
 */
#ifndef LOCKSTEP_LAUNCHER_FORECAST_H
#define LOCKSTEP_LAUNCHER_FORECAST_H

#include <stdbool.h>

struct forecast_parts {
    double micro_s;        /* one micro-batch on one worker, without waiting */
    int micro_batches;     /* of a step, however many workers; 0: one for each worker */
    double backward_share; /* of that: backward */
    double scatter;        /* standard deviation of a worker's step time, share of it */
    double clips;          /* of a micro-batch */
    double gradient_bytes; /* summed over ranks, once a step */
    int buckets;           /* that the gradient is cut into */
    double link_bytes_s;   /* of a node, each direction; 0: no limit */
    double latency_s;      /* of a small exchange between all */
    double cpu_s_a_byte;   /* a rank's CPU time for a byte on the bus; 0 for NCCL */
    double cores;          /* of a worker, that compute and network share */
    int workers_a_node;
    bool within_nodes; /* NCCL sums within a node first: the gradient leaves it once, not once for
                          each worker */
};

struct forecast {
    double step_s, clips_per_s, efficiency;
    double network_s;  /* of the all-reduce, hidden or not */
    double exposed_s;  /* of it, not hidden behind backward */
    double ranks_s;    /* for the slowest */
    const char *bound; /* "compute", "network" or "slow ranks": what would help most */
};

/* `nodes` at least 1; efficiency is against one node of the same parts.  Local. */
void forecast_step(struct forecast *out, const struct forecast_parts *parts, int nodes);

#endif
