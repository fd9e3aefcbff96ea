/* The small files of an exported folder.  Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_EXPORT_CONFIG_H
#define LOCKSTEP_CHECKPOINT_EXPORT_CONFIG_H

#include "checkpoint/misfits.h"
#include "core/config.h"
#include "core/parameters.h"

/* Write config.json and video_preprocessor_config.json into `folder`.  Local.  Errors: LS_IO,
 * LS_NOMEM. */
ls_status export_config_write(const char *folder, const struct config *config,
                              const struct model_shape *shape, bool bfloat16) LS_MUST_CHECK;

/* Note every key of FOLDER/config.json that means another model than `shape`; a key that is missing
 * has its default.  What may differ (crop, frames) is logged.  Local.  Errors: LS_IO, LS_DATA when
 * it is no such file. */
ls_status export_config_compare(struct misfits *misfits, const char *folder,
                                const struct config *config, const struct model_shape *shape,
                                bool any_mask_tokens) LS_MUST_CHECK;

#endif
