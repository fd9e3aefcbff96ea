#include <hdf5.h>
#include <stdio.h>

int main(void)
{
    unsigned major, minor, release;
    if (H5get_libversion(&major, &minor, &release) < 0)
        return 1;
    printf("%u.%u.%u\n", major, minor, release);
    return 0;
}
