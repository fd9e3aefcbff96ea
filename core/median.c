#include "core/median.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

void median_sort(double *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
}

double median_of(double *values, int64_t count)
{
    median_sort(values, count);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}
