/* Which known word a mistyped one was meant to be. */
#ifndef LOCKSTEP_CORE_TEXT_H
#define LOCKSTEP_CORE_TEXT_H

#include <stdbool.h>

enum { TEXT_WORD_BYTES = 64 };

/* Edits (insert, delete, replace, swap neighbours) that turn a into b; TEXT_WORD_BYTES when either
 * is longer than that.  Local. */
int text_distance(const char *a, const char *b);

/* Whether a word that is `distance` half-edits (2 x text_distance) from a known one was probably
 * meant to be it.  Local. */
bool text_near(const char *word, int distance);

#endif
