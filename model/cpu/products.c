/* Matrix products by oneDNN, with every primitive that was made kept in a set-associative cache:
 * making one costs 0.25 to 0.9 ms, finding one a few nanoseconds.  Mask lengths vary, so the cache
 * is bounded: the least recently used primitive of a set makes room.  A product's scratch memory is
 * ours and grows when a primitive is made, never when one runs.
 *
 * A primitive holds about 80 KiB (measured), so the cache holds up to 80 MiB.  A step has some 70
 * different products, of which those of new mask lengths are new: making them is below 1 % of it.
 */
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/cpu/device.h"

enum { SETS = 128, WAYS = 8 };

struct entry {
    struct product product;
    uint64_t last_used; /* 0: free */
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c, bias, scratch;
};

struct products {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    uint64_t clock;
    void *scratch;
    size_t scratch_bytes;
    struct entry *entries; /* [SETS][WAYS] */
};

static const char *status_word(dnnl_status_t status)
{
    switch (status) {
    case dnnl_out_of_memory:
        return "out of memory";
    case dnnl_invalid_arguments:
        return "invalid arguments";
    case dnnl_unimplemented:
        return "not implemented on this machine";
    default:
        return "runtime error";
    }
}

/* Like LS_TRY for a oneDNN call. */
#define DNNL_TRY(call)                                                                             \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        if (status_ != dnnl_success) {                                                             \
            st = LS_FAIL(LS_DEVICE, "oneDNN: %s: %s", #call, status_word(status_));                \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

ls_status cpu_products_open(struct products **out)
{
    ls_status st = LS_OK;
    struct products *products = calloc(1, sizeof *products);
    if (products == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for matrix products");
    products->entries = calloc((size_t)SETS * WAYS, sizeof *products->entries);
    if (products->entries == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for matrix products");
        goto done;
    }
    /* Our cache keeps what is in use; a second one inside oneDNN would only hold memory. */
    DNNL_TRY(dnnl_set_primitive_cache_capacity(0));
    DNNL_TRY(dnnl_engine_create(&products->engine, dnnl_cpu, 0));
    DNNL_TRY(dnnl_stream_create(&products->stream, products->engine, dnnl_stream_default_flags));
    *out = products;
    products = NULL;
done:
    cpu_products_close(&products);
    return st;
}

/* Destroying cannot fail in a way that anyone could act upon. */
static void entry_clear(struct entry *entry)
{
    (void)dnnl_primitive_destroy(entry->primitive);
    (void)dnnl_memory_destroy(entry->a);
    (void)dnnl_memory_destroy(entry->b);
    (void)dnnl_memory_destroy(entry->c);
    (void)dnnl_memory_destroy(entry->bias);
    (void)dnnl_memory_destroy(entry->scratch);
    *entry = (struct entry){0};
}

void cpu_products_close(struct products **products)
{
    if (*products == NULL)
        return;
    for (int i = 0; (*products)->entries != NULL && i < SETS * WAYS; i++)
        if ((*products)->entries[i].last_used != 0)
            entry_clear(&(*products)->entries[i]);
    if ((*products)->stream != NULL)
        (void)dnnl_stream_destroy((*products)->stream);
    if ((*products)->engine != NULL)
        (void)dnnl_engine_destroy((*products)->engine);
    free((*products)->entries);
    free((*products)->scratch);
    free(*products);
    *products = NULL;
}

struct cpu_isa cpu_products_isa(void)
{
    struct cpu_isa isa = {.name = "sse41", .kernels = &cpu_kernels_sse41};
    dnnl_cpu_isa_t effective = dnnl_get_effective_cpu_isa();
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } known[] = {
        {dnnl_cpu_isa_avx, "avx"},
        {dnnl_cpu_isa_avx2, "avx2"},
        {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
        {dnnl_cpu_isa_avx512_core, "avx512_core"},
        {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
        {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
        {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"},
    };
    /* The values are sets of bits: a larger instruction set contains the smaller. */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (((unsigned)effective & (unsigned)known[i].isa) == (unsigned)known[i].isa)
            isa.name = known[i].name;
    if (((unsigned)effective & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core)
        isa.kernels = &cpu_kernels_avx512;
    else if (((unsigned)effective & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2)
        isa.kernels = &cpu_kernels_avx2;
    /* Measured: with AMX bf16 products are 5 times as fast as float32, on AMD's Zen 5 twice; on
     * Intel's AVX-512 without AMX they are half as fast.  A rule, not a measurement at start: noise
     * must not choose the dtype. */
    bool amx = ((unsigned)effective & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
    bool dot =
        ((unsigned)effective & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
    isa.pairs = dot ? &cpu_pair_kernels_avx512 : NULL;
    isa.fast_bf16 = amx || (dot && __builtin_cpu_is("amd") != 0);
    const dnnl_version_t *version = dnnl_version();
    (void)snprintf(isa.version, sizeof isa.version, "%d.%d.%d", version->major, version->minor,
                   version->patch);
    return isa;
}

static dnnl_data_type_t type_of(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? dnnl_bf16 : dnnl_f32;
}

static dnnl_status_t describe(dnnl_memory_desc_t *out, int64_t rows, int64_t columns,
                              enum op_dtype dtype, bool transposed)
{
    dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_init_by_tag(out, 2, dims, type_of(dtype),
                                        transposed ? dnnl_ba : dnnl_ab);
}

static ls_status grow_scratch(struct products *products, size_t bytes)
{
    if (bytes <= products->scratch_bytes)
        return LS_OK;
    bytes = (bytes + CPU_ALIGNMENT - 1) / CPU_ALIGNMENT * CPU_ALIGNMENT;
    void *grown = aligned_alloc(CPU_ALIGNMENT, bytes);
    if (grown == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory: %zu bytes of scratch for a product", bytes);
    free(products->scratch);
    products->scratch = grown;
    products->scratch_bytes = bytes;
    return LS_OK;
}

static ls_status make_primitive(struct products *products, struct entry *entry,
                                dnnl_primitive_attr_t attributes, const dnnl_matmul_desc_t *matmul)
{
    ls_status st = LS_OK;
    dnnl_primitive_desc_t description = NULL;
    DNNL_TRY(dnnl_primitive_desc_create(&description, matmul, attributes, products->engine, NULL));
    DNNL_TRY(dnnl_primitive_create(&entry->primitive, description));
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    LS_TRY(grow_scratch(products, dnnl_memory_desc_get_size(scratch)));
    DNNL_TRY(dnnl_memory_create(&entry->scratch, scratch, products->engine, DNNL_MEMORY_NONE));
done:
    if (description != NULL)
        (void)dnnl_primitive_desc_destroy(description);
    return st;
}

static ls_status make_entry(struct products *products, struct entry *entry,
                            const struct product *product)
{
    ls_status st = LS_OK;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t post_ops = NULL;
    dnnl_memory_desc_t a, b, c, bias;
    const struct product *p = product;
    DNNL_TRY(describe(&a, p->m, p->k, p->a_dtype, p->a_transposed));
    DNNL_TRY(describe(&b, p->k, p->n, p->b_dtype, p->b_transposed));
    DNNL_TRY(describe(&c, p->m, p->n, p->c_dtype, false));
    DNNL_TRY(describe(&bias, 1, p->n, OP_F32, false));
    dnnl_matmul_desc_t matmul;
    DNNL_TRY(dnnl_matmul_desc_init(&matmul, &a, &b, p->bias ? &bias : NULL, &c));
    DNNL_TRY(dnnl_primitive_attr_create(&attributes));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    if (p->accumulate) {
        DNNL_TRY(dnnl_post_ops_create(&post_ops));
        DNNL_TRY(dnnl_post_ops_append_sum(post_ops, 1.0f));
        DNNL_TRY(dnnl_primitive_attr_set_post_ops(attributes, post_ops));
    }
    LS_TRY(make_primitive(products, entry, attributes, &matmul));
    DNNL_TRY(dnnl_memory_create(&entry->a, &a, products->engine, DNNL_MEMORY_NONE));
    DNNL_TRY(dnnl_memory_create(&entry->b, &b, products->engine, DNNL_MEMORY_NONE));
    DNNL_TRY(dnnl_memory_create(&entry->c, &c, products->engine, DNNL_MEMORY_NONE));
    if (p->bias)
        DNNL_TRY(dnnl_memory_create(&entry->bias, &bias, products->engine, DNNL_MEMORY_NONE));
    entry->product = *product;
done:
    if (st != LS_OK)
        entry_clear(entry);
    if (post_ops != NULL)
        (void)dnnl_post_ops_destroy(post_ops);
    if (attributes != NULL)
        (void)dnnl_primitive_attr_destroy(attributes);
    return st;
}

static bool same_product(const struct product *x, const struct product *y)
{
    return x->m == y->m && x->n == y->n && x->k == y->k && x->a_dtype == y->a_dtype &&
           x->b_dtype == y->b_dtype && x->c_dtype == y->c_dtype &&
           x->a_transposed == y->a_transposed && x->b_transposed == y->b_transposed &&
           x->bias == y->bias && x->accumulate == y->accumulate;
}

static size_t set_of(const struct product *p)
{
    uint64_t hash = (uint64_t)p->m;
    hash = hash * 0x9e3779b97f4a7c15u + (uint64_t)p->n;
    hash = hash * 0x9e3779b97f4a7c15u + (uint64_t)p->k;
    hash = hash * 0x9e3779b97f4a7c15u + (uint64_t)(p->a_dtype | p->b_dtype << 1 | p->c_dtype << 2 |
                                                   p->a_transposed << 3 | p->b_transposed << 4 |
                                                   p->bias << 5 | p->accumulate << 6);
    hash *= 0x9e3779b97f4a7c15u;
    return (size_t)(hash >> 32) % SETS;
}

static ls_status find_entry(struct products *products, struct entry **out,
                            const struct product *product)
{
    ls_status st = LS_OK;
    struct entry *set = products->entries + set_of(product) * WAYS;
    struct entry *oldest = set;
    for (int way = 0; way < WAYS; way++) {
        if (set[way].last_used != 0 && same_product(&set[way].product, product)) {
            *out = &set[way];
            goto done;
        }
        if (set[way].last_used < oldest->last_used)
            oldest = &set[way];
    }
    if (oldest->last_used != 0)
        entry_clear(oldest);
    LS_TRY(make_entry(products, oldest, product));
    *out = oldest;
done:
    if (st == LS_OK)
        (*out)->last_used = ++products->clock;
    return st;
}

/* oneDNN's handles take pointers that are not const for operands that it only reads. */
static dnnl_status_t set_pointer(dnnl_memory_t memory, const void *pointer)
{
    union {
        const void *in;
        void *out;
    } handle = {.in = pointer};
    return dnnl_memory_set_data_handle(memory, handle.out);
}

ls_status cpu_product(struct op_device *device, const struct product *product, void *c,
                      const void *a, const void *b, const float *bias)
{
    ls_status st = LS_OK;
    struct products *products = device->products;
    if (product->m == 0 || product->n == 0)
        return LS_OK;
    struct entry *entry = NULL;
    if (device->kernels != &cpu_kernels_avx512 &&
        (product->a_dtype == OP_BF16 || product->b_dtype == OP_BF16))
        return LS_FAIL(LS_DEVICE, "this CPU has no bf16 products (AVX-512): use float32");
    /* The number belongs to the calling thread, and another device may have set it. */
    if (omp_get_max_threads() != device->threads)
        omp_set_num_threads(device->threads);
    LS_TRY(find_entry(products, &entry, product));
    DNNL_TRY(set_pointer(entry->a, a));
    DNNL_TRY(set_pointer(entry->b, b));
    DNNL_TRY(set_pointer(entry->c, c));
    DNNL_TRY(set_pointer(entry->scratch, products->scratch));
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, entry->a},
                                   {DNNL_ARG_WEIGHTS, entry->b},
                                   {DNNL_ARG_DST, entry->c},
                                   {DNNL_ARG_SCRATCHPAD, entry->scratch},
                                   {DNNL_ARG_BIAS, entry->bias}};
    if (product->bias)
        DNNL_TRY(set_pointer(entry->bias, bias));
    DNNL_TRY(dnnl_primitive_execute(entry->primitive, products->stream, product->bias ? 5 : 4,
                                    arguments));
    DNNL_TRY(dnnl_stream_wait(products->stream));
done:
    return st;
}
