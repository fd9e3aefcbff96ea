/* config_reference docs/config.md: writes the tables of keys anew, below the marker line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/files.h"

static ls_status rewrite(const char *path)
{
    ls_status st = LS_OK;
    char *page = NULL;
    char *tables = NULL;
    char *whole = NULL;
    LS_TRY(files_read(&page, NULL, path, 1 << 20));
    LS_TRY(config_reference(&tables));
    char *marker = strstr(page, CONFIG_REFERENCE_MARKER);
    if (marker == NULL) {
        st = LS_FAIL(LS_DATA, "%s: no line '%s'", path, CONFIG_REFERENCE_MARKER);
        goto done;
    }
    *marker = '\0';
    LS_TRY(core_format(&whole, "%s%s\n%s", page, CONFIG_REFERENCE_MARKER, tables));
    LS_TRY(files_replace(path, whole, strlen(whole)));
done:
    free(page);
    free(tables);
    free(whole);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: config_reference docs/config.md\n");
        return 2;
    }
    ls_status st = rewrite(argv[1]);
    if (st != LS_OK)
        (void)fprintf(stderr, "%s\n", status_text());
    return status_exit_code(st);
}
