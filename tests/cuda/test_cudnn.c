/* The operation graphs of attention against cuDNN without a card: built, finalized, and planned for
 * an H100 that is described in JSON, its kernels compiled by NVRTC.  Nothing runs.  In the emulated
 * build the same cases hold the stand-in to what the real library was seen to refuse. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/cuda/cudnn_plan.h"

/* What cuDNN asks of a card, as it writes it itself; numbers of the H100 SXM5's data sheet and the
 * CUDA programming guide's table for compute capability 9.0. */
static const char h100[] =
    "{\"deviceVer\":900,\"driverVer\":13000,\"cudaDeviceId\":0,"
    "\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,"
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":9008,\"isTccDriver\":0,"
    "\"supportCoopLaunch\":1,\"smClockRateKHz\":1980000,\"memClockRateKHz\":2619000,"
    "\"l2CacheSize\":52428800,\"totalGlobalMem\":85024112640,"
    "\"deviceName\":\"NVIDIA H100 80GB HBM3\"}";

static struct cudnn_calls calls;
static struct cudnn_graph card; /* owns the description of the card */
static cudnnBackendDescriptor_t properties;
static const char *missing; /* why the tests cannot run */
static bool planning;       /* plans can be made, not only graphs */

/* A machine with a driver has its libcuda.so.1; elsewhere the fake one stands in.  Without either
 * cuDNN makes no plans; its stand-in in the emulated build needs none. */
static bool find_driver(void)
{
    const char *fake = getenv("FAKE_DRIVER");
    return strcmp(LOCKSTEP_GPU, "emulated") == 0 ||
           dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) != NULL ||
           (fake != NULL && dlopen(fake, RTLD_NOW | RTLD_GLOBAL) != NULL);
}

static int describe_card(void **state)
{
    (void)state;
    planning = find_driver();
    if (cudnn_library_open(&calls) != LS_OK) {
        missing = status_message();
        return 0;
    }
    cudnn_graph_open(&card, &calls);
    properties = cudnn_make(&card, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    cudnn_set(&card, properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
              (int64_t)sizeof h100, h100);
    cudnn_finalize(&card, properties, "H100");
    print_message("cuDNN %zu: %s; nothing runs\n", calls.version,
                  planning ? "plans for an NVIDIA H100 described in JSON"
                           : "graphs only, there is no libcuda.so.1 and no FAKE_DRIVER");
    return card.failure == LS_OK ? 0 : -1;
}

static int forget_card(void **state)
{
    (void)state;
    if (missing == NULL)
        cudnn_graph_close(&card);
    return 0;
}

static void need_library(void)
{
    if (missing == NULL)
        return;
    print_message("skipped: %s\n", missing);
    skip();
}

static const struct model {
    const char *name;
    int heads, width;
} models[] = {{"ViT-L", 16, 64},
              {"ViT-H", 16, 80},
              {"ViT-g", 22, 64},
              {"vit_small", 6, 64},
              {"predictor", 12, 32}};

/* A step of ViT at 16 x 256, 24 clips: the context of both mask groups, or the target's strides. */
static struct attention_shape shape_of(const struct model *model, bool ragged, bool backward,
                                       bool deterministic)
{
    struct attention_shape s = {.sequences = 24,
                                .heads = model->heads,
                                .all_heads = model->heads,
                                .width = model->width,
                                .queries = 1024,
                                .keys = 1024,
                                .query_rows = 24 * 1024,
                                .key_rows = 24 * 1024,
                                .backward = backward,
                                .lse = true,
                                .deterministic = deterministic};
    if (!ragged)
        s.query_step = s.key_step = 1024;
    return s;
}

static void expect_plan(const struct model *model, const struct attention_shape *shape)
{
    struct cudnn_plan plan;
    const char *what =
        shape->backward ? shape->deterministic ? "backward, fixed order" : "backward" : "forward";
    const char *where = shape->query_step > 0 ? "strided" : "ragged";
    int64_t scores = 2L * shape->sequences * shape->heads * shape->queries * shape->keys;
    int64_t limit = (shape->deterministic ? scores : 0) + (1 << 20) + 4096L * shape->sequences;
    if (!planning) {
        struct cudnn_graph graph;
        cudnn_graph_open(&graph, &calls);
        assert_int_equal(cudnn_attention_graph(&graph, shape), LS_OK);
        cudnn_graph_close(&graph);
        return;
    }
    if (cudnn_plan_open(&plan, &calls, shape, limit, properties) != LS_OK) {
        fail_msg("%s, %s, %s: %s", model->name, what, where, status_message());
        return;
    }
    print_message("%s: %d heads of %d, %s, %s: engine %lld, workspace %lld bytes\n", model->name,
                  shape->heads, shape->width, what, where, (long long)plan.engine,
                  (long long)plan.workspace_bytes);
    assert_true(plan.engine >= 0);
    cudnn_plan_close(&plan);
}

static void every_model_gets_its_plans(void **state)
{
    (void)state;
    need_library();
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int ragged = 0; ragged < 2; ragged++) {
            struct attention_shape forward = shape_of(&models[i], ragged != 0, false, false);
            struct attention_shape backward = shape_of(&models[i], ragged != 0, true, true);
            struct attention_shape atomics = shape_of(&models[i], ragged != 0, true, false);
            expect_plan(&models[i], &forward);
            expect_plan(&models[i], &backward);
            if (ragged != 0)
                expect_plan(&models[i], &atomics);
        }
}

static void few_queries_of_many_keys_get_a_plan(void **state)
{
    (void)state;
    need_library();
    struct attention_shape shape = shape_of(&models[0], true, false, false);
    shape.lse = false;
    shape.queries = 1536;
    shape.keys = 2048;
    shape.query_rows = 24 * 1536;
    shape.key_rows = 24 * 2048;
    expect_plan(&models[0], &shape);
}

static void head_widths_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    need_library();
    static const struct model odd[] = {{"36", 12, 36}, {"264", 4, 264}};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct cudnn_plan plan;
        struct attention_shape shape = shape_of(&odd[i], false, true, true);
        assert_int_equal(cudnn_plan_open(&plan, &calls, &shape, 1L << 40, properties), LS_DEVICE);
        status_clear();
    }
}

static void a_workspace_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    need_library();
    if (!planning)
        skip();
    struct cudnn_plan plan;
    struct attention_shape shape = shape_of(&models[0], false, true, true);
    assert_int_equal(cudnn_plan_open(&plan, &calls, &shape, 1 << 20, properties), LS_DEVICE);
    assert_non_null(strstr(status_message(), "workspace"));
}

/* Descriptors that must not be finalized.  Each builds something wrong in a graph of its own. */
static cudnnBackendDescriptor_t plain(struct cudnn_graph *g, int64_t rows, int64_t columns,
                                      cudnnDataType_t type)
{
    const struct cudnn_tensor t = {.id = 1 + g->made_count,
                                   .type = type,
                                   .size = {2, 1, rows, columns},
                                   .stride = {rows * columns, rows * columns, columns, 1}};
    return cudnn_tensor_make(g, &t, "tensor");
}

static void tensor_without_sizes(struct cudnn_graph *g)
{
    const int64_t id = 1;
    const int64_t strides[4] = {1, 1, 1, 1};
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t t = cudnn_make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    cudnn_set(g, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    cudnn_set(g, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    cudnn_set(g, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    cudnn_set(g, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &id);
    cudnn_finalize(g, t, "tensor");
}

static void ragged_offsets(struct cudnn_graph *g, int64_t count, cudnnDataType_t type)
{
    const struct cudnn_tensor offsets = {
        .id = 1, .type = type, .size = {count, 1, 1, 1}, .stride = {1, 1, 1, 1}};
    const struct cudnn_tensor t = {.id = 2,
                                   .type = CUDNN_DATA_BFLOAT16,
                                   .size = {2, 4, 8, 8},
                                   .stride = {256, 64, 8, 1},
                                   .ragged = cudnn_tensor_make(g, &offsets, "offsets")};
    (void)cudnn_tensor_make(g, &t, "tensor");
}

static void too_few_offsets(struct cudnn_graph *g)
{
    ragged_offsets(g, 2, CUDNN_DATA_INT64);
}

static void offsets_of_floats(struct cudnn_graph *g)
{
    ragged_offsets(g, 3, CUDNN_DATA_FLOAT);
}

static void product_of_sizes_that_do_not_fit(struct cudnn_graph *g)
{
    cudnn_matmul(g,
                 (struct cudnn_matmul){.a = plain(g, 8, 16, CUDNN_DATA_BFLOAT16),
                                       .b = plain(g, 8, 16, CUDNN_DATA_BFLOAT16),
                                       .c = plain(g, 8, 16, CUDNN_DATA_BFLOAT16)},
                 "product");
}

static void product_without_a_result(struct cudnn_graph *g)
{
    cudnn_matmul(g,
                 (struct cudnn_matmul){.a = plain(g, 8, 16, CUDNN_DATA_BFLOAT16),
                                       .b = plain(g, 16, 8, CUDNN_DATA_BFLOAT16)},
                 "product");
}

static void choice_without_a_condition(struct cudnn_graph *g)
{
    cudnn_pointwise(g,
                    (struct cudnn_pointwise){.mode = CUDNN_POINTWISE_BINARY_SELECT,
                                             .x = plain(g, 8, 16, CUDNN_DATA_FLOAT),
                                             .b = plain(g, 8, 16, CUDNN_DATA_FLOAT),
                                             .y = plain(g, 8, 16, CUDNN_DATA_FLOAT),
                                             .compute = CUDNN_DATA_FLOAT},
                    "choice");
}

static void reshape_of_another_count(struct cudnn_graph *g)
{
    cudnn_reshape(g, plain(g, 8, 16, CUDNN_DATA_FLOAT), plain(g, 8, 8, CUDNN_DATA_FLOAT),
                  "reshape");
}

static void finish(struct cudnn_graph *g)
{
    ls_status st = cudnn_graph_finish(g);
    assert_int_equal(st, g->failure);
}

static void graph_of_nothing(struct cudnn_graph *g)
{
    finish(g);
}

static void two_writers_of_a_tensor(struct cudnn_graph *g)
{
    struct cudnn_pointwise p = {.mode = CUDNN_POINTWISE_EXP,
                                .x = plain(g, 8, 16, CUDNN_DATA_FLOAT),
                                .y = plain(g, 8, 16, CUDNN_DATA_FLOAT),
                                .compute = CUDNN_DATA_FLOAT};
    cudnn_pointwise(g, p, "exp");
    cudnn_pointwise(g, p, "exp");
    finish(g);
}

struct forward { /* an attention of 2 sequences, 1 head, 16 x 16 tokens of width 8 */
    int64_t key_width, output_rows, lse_columns, length_count;
    cudnnDataType_t length_type;
    bool leave_out_v;
};

static void forward_of(struct cudnn_graph *g, const struct forward *f)
{
    const struct cudnn_tensor lengths = {.id = 99,
                                         .type = f->length_type,
                                         .size = {f->length_count, 1, 1, 1},
                                         .stride = {1, 1, 1, 1}};
    cudnnBackendDescriptor_t q = plain(g, 16, 8, CUDNN_DATA_BFLOAT16);
    cudnnBackendDescriptor_t k = plain(g, 16, f->key_width, CUDNN_DATA_BFLOAT16);
    cudnnBackendDescriptor_t v = plain(g, 16, 8, CUDNN_DATA_BFLOAT16);
    cudnnBackendDescriptor_t o = plain(g, f->output_rows, 8, CUDNN_DATA_BFLOAT16);
    cudnnBackendDescriptor_t lse = plain(g, 16, f->lse_columns, CUDNN_DATA_FLOAT);
    cudnnBackendDescriptor_t length = cudnn_tensor_make(g, &lengths, "lengths");
    cudnnBackendDescriptor_t run = cudnn_make(g, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, k);
    if (!f->leave_out_v)
        cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, o);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, lse);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, length);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, length);
    cudnn_operation(g, run, "forward");
}

static void malformed_forwards_are_refused(void **state)
{
    (void)state;
    need_library();
    static const struct forward right = {8, 16, 1, 2, CUDNN_DATA_INT32, false};
    static const struct forward wrong[] = {
        {8, 16, 1, 2, CUDNN_DATA_INT32, true},  {16, 16, 1, 2, CUDNN_DATA_INT32, false},
        {8, 24, 1, 2, CUDNN_DATA_INT32, false}, {8, 16, 2, 2, CUDNN_DATA_INT32, false},
        {8, 16, 1, 3, CUDNN_DATA_INT32, false}, {8, 16, 1, 2, CUDNN_DATA_FLOAT, false}};
    struct cudnn_graph graph;
    cudnn_graph_open(&graph, &calls);
    forward_of(&graph, &right);
    assert_int_equal(graph.failure, LS_OK);
    cudnn_graph_close(&graph);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cudnn_graph_open(&graph, &calls);
        forward_of(&graph, &wrong[i]);
        if (graph.failure == LS_OK)
            fail_msg("forward %zu is taken", i);
        cudnn_graph_close(&graph);
    }
}

static void malformed_graphs_are_refused(void **state)
{
    (void)state;
    need_library();
    static const struct {
        const char *name;
        void (*build)(struct cudnn_graph *graph);
    } cases[] = {{"tensor without sizes", tensor_without_sizes},
                 {"too few offsets", too_few_offsets},
                 {"offsets of floats", offsets_of_floats},
                 {"product of sizes that do not fit", product_of_sizes_that_do_not_fit},
                 {"product without a result", product_without_a_result},
                 {"choice without a condition", choice_without_a_condition},
                 {"reshape of another count", reshape_of_another_count},
                 {"graph of nothing", graph_of_nothing},
                 {"two writers of a tensor", two_writers_of_a_tensor}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cudnn_graph graph;
        cudnn_graph_open(&graph, &calls);
        cases[i].build(&graph);
        if (graph.failure == LS_OK)
            fail_msg("%s is taken", cases[i].name);
        cudnn_graph_close(&graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_gets_its_plans),
        cmocka_unit_test(few_queries_of_many_keys_get_a_plan),
        cmocka_unit_test(head_widths_that_do_not_fit_are_refused),
        cmocka_unit_test(a_workspace_that_does_not_fit_is_refused),
        cmocka_unit_test(malformed_forwards_are_refused),
        cmocka_unit_test(malformed_graphs_are_refused),
    };
    return cmocka_run_group_tests(tests, describe_card, forget_card);
}
