#include "launcher/text_file.h"

#include <stdlib.h>

#include "core/files.h"
#include "core/log.h"
#include "launcher/ask.h"

ls_status text_file_open(struct text_file *file)
{
    *file = (struct text_file){0};
    file->stream = open_memstream(&file->text, &file->bytes);
    return file->stream != NULL ? LS_OK : LS_FAIL(LS_NOMEM, "out of memory for a text");
}

ls_status text_file_write(struct text_file *file, const char *folder, const char *name)
{
    ls_status st = LS_OK;
    char *path = NULL;
    bool good = fclose(file->stream) == 0;
    file->stream = NULL;
    if (!good)
        return LS_FAIL(LS_NOMEM, "out of memory for %s/%s", folder, name);
    LS_TRY(core_format(&path, "%s/%s", folder, name));
    LS_TRY(files_replace(path, file->text, file->bytes));
done:
    free(path);
    return st;
}

void text_file_close(struct text_file *file)
{
    if (file->stream != NULL)
        (void)fclose(file->stream);
    free(file->text);
}

ls_status text_file_plot(const char *folder, const char *name)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *said = NULL;
    LS_TRY(core_format(&path, "%s/%s", folder, name));
    if (ask(&said, (const char *const[]){"gnuplot", path, NULL}) != LS_OK) {
        log_warn("plot none: %s (Debian: apt-get install gnuplot-nox)", status_message());
        status_clear();
    }
done:
    free(path);
    free(said);
    return st;
}

void text_file_quote(FILE *out, const char *before, const char *text)
{
    (void)fprintf(out, "%s'", before);
    for (const char *at = text; *at != '\0'; at++)
        (void)fprintf(out, "%.*s%c", *at == '\'' ? 1 : 0, "'", *at);
    (void)fputs("'\n", out);
}
