#include <cjson/cJSON.h>
#include <stdio.h>

int main(void)
{
    puts(cJSON_Version());
    return 0;
}
