/* Lists of videos: the `path label` files of the public code, folders, single files. */
#ifndef LOCKSTEP_DATA_LIST_H
#define LOCKSTEP_DATA_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct list_entry {
    char *path;    /* as listed */
    int64_t label; /* -1: none */
    double weight; /* 1: none given */
    double rate;   /* true frames a second; 0: none given */
};

struct list {
    struct list_entry *entries;
    size_t count, room;
};

/* Add the lines of a list file.  A line is `path label`, `path label weight` or `path label weight
 * rate`, separated by single spaces; the path may hold spaces itself and may stand in double quotes
 * (a doubled quote inside is one); `path::label`, the public code's other form, works too.  The
 * label is a whole number, the weight a number with a decimal point, and so is the rate: true
 * frames a second of a video whose own times are wrong.  A line without a label is all path, and so
 * is one that ends in a number but names, as a whole, a file that exists while the shorter path
 * does not. Empty lines are passed over.  A relative path that does not exist is tried beside the
 * list; the name kept is the one that exists.
 *
 * Local.  Errors: LS_IO; LS_DATA with the line's number for a line that holds a 0 byte, an unclosed
 * quote, or a weight or rate that is not positive. */
ls_status list_add_file(struct list *list, const char *path) LS_MUST_CHECK;

/* Add all files below a folder, sorted by byte, hidden ones (".name") left out.  Links to folders
 * are not followed.  Local.  Errors: LS_IO. */
ls_status list_add_folder(struct list *list, const char *path) LS_MUST_CHECK;

/* Add one file.  Local.  Errors: LS_NOMEM. */
ls_status list_add(struct list *list, const char *path, int64_t label, double weight) LS_MUST_CHECK;

/* Add what a command line names: a folder, a list (its name ends in .csv or .txt), or a file.
 * Local. Errors: as above; LS_IO when it does not exist. */
ls_status list_add_input(struct list *list, const char *path) LS_MUST_CHECK;

void list_close(struct list *list);

#endif
