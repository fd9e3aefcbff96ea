/* Command lines from tables: one table a command drives parsing, `--help`, the manual page and the
 * completion of bash (launcher/manual.h). */
#ifndef LOCKSTEP_LAUNCHER_OPTIONS_H
#define LOCKSTEP_LAUNCHER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

enum option_type {
    OPTION_FLAG,    /* bool */
    OPTION_COUNT,   /* int: how often it was given */
    OPTION_INTEGER, /* int64_t in [low, high] */
    OPTION_NUMBER,  /* double in [low, high] */
    OPTION_TEXT,    /* const char *, points into argv or is `initial` */
    OPTION_CHOICE,  /* const char *, one of `choices` */
    OPTION_LIST     /* struct option_list: may be given many times */
};

/* Values in the order in which they were given; texts point into argv. */
struct option_list {
    const char **values;
    int count;
};

struct option {
    const char *name; /* without the dashes */
    char letter;      /* short form, 0: none */
    enum option_type type;
    size_t offset;              /* of the field in the command's struct */
    const char *word;           /* what stands for the value in help: "N" */
    const char *initial;        /* default as it would be typed; NULL: 0 or NULL */
    int64_t low, high;          /* OPTION_INTEGER, OPTION_NUMBER */
    const char *const *choices; /* OPTION_CHOICE, closed by NULL */
    const char *help;
};

struct command {
    const char *name;
    const char *arguments;               /* for the usage line: "CONFIG.yaml" */
    const char *summary;                 /* one line for `lockstep help` */
    const char *details;                 /* what `--help` says above the options */
    int arguments_least, arguments_most; /* -1: any number */
    size_t arguments_offset;             /* of their struct option_list */
    const struct option *options;
    int option_count;
    size_t bytes; /* of the struct that is filled */
    ls_status (*run)(const void *options);
};

/* Fill the command's struct from argv[0 .. count), the words after the command's name.  `--x v`,
 * `--x=v`, `-x v` and `-xv` are the same; `--` ends the options.  `*help` is set, and nothing
 * checked further, when --help or -h is among them.  Free with options_free.
 *
 * Local.  Errors: LS_USAGE with one line that names the option and what is allowed. */
ls_status options_parse(void **out, bool *help, const struct command *command, int count,
                        char *const *argv) LS_MUST_CHECK;
void options_free(void **options, const struct command *command);

/* What --help says of an option: its text, limits or choices, default.  Local. */
enum { OPTION_TEXT_BYTES = 1024 };
void options_describe(char *out, size_t bytes, const struct option *option);

/* The command's help page.  Local. */
void options_help(FILE *out, const struct command *command);

#endif
