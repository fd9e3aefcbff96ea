#include "launcher/forecast.h"

#include <math.h>

/* Expected place of the largest of n standard normal values (Blom's approximation), by bisection
 * of the normal distribution. */
static double largest_of(int n)
{
    if (n < 2)
        return 0;
    double wanted = (n - 0.375) / (n + 0.25);
    double low = 0;
    double high = 8;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (0.5 * erfc(-middle / sqrt(2.0)) < wanted)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Seconds that the gradient takes through a node's link: every worker sends its share of each
 * other node's slices, and then its own sums. */
static double link_s(const struct forecast_parts *p, int nodes)
{
    if (nodes < 2 || p->link_bytes_s <= 0)
        return 0;
    int copies = p->within_nodes ? 1 : p->workers_a_node;
    double leaving = 2.0 * p->gradient_bytes * copies * (nodes - 1) / nodes;
    return leaving / p->link_bytes_s;
}

static void one(struct forecast *out, const struct forecast_parts *p, int nodes)
{
    int workers = nodes * p->workers_a_node;
    double bus = workers > 1 ? 2.0 * p->gradient_bytes * (workers - 1) / workers : 0;
    double cpu_s = p->cpu_s_a_byte * bus / (p->cores > 0 ? p->cores : 1); /* as wall time */
    int micro_batches = p->micro_batches > 0 ? p->micro_batches : workers;
    int most = (micro_batches + workers - 1) / workers; /* of one worker */
    double compute_s = p->micro_s * most;
    double backward_s = p->micro_s * p->backward_share; /* of the last one */
    out->network_s = link_s(p, nodes) + (workers > 1 ? p->latency_s : 0);
    double behind_s = backward_s * (1 - 1.0 / p->buckets);
    double rest_s = out->network_s / p->buckets;
    /* Its CPU time is another thing that passes while it travels. */
    out->exposed_s = fmax(rest_s, out->network_s - behind_s - cpu_s);
    if (workers < 2)
        out->exposed_s = 0;
    out->ranks_s = compute_s * p->scatter * largest_of(workers);
    out->step_s = compute_s + cpu_s + out->exposed_s + out->ranks_s;
    out->clips_per_s = p->clips * micro_batches / out->step_s;
    out->bound = out->exposed_s > 0.1 * out->step_s && out->exposed_s > out->ranks_s ? "network"
                 : out->ranks_s > 0.1 * out->step_s                                  ? "slow ranks"
                                                                                     : "compute";
}

void forecast_step(struct forecast *out, const struct forecast_parts *parts, int nodes)
{
    struct forecast single;
    one(&single, parts, 1);
    one(out, parts, nodes);
    out->efficiency = out->clips_per_s / nodes / single.clips_per_s;
}
