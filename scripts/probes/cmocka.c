#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

int main(void)
{
    assert_int_equal(1, 1);
    puts("usable");
    return 0;
}
