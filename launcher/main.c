/* The program `lockstep`: finds the command, parses its options, runs it, and turns its status into
 * one line and an exit code.  Only this file decides to exit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/text.h"
#include "core/version.h"
#include "launcher/commands.h"
#include "launcher/manual.h"
#include "launcher/starter.h"

static void print_help(FILE *out)
{
    (void)fputs("lockstep pretrains V-JEPA 2 video encoders on many workers.\n\n"
                "usage: lockstep COMMAND ...\n\n",
                out);
    for (const struct command *const *at = commands_all; *at != NULL; at++)
        (void)fprintf(out, "  %-10s %s\n", (*at)->name, (*at)->summary);
    (void)fputs("  help       this page; `lockstep COMMAND --help` tells all about a command\n"
                "  version    number, commit and kind of this build\n",
                out);
}

static const struct command *find_command(const char *name)
{
    for (const struct command *const *at = commands_all; *at != NULL; at++)
        if (strcmp((*at)->name, name) == 0)
            return *at;
    return NULL;
}

static ls_status unknown_command(const char *name)
{
    const char *nearest = NULL;
    int least = 2 * TEXT_WORD_BYTES;
    for (const struct command *const *at = commands_all; *at != NULL; at++) {
        int distance = 2 * text_distance(name, (*at)->name);
        if (distance < least) {
            least = distance;
            nearest = (*at)->name;
        }
    }
    if (nearest != NULL && text_near(name, least))
        return LS_FAIL(LS_USAGE, "unknown command '%s' (did you mean %s?)", name, nearest);
    return LS_FAIL(LS_USAGE, "unknown command '%s'; `lockstep help` lists them", name);
}

static ls_status run_command(const struct command *command, int count, char **argv)
{
    void *options = NULL;
    bool help = false;
    ls_status st = options_parse(&options, &help, command, count, argv);
    if (st == LS_OK && help)
        options_help(stdout, command);
    else if (st == LS_OK)
        st = command->run(options);
    options_free(&options, command);
    return st;
}

static ls_status run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return LS_FAIL(LS_USAGE, "a command is wanted");
    }
    const char *name = argv[1];
    if (strcmp(name, "shield") == 0) /* for mpirun, not for people */
        return LS_FAIL(LS_FAILED, "cannot run the command: code %d", starter_shield(argv + 2));
    bool help = strcmp(name, "help") == 0;
    if ((help && argc == 2) || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_help(stdout);
        return LS_OK;
    }
    if (help && strcmp(argv[2], "--man") == 0) {
        manual_page(stdout);
        return LS_OK;
    }
    if (help && strcmp(argv[2], "--bash") == 0) {
        manual_completion(stdout);
        return LS_OK;
    }
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        (void)printf("lockstep %s\n", version_text());
        return LS_OK;
    }
    const struct command *command = find_command(help ? argv[2] : name);
    if (command == NULL)
        return unknown_command(help ? argv[2] : name);
    if (help) {
        options_help(stdout, command);
        return LS_OK;
    }
    return run_command(command, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    version_set_commit(LOCKSTEP_COMMIT);
    log_open(-1, LOG_LEVEL_INFO);
    ls_status st = run(argc, argv);
    if (fflush(stdout) != 0 && st == LS_OK)
        st = LS_FAIL(LS_IO, "standard output cannot be written");
    /* Developers also want the places that the failure passed. */
    bool places = strcmp(LOCKSTEP_VARIANT, "release") != 0;
    const char *message = places ? status_text() : status_message();
    if (st != LS_OK && st != LS_STOP && message[0] != '\0')
        (void)fprintf(stderr, "lockstep: %s\n", message);
    return status_exit_code(st);
}
