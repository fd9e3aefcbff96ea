/* The job script, and RUN/job.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/config.h"
#include "core/files.h"
#include "launcher/batch_script.h"
#include "launcher/job_file.h"

static struct config config;

static struct batch_script script_of(void)
{
    memset(&config, 0, sizeof config);
    config.slurm.signal = "USR1@120";
    config.slurm.gpus_per_node = -1;
    return (struct batch_script){.config = &config,
                                 .run = "/data/my run",
                                 .lockstep = "/opt/it's/lockstep",
                                 .nodes = 4,
                                 .tasks_per_node = 2,
                                 .requeue = true};
}

static void assert_renders(const struct batch_script *script, const char *template_text,
                           const char *wanted)
{
    char *text = NULL;
    if (batch_script_render(&text, template_text, "T", script) != LS_OK)
        fail_msg("%s", status_text());
    assert_string_equal(text, wanted);
    free(text);
}

static void values_take_the_place_of_names(void **unused)
{
    (void)unused;
    struct batch_script script = script_of();
    assert_renders(&script, "N=@nodes@ T=@tasks_per_node@", "N=4 T=2\n");
    assert_renders(&script, "@job_name@\n@output@\n", "'my run'\n\"/data/my run/slurm-%j.log\"\n");
    assert_renders(&script, "exec @command@\n",
                   "exec '/opt/it'\\''s/lockstep' train '/data/my run/submit/config.yaml' "
                   "--requeue\n");
    assert_renders(&script, "mail me@example.org, a @ b, @@\n", "mail me@example.org, a @ b, @@\n");
    script.requeue = false;
    assert_renders(&script, "#SBATCH @requeue@\n", "#SBATCH --no-requeue\n");
}

static void a_line_without_its_value_is_left_out(void **unused)
{
    (void)unused;
    struct batch_script script = script_of();
    assert_renders(&script, "a\n--account=@account@\nb\n", "a\nb\n");
    config.slurm.account = "me";
    assert_renders(&script, "a\n--account=@account@\nb\n", "a\n--account=me\nb\n");
    assert_renders(&script, "x @nodes@ @qos@\n", "");
}

static void several_lines_are_as_many_lines(void **unused)
{
    (void)unused;
    struct batch_script script = script_of();
    config.slurm.extra = "--exclusive\n--comment=x\n";
    assert_renders(&script, "#SBATCH @extra@\nend\n",
                   "#SBATCH --exclusive\n#SBATCH --comment=x\nend\n");
    config.slurm.extra = "--exclusive";
    assert_renders(&script, "#SBATCH @extra@\nend\n", "#SBATCH --exclusive\nend\n");
}

static void gpus_and_memory_follow_the_device(void **unused)
{
    (void)unused;
    static const char *const lines = "gpus @gpus_per_node@\nper gpu @mem_per_gpu@\nmem @mem@\n";
    struct batch_script script = script_of();
    assert_renders(&script, lines, "gpus 2\n");
    config.mem_per_gpu = "220G";
    assert_renders(&script, lines, "gpus 2\nper gpu 220G\n");
    config.run.device = CONFIG_DEVICE_CPU;
    assert_renders(&script, lines, "mem 440G\n");
    config.slurm.gpus_per_node = 1;
    assert_renders(&script, lines, "gpus 1\nper gpu 220G\n");
}

static void what_cannot_be_meant_is_refused(void **unused)
{
    (void)unused;
    struct batch_script script = script_of();
    char *text = NULL;
    assert_int_equal(batch_script_render(&text, "a\n@nods@\n", "T", &script), LS_USAGE);
    assert_string_equal(status_message(), "T: no value is called @nods@");
    static const char *const wrong[] = {"lots", "-1G", "0", "12GB", "G", "99999999999G"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        config.mem_per_gpu = (char *)wrong[i];
        assert_int_equal(batch_script_render(&text, "@mem@\n", "T", &script), LS_USAGE);
    }
    assert_null(text);
}

static void the_shipped_template_has_only_known_names(void **unused)
{
    (void)unused;
    struct batch_script script = script_of();
    char *template_text = NULL;
    char *text = NULL;
    if (files_read(&template_text, NULL, "slurm/train.sbatch", 65536) != LS_OK ||
        batch_script_render(&text, template_text, "T", &script) != LS_OK || text == NULL) {
        fail_msg("%s", status_text());
        return;
    }
    assert_non_null(strstr(text, "#SBATCH --signal=B:USR1@120\n"));
    assert_non_null(strstr(text, "\nexec '/opt"));
    assert_null(strstr(text, "--account"));
    free(template_text);
    free(text);
}

static void a_job_file_reads_back(void **unused)
{
    (void)unused;
    char folder[] = "/tmp/lockstep-job-XXXXXX";
    struct job_file file = {.job = "17",
                            .chain = "18,19",
                            .host = "a",
                            .pid = 5,
                            .run_epoch = 3,
                            .workers = 4,
                            .workers_asked = 8,
                            .save_s = 1.5,
                            .restarts = 2,
                            .requeues = 1,
                            .requeued_at_step = 1000};
    struct job_file read;
    assert_non_null(mkdtemp(folder));
    assert_false(job_file_read(&read, folder));
    job_file_write(folder, &file, "running", "a \"message\"");
    assert_true(job_file_read(&read, folder));
    assert_string_equal(read.state, "running");
    assert_string_equal(read.message, "a \"message\"");
    assert_string_equal(read.chain, "18,19");
    assert_true(read.save_s == 1.5 && read.pid == 5 && read.requeued_at_step == 1000);
    job_file_write(folder, &read, read.state, ""); /* its own state */
    assert_true(job_file_read(&read, folder));
    assert_string_equal(read.state, "running");
    assert_false(job_file_cancelled(folder));
    assert_int_equal(job_file_cancel(folder), LS_OK);
    assert_true(job_file_cancelled(folder));
    job_file_forget_cancel(folder);
    assert_false(job_file_cancelled(folder));
    assert_int_equal(files_remove(folder), LS_OK);
}

static void a_damaged_job_file_is_no_job_file(void **unused)
{
    (void)unused;
    char folder[] = "/tmp/lockstep-job-XXXXXX";
    static const char *const texts[] = {"", "{", "[1]", "{\"pid\":1e300,\"job\":7}"};
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct job_file read;
        char *path = NULL;
        assert_int_equal(core_format(&path, "%s/job.json", folder), LS_OK);
        assert_int_equal(files_replace(path, texts[i], strlen(texts[i])), LS_OK);
        bool found = job_file_read(&read, folder);
        assert_int_equal(found, i == 3);
        assert_string_equal(read.job, "");
        assert_int_equal(read.pid, 0);
        free(path);
    }
    assert_int_equal(files_remove(folder), LS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_take_the_place_of_names),
        cmocka_unit_test(a_line_without_its_value_is_left_out),
        cmocka_unit_test(several_lines_are_as_many_lines),
        cmocka_unit_test(gpus_and_memory_follow_the_device),
        cmocka_unit_test(what_cannot_be_meant_is_refused),
        cmocka_unit_test(the_shipped_template_has_only_known_names),
        cmocka_unit_test(a_job_file_reads_back),
        cmocka_unit_test(a_damaged_job_file_is_no_job_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
