/* What a training step should take on a card that nobody has here, by part.
 *
 *   bench_predict [--flops F] [--bytes B] [--bucket TOKENS] [--only NAME]
 *
 * The step's own host code runs with operators that compute nothing and count: FLOPs and bytes of
 * every call, in bf16, with lengths in buckets as on a card.  The floor of a call is the longer of
 * its FLOPs at F and its bytes at B a second (tests/support/op_timing.h); default: 798e12 and
 * 3.0e12, the bf16 products and the copies measured on an H100.  The sum of floors is what the
 * kernels as they are cut today cannot go below; real kernels reach a share of it.  Also: the
 * model's FLOPs over that time and the ceiling, calls of operators a step, and the share of
 * padding.  Nothing of it was measured on a card. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "model/counting.h"
#include "model/jepa.h"
#include "tests/support/op_timing.h"
#include "tests/support/step_subject.h"

enum { MASKS = 4, ROW_MULTIPLE = 8 };

static void print_parts(const struct step_subject *subject, double flops, double padding,
                        double ceiling)
{
    double total = 0.0;
    int64_t calls = 0;
    for (int i = 0; i < OP_FAMILY_COUNT; i++) {
        total += op_timing_read((enum op_family)i).floor / MASKS;
        calls += op_timing_read((enum op_family)i).calls / MASKS;
    }
    (void)printf("%-10s %2d x %d x %d, %d clips  %8.1f ms  %6.2f clips/s  %5.1f TFLOP a step, "
                 "%4.1f %% of %.0f TFLOP/s  padding %.1f %%  %lld calls\n",
                 subject->name, subject->frames, subject->pixels, subject->pixels, subject->clips,
                 1e3 * total, subject->clips / total, 1e-12 * flops,
                 100.0 * flops / total / ceiling, 1e-12 * ceiling, 100.0 * padding,
                 (long long)calls);
    for (int i = 0; i < OP_FAMILY_COUNT; i++) {
        const struct op_account account = op_timing_read((enum op_family)i);
        (void)printf("    %-24s %8.2f ms %5.1f %%  %8.2f GB  %8.3f TFLOP\n",
                     op_family_name((enum op_family)i), 1e3 * account.floor / MASKS,
                     100.0 * account.floor / MASKS / total, 1e-9 * account.bytes / MASKS,
                     1e-12 * account.flops / MASKS);
    }
}

static ls_status count_step(struct jepa *jepa, const struct jepa_batch *batch, double *flops,
                            double *padding)
{
    ls_status st = LS_OK;
    struct jepa_result result;
    double norm = 0.0;
    const struct jepa_update update = {.ema_keep = 0.999, .gradient_scale = 1.0};
    LS_TRY(jepa_begin_step(jepa));
    LS_TRY(jepa_micro_batch(jepa, batch, 1.0, NULL, NULL));
    LS_TRY(jepa_gradient_norm(jepa, &norm));
    LS_TRY(jepa_update(jepa, &update));
    LS_TRY(jepa_result(jepa, &result));
    *flops += result.flops / MASKS;
    *padding += (double)result.padding_rows / (double)result.rows / MASKS;
done:
    return st;
}

static ls_status predict(const struct step_subject *subject, double ceiling, int bucket)
{
    ls_status st = LS_OK;
    struct op_device *device = NULL;
    /* As a card's table; its operators are never called (op_timing_only_counts). */
    struct op_table table = {.name = "counts", .rounds_bias = true, .row_multiple = ROW_MULTIPLE};
    struct jepa *jepa = NULL;
    struct step_batches batches = {0};
    double flops = 0.0;
    double padding = 0.0;
    struct jepa_options options = step_subject_options(subject, subject->clips, OP_BF16);
    options.bucket_tokens = bucket > 0 ? bucket : jepa_bucket_tokens(step_subject_tokens(subject));
    LS_TRY(step_batches_draw(&batches, subject, subject->clips, MASKS));
    counting_table(&table);
    LS_TRY(counting_open(&device, NULL, NULL));
    LS_TRY(jepa_open(&jepa, &options, op_timing_table(&table, clock_now_s), device));
    op_timing_reset();
    for (int m = 0; m < MASKS; m++)
        LS_TRY(count_step(jepa, &batches.batches[m], &flops, &padding));
    print_parts(subject, flops, padding, ceiling);
done:
    jepa_close(&jepa);
    counting_close(&device);
    step_batches_free(&batches);
    return st;
}

int main(int argc, char **argv)
{
    double flops = 798e12;
    double bytes = 3.0e12;
    int bucket = 0;
    const char *only = NULL;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--flops") == 0)
            flops = strtod(argv[i + 1], NULL);
        else if (i + 1 < argc && strcmp(argv[i], "--bytes") == 0)
            bytes = strtod(argv[i + 1], NULL);
        else if (i + 1 < argc && strcmp(argv[i], "--bucket") == 0)
            bucket = (int)strtol(argv[i + 1], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
        else
            flops = 0.0;
    }
    if (flops <= 0.0 || bytes <= 0.0 || bucket < 0) {
        (void)fprintf(
            stderr,
            "usage: bench_predict [--flops F] [--bytes B] [--bucket TOKENS] [--only NAME]\n");
        return 2;
    }
    op_timing_rates(flops, bytes);
    op_timing_only_counts(true);
    (void)printf("floors of a training step, bf16, at %.0f TFLOP/s and %.1f TB/s; computed, not "
                 "measured\n",
                 1e-12 * flops, 1e-12 * bytes);
    int count = 0;
    const struct step_subject *list = step_subjects(STEP_CARD, &count);
    for (int i = 0; i < count; i++) {
        if (only != NULL && !step_subject_called(&list[i], only))
            continue;
        const ls_status st = predict(&list[i], flops, bucket);
        if (st != LS_OK) {
            (void)fprintf(stderr, "bench_predict: %s\n", status_text());
            return status_exit_code(st);
        }
    }
    return 0;
}
