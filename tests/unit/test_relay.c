/* launcher/relay: what of the workers' stderr reaches the user, and what is kept to explain a
 * failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/run.h"
#include "launcher/relay.h"
#include "tests/support/capture.h"
#include "tests/support/checkpoints.h"

#define DASHES "--------------------------------------------------------------------------\n"
#define STAMP "2026-11-25T03:40:00Z level="

/* A relay that was fed `text` in pieces of `piece` bytes; what it let through into `*out`. */
static struct relay *feed(char **out, const char *log, const char *text, size_t piece)
{
    struct relay *relay = NULL;
    assert_int_equal(relay_open(&relay, log, false), LS_OK);
    capture_begin();
    for (size_t left = strlen(text); left > 0;) {
        size_t count = left < piece ? left : piece;
        relay_take(relay, text, count);
        text += count;
        left -= count;
    }
    relay_finish(relay);
    *out = capture_end();
    return relay;
}

static void notices_are_taken_out_and_the_lost_rank_is_known(void **unused)
{
    (void)unused;
    static const char text[] = STAMP
        "info rank=0 one\n" DASHES "Primary job  terminated normally, but 1 process returned\n"
        "a non-zero exit code.\n" STAMP "warn rank=1 two\n" DASHES DASHES
        "mpirun noticed that process rank 1 with PID 0 on node vm exited on "
        "signal 9 (Killed).\n" DASHES STAMP "info rank=0 three\n";
    for (size_t piece = 1; piece < sizeof text; piece = piece * 3 + 1) {
        char *shown = NULL;
        struct relay *relay = feed(&shown, "/dev/null", text, piece);
        assert_string_equal(shown, STAMP "info rank=0 one\n" STAMP "warn rank=1 two\n" STAMP
                                         "info rank=0 three\n");
        assert_int_equal(relay_loss(relay)->rank, 1);
        assert_int_equal(relay_loss(relay)->signal, 9);
        assert_string_equal(relay_loss(relay)->node, "vm");
        assert_string_equal(relay_notice(relay), "Primary job  terminated normally, but 1 process "
                                                 "returned a non-zero exit code.");
        relay_close(&relay);
        assert_null(relay);
        free(shown);
    }
}

static void words_of_mpirun_about_itself_stay_in_the_log(void **unused)
{
    (void)unused;
    static const char text[] =
        "mpirun: Forwarding signal 23 to job\n"
        "[vm:25410] [[1,0],0] ORTE_ERROR_LOG: Not found in file x.c at line 7\n"
        "[vm:25410] 1 more process has sent help message help-mpi-api.txt / mpi-abort\n"
        "[vm:25410] 3 more processes have sent help message help-mpi-api.txt / mpi-abort\n"
        "[vm:25410] Set MCA parameter \"orte_base_help_aggregate\" to 0 to see all\n"
        "plain words of a library\n" STAMP
        "warn rank=0 file=\"] ORTE_ERROR_LOG: \" a line of ours\n";
    char *folder = support_folder();
    char *log = NULL;
    char *logged = NULL;
    char *shown = NULL;
    assert_int_equal(core_format(&log, "%s/log", folder), LS_OK);
    struct relay *relay = feed(&shown, log, text, 64);
    relay_close(&relay);
    assert_string_equal(shown, strstr(text, "plain words"));
    assert_int_equal(files_read(&logged, NULL, log, sizeof text), LS_OK);
    assert_string_equal(logged, text);
    free(logged);
    free(shown);
    free(log);
    support_folder_remove(folder);
}

static void the_first_error_is_kept_and_none_is_shown(void **unused)
{
    (void)unused;
    char *shown = NULL;
    struct relay *relay = feed(
        &shown, "/dev/null",
        STAMP "error rank=2 disk full\n" STAMP "error rank=0 rank 2: disk full\nunfinished", 7);
    assert_string_equal(shown, "unfinished\n");
    assert_string_equal(relay_error(relay), STAMP "error rank=2 disk full");
    assert_int_equal(relay_loss(relay)->rank, -1);
    relay_close(&relay);
    free(shown);
}

static void a_save_is_a_record_and_no_line(void **unused)
{
    (void)unused;
    char record[RUN_SAVED_BYTES];
    char text[2 * RUN_SAVED_BYTES + 128];
    char *shown = NULL;
    double seconds = 0;
    (void)run_saved_write(record, 25, 1.25);
    assert_string_equal(record, "lockstep-saved 25 1.250000\n");
    (void)snprintf(text, sizeof text, "%s" STAMP "info rank=0 checkpoint saved seconds=9\n%s",
                   "lockstep-saved 24 0.5\n", record);
    struct relay *relay = feed(&shown, "/dev/null", text, 5);
    assert_string_equal(shown, STAMP "info rank=0 checkpoint saved seconds=9\n");
    assert_true(relay_save_s(relay) == 1.25);
    relay_close(&relay);
    free(shown);
    static const char *const others[] = {"lockstep-saved",        "lockstep-saved x 1",
                                         "lockstep-saved 3",      "lockstep-saved 3 0",
                                         "lockstep-saved 3 nan",  "lockstep-saved 3 1 2",
                                         "lockstep-saved -1 2.5", " lockstep-saved 3 1"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(run_saved_read(&seconds, others[i]));
    (void)run_saved_write(record, 1, 0);
    record[strlen(record) - 1] = '\0';
    assert_true(run_saved_read(&seconds, record) && seconds > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notices_are_taken_out_and_the_lost_rank_is_known),
        cmocka_unit_test(words_of_mpirun_about_itself_stay_in_the_log),
        cmocka_unit_test(the_first_error_is_kept_and_none_is_shown),
        cmocka_unit_test(a_save_is_a_record_and_no_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
