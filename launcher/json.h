/* Building JSON for `--json`: cJSON with the checks gathered at the end.  A value that could not be
 * added leaves an object that json_print refuses to print. */
#ifndef LOCKSTEP_LAUNCHER_JSON_H
#define LOCKSTEP_LAUNCHER_JSON_H

#include <cJSON.h>

#include "core/status.h"

void json_number(cJSON *object, const char *name, double value);
void json_text(cJSON *object, const char *name, const char *value);
void json_item(cJSON *object, const char *name, cJSON *item); /* takes `item` over */
cJSON *json_append_object(cJSON *list);                       /* borrowed from the list */

/* Print to stdout as one line and free; sets *root NULL.  Local.  Errors: LS_NOMEM. */
ls_status json_print(cJSON **root) LS_MUST_CHECK;

#endif
