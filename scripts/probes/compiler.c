#include <omp.h>
#include <stdio.h>

int main(void)
{
    int n = 0;
#pragma omp parallel num_threads(2)
    {
#pragma omp atomic
        n += 1;
    }
    printf("%s, %d OpenMP threads by default\n", __VERSION__, omp_get_max_threads());
    return n < 1 || __STDC_VERSION__ < 201710L;
}
