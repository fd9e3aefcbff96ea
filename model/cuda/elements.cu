/* Operators that look at one element at a time: cast, GELU.  All are bound by memory: they read
 * every
 * input once and write every output once, 8 elements a thread in accesses of 16 bytes where memory
 * is aligned for it, and compute in float32.  Deterministic.  Up to 2^31 - 1 blocks of THREADS
 * elements. */
#include "model/cuda/internal.h"

enum { THREADS = 256, WIDE = 8 };

struct normal {
    float cumulative, bell; /* Phi(a), e^(-a^2/2) */
};

/* Phi(-t) = e^(-t^2/2) u Q(u), u = 1 / (1 + 0.3 t), for t in [0, 10]; Q is the CPU twin's
 * (model/cpu/vector.inc, relative error 5e-8).  A small value keeps its relative accuracy, which
 * 1 + erf would lose, and one exponential serves Phi and its slope.  NaN stays. */
static __device__ struct normal normal_at(float a)
{
    float t = fabsf(a) > 10.0F ? 10.0F : fabsf(a);
    struct normal at;
    at.bell = expf(-0.5F * t * t);
    float u = 1.0F / (1.0F + 0.3F * t);
    float q = 0.037547775F;
    q = fmaf(q, u, -0.16507639F);
    q = fmaf(q, u, 0.2200832F);
    q = fmaf(q, u, -0.066522576F);
    q = fmaf(q, u, 0.13549544F);
    q = fmaf(q, u, 0.09775636F);
    q = fmaf(q, u, 0.12111116F);
    q = fmaf(q, u, 0.11960505F);
    float tail = q * u * at.bell;
    at.cumulative = a < 0.0F ? tail : 1.0F - tail;
    return at;
}

struct same {
    __device__ float operator()(float a) const
    {
        return a;
    }
};

/* a Phi(a), not the tanh form. */
struct gelu {
    __device__ float operator()(float a) const
    {
        return a * normal_at(a).cumulative;
    }
};

/* dy gelu'(a), gelu'(a) = Phi(a) + a phi(a). */
struct gelu_slope {
    __device__ float operator()(float dy, float a) const
    {
        const struct normal at = normal_at(a);
        return dy * fmaf(0.39894228F * a, at.bell, at.cumulative);
    }
};

/* y = f(x), rounded to nearest even.  One thread N elements; the last may have fewer. */
template <int N, typename Y, typename X, typename F>
static __global__ void map_kernel(Y *y, const X *x, int64_t count, F f)
{
    int64_t first = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (first + N > count) {
        for (int64_t i = first; i < count; i++)
            store(y + i, f(load(x + i)));
        return;
    }
    struct pack<X, N> in = load_pack<N>(x + first);
    struct pack<Y, N> out;
#pragma unroll
    for (int n = 0; n < N; n++)
        store(&out.v[n], f(load(&in.v[n])));
    store_pack(y + first, out);
}

/* y = f(a, x); y may be a. */
template <int N, typename Y, typename X, typename F>
static __global__ void map_two_kernel(Y *y, const Y *a, const X *x, int64_t count, F f)
{
    int64_t first = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (first + N > count) {
        for (int64_t i = first; i < count; i++)
            store(y + i, f(load(a + i), load(x + i)));
        return;
    }
    struct pack<Y, N> in_a = load_pack<N>(a + first);
    struct pack<X, N> in = load_pack<N>(x + first);
    struct pack<Y, N> out;
#pragma unroll
    for (int n = 0; n < N; n++)
        store(&out.v[n], f(load(&in_a.v[n]), load(&in.v[n])));
    store_pack(y + first, out);
}

template <typename F>
static ls_status map(struct op_device *device, struct op_matrix y, struct op_matrix x, F f,
                     const char *name)
{
    const int64_t count = y.rows * y.columns;
    if (count == 0)
        return LS_OK;
    const bool wide = is_aligned(y.data_dev) && is_aligned(x.data_dev);
    LS_BY_DTYPE(y.dtype, Y, LS_BY_DTYPE(x.dtype, X, {
                    auto kernel = wide ? map_kernel<WIDE, Y, X, F> : map_kernel<1, Y, X, F>;
                    LS_LAUNCH(kernel, blocks_of(count, wide ? THREADS * WIDE : THREADS), THREADS, 0,
                              device->stream, (Y *)y.data_dev, (const X *)x.data_dev, count, f);
                }));
    return launch_check(name);
}

ls_status cast_cuda(struct op_device *device, struct op_matrix to, struct op_matrix from)
{
    if (from.rows != to.rows || from.columns != to.columns)
        return LS_FAIL(LS_USAGE, "cast: shapes differ");
    return map(device, to, from, same{}, "cast");
}

ls_status linear_gelu_fwd_cuda(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                               struct op_matrix x, struct op_matrix w, const float *b_dev)
{
    ls_status st = LS_OK;
    struct op_matrix target = pre.data_dev != NULL ? pre : y;
    LS_TRY(linear_fwd_cuda(device, target, x, w, b_dev, false));
    LS_TRY(map(device, y, target, gelu{}, "gelu"));
done:
    return st;
}

ls_status gelu_bwd_cuda(struct op_device *device, struct op_matrix dpre, struct op_matrix dy,
                        struct op_matrix pre)
{
    const int64_t count = dy.rows * dy.columns;
    if (dpre.dtype != dy.dtype || pre.rows != dy.rows || pre.columns != dy.columns)
        return LS_FAIL(LS_USAGE, "gelu backward: shapes or dtypes do not fit");
    if (count == 0)
        return LS_OK;
    const bool wide =
        is_aligned(dpre.data_dev) && is_aligned(dy.data_dev) && is_aligned(pre.data_dev);
    LS_BY_DTYPE(dy.dtype, D, LS_BY_DTYPE(pre.dtype, X, {
                    auto kernel = wide ? map_two_kernel<WIDE, D, X, gelu_slope>
                                       : map_two_kernel<1, D, X, gelu_slope>;
                    LS_LAUNCH(kernel, blocks_of(count, wide ? THREADS * WIDE : THREADS), THREADS, 0,
                              device->stream, (D *)dpre.data_dev, (const D *)dy.data_dev,
                              (const X *)pre.data_dev, count, gelu_slope{});
                }));
    return launch_check("gelu_bwd");
}
