/* Configs for tests: from text, and compared field by field. */
#ifndef LOCKSTEP_TESTS_SUPPORT_CONFIG_TEXT_H
#define LOCKSTEP_TESTS_SUPPORT_CONFIG_TEXT_H

#include "core/config.h"

/* A small, right config. */
extern const char config_text_small[];

/* config_open of a file in memory with that text, called config_text_path(). */
ls_status config_text_open(struct config **out, const char *text, const char *const *overrides,
                           int override_count) LS_MUST_CHECK;
const char *config_text_path(void);

/* `text` with the first `old` replaced; owned by the caller.  Fails the test when `old` is not
 * there.
 */
char *config_text_replace(const char *text, const char *old, const char *new);

/* Fails the test unless all fields (but the source) are equal, bit for bit. */
void config_text_assert_equal(const struct config *a, const struct config *b);

/* Fails the test unless the config's dump reads back to the same config. */
void config_text_assert_round_trip(const struct config *config);

#endif
