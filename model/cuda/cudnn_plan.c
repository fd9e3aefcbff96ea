/* From an operation graph to a plan that runs. */
#include "model/cuda/cudnn_plan.h"

enum { CONFIGS_MAX = 8 };

/* Engine configs that the heuristics propose in `mode`, best first; none where `st` is a failure.
 */
static int propose(struct cudnn_graph *g, cudnnBackendHeurMode_t mode,
                   cudnnBackendDescriptor_t properties, cudnnBackendDescriptor_t *configs)
{
    int64_t found = 0;
    cudnnBackendDescriptor_t query = cudnn_make(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    cudnn_set_descriptor(g, query, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g->graph);
    cudnn_set(g, query, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    cudnn_set_descriptor(g, query, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties);
    cudnn_finalize(g, query, "heuristics");
    for (int i = 0; i < CONFIGS_MAX; i++)
        configs[i] = cudnn_make(g, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (g->failure != LS_OK)
        return 0;
    cudnnStatus_t status =
        g->calls->get_attribute(query, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                CONFIGS_MAX, &found, configs);
    if (status != CUDNN_STATUS_SUCCESS) {
        g->failure = cudnn_failed(g->calls, status, "heuristics");
        return 0;
    }
    return found < CONFIGS_MAX ? (int)found : CONFIGS_MAX;
}

static int64_t number_of(const struct cudnn_calls *calls, cudnnBackendDescriptor_t of,
                         cudnnBackendAttributeName_t name)
{
    int64_t count = 0;
    int64_t value = -1;
    (void)calls->get_attribute(of, name, CUDNN_TYPE_INT64, 1, &count, &value);
    return value;
}

static int64_t engine_of(struct cudnn_graph *g, cudnnBackendDescriptor_t config)
{
    int64_t count = 0;
    cudnnBackendDescriptor_t engine = cudnn_make(g, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (engine == NULL ||
        g->calls->get_attribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                1, &count, &engine) != CUDNN_STATUS_SUCCESS)
        return -1;
    return number_of(g->calls, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
}

/* A plan of one config; LS_DEVICE where it cannot be made or needs too much. */
static ls_status plan_of(struct cudnn_plan *out, cudnnBackendDescriptor_t config,
                         int64_t workspace_limit, cudnnBackendDescriptor_t properties)
{
    struct cudnn_graph *g = &out->graph;
    cudnnBackendDescriptor_t plan = cudnn_make(g, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    cudnn_set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    cudnn_set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties);
    cudnn_finalize(g, plan, "plan");
    ls_status st = g->failure;
    g->failure = LS_OK; /* another config may do */
    if (st != LS_OK)
        return st;
    out->workspace_bytes = number_of(g->calls, plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
    if (out->workspace_bytes < 0 || out->workspace_bytes > workspace_limit)
        return LS_FAIL(LS_DEVICE, "cuDNN: plan: needs %lld bytes of workspace, %lld are reserved",
                       (long long)out->workspace_bytes, (long long)workspace_limit);
    out->plan = plan;
    out->engine = engine_of(g, config);
    return LS_OK;
}

ls_status cudnn_plan_open(struct cudnn_plan *out, const struct cudnn_calls *calls,
                          const struct attention_shape *shape, int64_t workspace_limit,
                          cudnnBackendDescriptor_t properties)
{
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    ls_status st = LS_OK;
    cudnnBackendDescriptor_t configs[CONFIGS_MAX];
    struct cudnn_graph *g = &out->graph;
    *out = (struct cudnn_plan){0};
    cudnn_graph_open(g, calls);
    LS_TRY(cudnn_attention_graph(g, shape));
    st = LS_FAIL(LS_DEVICE, "cuDNN has no engine for it");
    for (size_t m = 0; m < sizeof modes / sizeof *modes && out->plan == NULL; m++) {
        const int count = propose(g, modes[m], properties, configs);
        if (g->failure != LS_OK) {
            st = g->failure;
            break;
        }
        for (int i = 0; i < count && out->plan == NULL; i++)
            st = plan_of(out, configs[i], workspace_limit, properties);
    }
done:
    if (st != LS_OK)
        cudnn_plan_close(out);
    return st;
}

void cudnn_plan_close(struct cudnn_plan *plan)
{
    cudnn_graph_close(&plan->graph);
    plan->plan = NULL;
}

ls_status cudnn_plan_run(const struct cudnn_plan *plan, cudnnHandle_t handle, const int64_t *ids,
                         void *const *pointers, int count, void *workspace_dev)
{
    const struct cudnn_calls *calls = plan->graph.calls;
    cudnnBackendDescriptor_t pack = NULL;
    const char *what = "variant pack";
    cudnnStatus_t status = calls->create_descriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = calls->set_attribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
                                      count, ids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = calls->set_attribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                      CUDNN_TYPE_VOID_PTR, count, pointers);
    if (status == CUDNN_STATUS_SUCCESS)
        status = calls->set_attribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR,
                                      1, &workspace_dev);
    if (status == CUDNN_STATUS_SUCCESS)
        status = calls->finalize(pack);
    if (status == CUDNN_STATUS_SUCCESS) {
        what = "execute";
        status = calls->execute(handle, plan->plan, pack);
    }
    ls_status st = status == CUDNN_STATUS_SUCCESS ? LS_OK : cudnn_failed(calls, status, what);
    if (pack != NULL)
        (void)calls->destroy_descriptor(pack);
    return st;
}
