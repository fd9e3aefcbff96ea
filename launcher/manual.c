/* The manual page and the completion of bash, from the tables that drive parsing and --help. */
#include "launcher/manual.h"

#include <string.h>

#include "core/config_table.h"
#include "launcher/commands.h"

static const struct {
    int code;
    const char *meaning;
} endings[] = {
    {0, "done"},
    {1, "anything without a code of its own; verify found damage"},
    {2, "a mistake in the command line or config; nothing was started"},
    {10, "a file cannot be read or written"},
    {11, "data is damaged, or too much of it is unusable"},
    {12, "the device cannot be had, the run does not fit into its memory, or it failed"},
    {13, "workers were lost, or could not reach each other"},
    {14, "a wait passed its deadline"},
    {15, "a checkpoint could not be saved at the end, or none can be read"},
    {75, "stopped on request; the state is saved: start it again"},
};

/* Text of a roff page: backslashes and dashes are themselves, no line begins a request. */
static void put_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        (void)fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            (void)fputs("\\e", out);
        else if (*text == '-')
            (void)fputs("\\-", out);
        else
            (void)fputc(*text, out);
    }
}

static void put_option(FILE *out, const struct option *option)
{
    char text[OPTION_TEXT_BYTES];
    (void)fputs(".TP\n", out);
    if (option->letter != 0)
        (void)fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
    (void)fputs("\\fB\\-\\-", out);
    put_text(out, option->name);
    (void)fputs("\\fR", out);
    if (option->word != NULL) {
        (void)fputs(" \\fI", out);
        put_text(out, option->word);
        (void)fputs("\\fR", out);
    }
    (void)fputc('\n', out);
    options_describe(text, sizeof text, option);
    put_text(out, text);
    (void)fputc('\n', out);
}

static void put_command(FILE *out, const struct command *command)
{
    (void)fprintf(out, ".SS lockstep %s ", command->name);
    put_text(out, command->arguments);
    (void)fprintf(out, "%s\n", command->option_count > 0 ? " [options]" : "");
    put_text(out, command->details);
    (void)fputc('\n', out);
    for (int i = 0; i < command->option_count; i++)
        put_option(out, &command->options[i]);
}

void manual_page(FILE *out)
{
    (void)fputs(
        ".TH LOCKSTEP 1 \"\" lockstep \"User Commands\"\n"
        ".SH NAME\nlockstep \\- distributed pretraining of V\\-JEPA 2 video encoders\n"
        ".SH SYNOPSIS\n.B lockstep\n.I COMMAND\n.RI [ arguments \"] [\" options ]\n"
        ".SH DESCRIPTION\n"
        "lockstep packs videos into a dataset, pretrains V\\-JEPA 2 encoders on it with many "
        "workers, survives their failures, and shows what was learnt.\n"
        ".SH COMMANDS\n",
        out);
    for (const struct command *const *at = commands_all; *at != NULL; at++)
        put_command(out, *at);
    (void)fputs(".SS lockstep help [COMMAND]\n"
                "All commands, or all about one of them. \\fBhelp \\-\\-man\\fR prints this page, "
                "\\fBhelp \\-\\-bash\\fR the completion of bash.\n"
                ".SS lockstep version\n"
                "Number and commit, variant of the build, and which GPU code is in it.\n"
                ".SH EXIT STATUS\n",
                out);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        (void)fprintf(out, ".TP\n%d\n%s\n", endings[i].code, endings[i].meaning);
    (void)fputs(".SH SEE ALSO\nREADME.md, docs/config.md, docs/operations.md, docs/formats.md\n",
                out);
}

static bool has_set(const struct command *command)
{
    for (int i = 0; i < command->option_count; i++)
        if (strcmp(command->options[i].name, "set") == 0)
            return true;
    return false;
}

static void put_command_case(FILE *out, const struct command *command)
{
    (void)fprintf(out, "    %s)\n        case $before in\n", command->name);
    if (has_set(command))
        (void)fputs("        --set) words=$keys; compopt -o nospace 2>/dev/null ;;\n", out);
    for (int i = 0; i < command->option_count; i++) {
        const struct option *option = &command->options[i];
        if (option->type != OPTION_CHOICE)
            continue;
        (void)fprintf(out, "        --%s) words=\"", option->name);
        for (const char *const *choice = option->choices; *choice != NULL; choice++)
            (void)fprintf(out, "%s%s", choice == option->choices ? "" : " ", *choice);
        (void)fputs("\" ;;\n", out);
    }
    (void)fputs("        *) [[ $word == -* ]] && words=\"", out);
    for (int i = 0; i < command->option_count; i++)
        (void)fprintf(out, "--%s ", command->options[i].name);
    (void)fputs("--help\" ;;\n        esac ;;\n", out);
}

void manual_completion(FILE *out)
{
    (void)fputs("# Completion of lockstep for bash:  source <(lockstep help --bash)\n"
                "_lockstep() {\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} "
                "words=\"\"\n"
                "    local keys=\"",
                out);
    for (int i = 0; i < config_key_count; i++)
        (void)fprintf(out, "%s%s=", i == 0 ? "" : " ", config_keys[i].path);
    (void)fputs("\"\n    case $COMP_CWORD:${COMP_WORDS[1]} in\n    1:*) words=\"", out);
    for (const struct command *const *at = commands_all; *at != NULL; at++)
        (void)fprintf(out, "%s ", (*at)->name);
    (void)fputs("help version\" ;;\n    2:help) words=\"", out);
    for (const struct command *const *at = commands_all; *at != NULL; at++)
        (void)fprintf(out, "%s%s", at == commands_all ? "" : " ", (*at)->name);
    (void)fputs("\" ;;\n    esac\n    [ \"$COMP_CWORD\" -lt 2 ] || case ${COMP_WORDS[1]} in\n",
                out);
    for (const struct command *const *at = commands_all; *at != NULL; at++)
        put_command_case(out, *at);
    (void)fputs("    esac\n"
                "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
                "}\n"
                "complete -o default -F _lockstep lockstep\n",
                out);
}
