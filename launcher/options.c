/* Parsing and help from the option tables. */
#include "launcher/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/text.h"

/* The words of one command line and what they fill. */
struct parser {
    const struct command *command;
    char *const *argv;
    int count, next;
    char *fields; /* the command's struct */
};

static const struct option *find_name(const struct command *command, const char *name,
                                      size_t length)
{
    for (int i = 0; i < command->option_count; i++)
        if (strlen(command->options[i].name) == length &&
            strncmp(command->options[i].name, name, length) == 0)
            return &command->options[i];
    return NULL;
}

static const struct option *find_letter(const struct command *command, char letter)
{
    for (int i = 0; i < command->option_count; i++)
        if (command->options[i].letter != 0 && command->options[i].letter == letter)
            return &command->options[i];
    return NULL;
}

static ls_status unknown_option(const struct command *command, const char *word, size_t length)
{
    char name[TEXT_WORD_BYTES + 1];
    const char *nearest = NULL;
    int least = 2 * TEXT_WORD_BYTES;
    (void)snprintf(name, sizeof name, "%.*s", (int)length, word);
    for (int i = 0; i < command->option_count; i++) {
        int distance = 2 * text_distance(name, command->options[i].name);
        if (distance < least) {
            least = distance;
            nearest = command->options[i].name;
        }
    }
    if (nearest != NULL && text_near(name, least))
        return LS_FAIL(LS_USAGE, "%s: unknown option --%s (did you mean --%s?)", command->name,
                       name, nearest);
    return LS_FAIL(LS_USAGE, "%s: unknown option --%s; `lockstep %s --help` lists them",
                   command->name, name, command->name);
}

static ls_status wrong_value(const struct command *command, const struct option *option,
                             const char *value, const char *allowed)
{
    return LS_FAIL(LS_USAGE, "%s: --%s: '%s' is not %s", command->name, option->name, value,
                   allowed);
}

static ls_status store_integer(const struct command *command, const struct option *option,
                               void *field, const char *value)
{
    char *end = NULL;
    char allowed[96];
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || number < option->low ||
        number > option->high) {
        (void)snprintf(allowed, sizeof allowed, "an integer from %" PRId64 " to %" PRId64,
                       option->low, option->high);
        return wrong_value(command, option, value, allowed);
    }
    *(int64_t *)field = number;
    return LS_OK;
}

static ls_status store_number(const struct command *command, const struct option *option,
                              void *field, const char *value)
{
    char *end = NULL;
    char allowed[96];
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !(number >= (double)option->low) ||
        !(number <= (double)option->high)) {
        (void)snprintf(allowed, sizeof allowed, "a number from %" PRId64 " to %" PRId64,
                       option->low, option->high);
        return wrong_value(command, option, value, allowed);
    }
    *(double *)field = number;
    return LS_OK;
}

static void join_choices(char *out, size_t bytes, const char *const *choices)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; choices[i] != NULL && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", i > 0 ? ", " : "", choices[i]);
}

static ls_status store_choice(const struct command *command, const struct option *option,
                              void *field, const char *value)
{
    char allowed[256] = "one of ";
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], value) != 0)
            continue;
        *(const char **)field = option->choices[i];
        return LS_OK;
    }
    size_t used = strlen(allowed);
    join_choices(allowed + used, sizeof allowed - used, option->choices);
    return wrong_value(command, option, value, allowed);
}

static ls_status store(const struct parser *parser, const struct option *option, const char *value)
{
    void *field = parser->fields + option->offset;
    struct option_list *list = field;
    switch (option->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        break;
    case OPTION_COUNT:
        ++*(int *)field;
        break;
    case OPTION_INTEGER:
        return store_integer(parser->command, option, field, value);
    case OPTION_NUMBER:
        return store_number(parser->command, option, field, value);
    case OPTION_TEXT:
        *(const char **)field = value;
        break;
    case OPTION_CHOICE:
        return store_choice(parser->command, option, field, value);
    case OPTION_LIST:
        list->values[list->count++] = value;
        break;
    }
    return LS_OK;
}

/* `option` with the value that sticks to its word (NULL: none), else the next word. */
static ls_status take(struct parser *parser, const struct option *option, const char *stuck)
{
    bool wants = option->type != OPTION_FLAG && option->type != OPTION_COUNT;
    if (!wants && stuck != NULL)
        return LS_FAIL(LS_USAGE, "%s: --%s takes no value", parser->command->name, option->name);
    if (wants && stuck == NULL) {
        if (parser->next == parser->count)
            return LS_FAIL(LS_USAGE, "%s: --%s wants a value (%s)", parser->command->name,
                           option->name, option->word);
        stuck = parser->argv[parser->next++];
    }
    return store(parser, option, stuck);
}

static ls_status take_word(struct parser *parser, const char *word)
{
    const struct command *command = parser->command;
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    if (word[1] == '-') {
        const struct option *option = find_name(command, word + 2, length - 2);
        if (option == NULL)
            return unknown_option(command, word + 2, length - 2);
        return take(parser, option, equals != NULL ? equals + 1 : NULL);
    }
    const struct option *option = find_letter(command, word[1]);
    if (option == NULL)
        return LS_FAIL(LS_USAGE, "%s: unknown option -%c; `lockstep %s --help` lists them",
                       command->name, word[1], command->name);
    return take(parser, option, word[2] != '\0' ? word + 2 : NULL);
}

static struct option_list *arguments_of(const struct parser *parser)
{
    return (struct option_list *)(void *)(parser->fields + parser->command->arguments_offset);
}

static ls_status check_arguments(const struct parser *parser)
{
    const struct command *command = parser->command;
    const struct option_list *list = arguments_of(parser);
    if (command->arguments_most >= 0 && list->count > command->arguments_most)
        return LS_FAIL(LS_USAGE, "%s: '%s' is one argument too many; wanted: %s", command->name,
                       list->values[command->arguments_most], command->arguments);
    if (list->count < command->arguments_least)
        return LS_FAIL(LS_USAGE, "%s: wants %s; `lockstep %s --help` tells more", command->name,
                       command->arguments, command->name);
    return LS_OK;
}

/* Defaults, and room for as many list entries as there are words. */
static ls_status prepare(const struct parser *parser)
{
    const struct command *command = parser->command;
    ls_status st = core_alloc(&arguments_of(parser)->values, parser->count);
    for (int i = 0; st == LS_OK && i < command->option_count; i++) {
        const struct option *option = &command->options[i];
        struct option_list *list = (struct option_list *)(void *)(parser->fields + option->offset);
        if (option->type == OPTION_LIST)
            st = core_alloc(&list->values, parser->count);
        else if (option->initial != NULL)
            st = store(parser, option, option->initial);
    }
    return st;
}

static bool asks_help(int count, char *const *argv)
{
    for (int i = 0; i < count && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

ls_status options_parse(void **out, bool *help, const struct command *command, int count,
                        char *const *argv)
{
    ls_status st = LS_OK;
    struct parser parser = {.command = command, .argv = argv, .count = count};
    bool plain = false; /* after `--` */
    LS_TRY(core_alloc_bytes((void **)&parser.fields, 1, command->bytes));
    LS_TRY(prepare(&parser));
    *help = asks_help(count, argv);
    while (!*help && parser.next < count) {
        const char *word = argv[parser.next++];
        if (!plain && strcmp(word, "--") == 0) {
            plain = true;
        } else if (plain || word[0] != '-' || word[1] == '\0') {
            struct option_list *list = arguments_of(&parser);
            list->values[list->count++] = word;
        } else {
            LS_TRY(take_word(&parser, word));
        }
    }
    if (!*help)
        LS_TRY(check_arguments(&parser));
    *out = parser.fields;
    parser.fields = NULL;
done:
    options_free((void **)&parser.fields, command);
    return st;
}

void options_free(void **options, const struct command *command)
{
    if (*options == NULL)
        return;
    char *fields = *options;
    free(((struct option_list *)(void *)(fields + command->arguments_offset))->values);
    for (int i = 0; i < command->option_count; i++)
        if (command->options[i].type == OPTION_LIST)
            free(((struct option_list *)(void *)(fields + command->options[i].offset))->values);
    free(fields);
    *options = NULL;
}

enum { HELP_INDENT = 26, HELP_WIDTH = 78 };

/* `text` in lines that end before HELP_WIDTH; the first one begins at column `column`. */
static void print_wrapped(FILE *out, const char *text, int column, int indent)
{
    const char *word = text;
    bool first = true;
    while (*word != '\0') {
        int length = (int)strcspn(word, " ");
        if (!first && column + 1 + length > HELP_WIDTH) {
            (void)fprintf(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        column += fprintf(out, "%s%.*s", first ? "" : " ", length, word);
        first = false;
        word += length;
        word += strspn(word, " ");
    }
    (void)fputc('\n', out);
}

void options_describe(char *out, size_t bytes, const struct option *option)
{
    char choices[256];
    size_t used = (size_t)snprintf(out, bytes, "%s", option->help);
    if (option->type == OPTION_INTEGER || option->type == OPTION_NUMBER)
        used += (size_t)snprintf(out + used, bytes - used, " [%" PRId64 " to %" PRId64 "]",
                                 option->low, option->high);
    if (option->type == OPTION_CHOICE) {
        join_choices(choices, sizeof choices, option->choices);
        used += (size_t)snprintf(out + used, bytes - used, " [%s]", choices);
    }
    if (option->initial != NULL)
        (void)snprintf(out + used, bytes - used, " (default: %s)", option->initial);
}

static void print_option(FILE *out, const struct option *option)
{
    char text[OPTION_TEXT_BYTES];
    int column = fprintf(out, "  ");
    if (option->letter != 0)
        column += fprintf(out, "-%c, ", option->letter);
    column += fprintf(out, "--%s%s%s", option->name, option->word != NULL ? " " : "",
                      option->word != NULL ? option->word : "");
    column += fprintf(out, "%*s", column < HELP_INDENT ? HELP_INDENT - column : 1, "");
    options_describe(text, sizeof text, option);
    print_wrapped(out, text, column, HELP_INDENT);
}

void options_help(FILE *out, const struct command *command)
{
    (void)fprintf(out, "usage: lockstep %s %s%s\n\n", command->name, command->arguments,
                  command->option_count > 0 ? " [options]" : "");
    print_wrapped(out, command->details, 0, 0);
    (void)fprintf(out, "\noptions:\n");
    for (int i = 0; i < command->option_count; i++)
        print_option(out, &command->options[i]);
    (void)fprintf(out, "  -h, --help%*sthis page\n", HELP_INDENT - 12, "");
}
