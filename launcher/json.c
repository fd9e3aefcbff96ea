/* cJSON reports each failure for want of memory by a NULL; one flag keeps the first. */
#include "launcher/json.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local bool short_of_memory;

void json_number(cJSON *object, const char *name, double value)
{
    if (cJSON_AddNumberToObject(object, name, value) == NULL)
        short_of_memory = true;
}

void json_text(cJSON *object, const char *name, const char *value)
{
    if (cJSON_AddStringToObject(object, name, value) == NULL)
        short_of_memory = true;
}

void json_item(cJSON *object, const char *name, cJSON *item)
{
    if (item != NULL && cJSON_AddItemToObject(object, name, item) != 0)
        return;
    cJSON_Delete(item);
    short_of_memory = true;
}

cJSON *json_append_object(cJSON *list)
{
    cJSON *object = cJSON_CreateObject();
    if (object != NULL && cJSON_AddItemToArray(list, object) != 0)
        return object;
    cJSON_Delete(object);
    short_of_memory = true;
    return NULL;
}

ls_status json_print(cJSON **root)
{
    char *text = short_of_memory ? NULL : cJSON_PrintUnformatted(*root);
    cJSON_Delete(*root);
    *root = NULL;
    short_of_memory = false;
    if (text == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for a JSON object");
    (void)printf("%s\n", text);
    free(text);
    return LS_OK;
}
