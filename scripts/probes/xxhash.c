#include <stdio.h>
#include <xxhash.h>

int main(void)
{
    XXH128_hash_t hash = XXH3_128bits("a", 1);
    printf("%u\n", XXH_versionNumber());
    return hash.low64 == 0;
}
