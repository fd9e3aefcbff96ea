/* stderr is replaced at the level of the file descriptor, because the log writes with write(2). */
#include "tests/support/capture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int target = -1;
static int saved = -1;

void capture_begin(void)
{
    assert_int_equal(target, -1);
    target = memfd_create("stderr", MFD_CLOEXEC);
    assert_true(target >= 0);
    /* Files in memory do not lock their position: threads would write over each other. */
    assert_int_equal(fcntl(target, F_SETFL, O_APPEND), 0);
    (void)fflush(stderr);
    saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(dup2(target, STDERR_FILENO), STDERR_FILENO);
}

char *capture_end(void)
{
    (void)fflush(stderr);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void)close(saved);
    off_t bytes = lseek(target, 0, SEEK_END);
    assert_true(bytes >= 0);
    char *text = calloc((size_t)bytes + 1, 1);
    assert_non_null(text);
    assert_int_equal(pread(target, text, (size_t)bytes, 0), bytes);
    (void)close(target);
    target = -1;
    return text;
}

int capture_count(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + strlen(part), part))
        count++;
    return count;
}
