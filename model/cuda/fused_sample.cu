/* Sequences made up for the comparison of a plan: some as long as the plan's bounds allow, others
 * shorter, down to one token, within the rows that there are. */
#include "model/cuda/attention.h"
#include "model/cuda/fused.h"

#include <stdlib.h>

enum { SIDES = 2, ARRAYS = 2, PATTERN = 3 };

/* Length of sequence `s`, with `room` rows left for it. */
static int64_t length_of(int s, int64_t bound, int64_t room)
{
    const int64_t shares[PATTERN] = {8, 5, 2}; /* eighths */
    int64_t length = bound * shares[s % PATTERN] / 8;
    length = length < room ? length : room;
    return length > 0 ? length : 1;
}

/* Starts and lengths of one side into host[2 * count]. */
static struct op_sequences lay_out(int32_t *host, int count, int bound, int64_t step, int64_t rows)
{
    struct op_sequences out = {};
    out.count = count;
    out.rows = out.head_rows = rows;
    out.step = step;
    out.max_length = bound;
    out.start = host;
    out.length = host + count;
    int64_t next = 0;
    for (int s = 0; s < count; s++) {
        const int64_t start = step > 0 ? s * step : next;
        const int64_t length = length_of(s, bound, rows - start - (count - s - 1));
        host[s] = (int32_t)start;
        host[count + s] = (int32_t)length;
        next = start + length;
        out.true_rows += length;
    }
    return out;
}

ls_status attention_sample_open(struct attention_sample *out, struct op_device *device,
                                const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    const int count = shape->sequences;
    const size_t side = (size_t)(ARRAYS * count);
    const size_t bytes = SIDES * side * sizeof(int32_t);
    *out = {};
    out->lists = (int32_t *)malloc(bytes);
    if (out->lists == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the sequences of a check");
    if (cudaMalloc((void **)&out->lists_dev, bytes) != cudaSuccess) {
        (void)cudaGetLastError();
        out->lists_dev = NULL;
        return LS_OK;
    }
    out->queries = lay_out(out->lists, count, shape->queries, shape->query_step, shape->query_rows);
    out->keys = lay_out(out->lists + side, count, shape->keys, shape->key_step, shape->key_rows);
    out->queries.start_dev = out->lists_dev;
    out->queries.length_dev = out->lists_dev + count;
    out->keys.start_dev = out->lists_dev + side;
    out->keys.length_dev = out->lists_dev + side + count;
    CUDA_TRY(
        cudaMemcpyAsync(out->lists_dev, out->lists, bytes, cudaMemcpyHostToDevice, device->stream));
done:
    return st;
}

void attention_sample_close(struct attention_sample *sample, struct op_device *device)
{
    (void)cudaStreamSynchronize(device->stream);
    (void)cudaFree(sample->lists_dev);
    free(sample->lists);
    *sample = {};
}
