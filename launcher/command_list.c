/* In the order in which one meets them; one a line, so that two changes do not meet in one. */
#include "launcher/commands.h"

/* clang-format off */
const struct command *const commands_all[] = {
    &command_pack,
    &command_train,
    &command_submit,
    &command_scale,
    &command_plan,
    &command_status,
    &command_cancel,
    &command_report,
    &command_plot,
    &command_probe,
    &command_features,
    &command_show,
    &command_inspect,
    &command_verify,
    &command_export,
    &command_import,
    NULL,
};
/* clang-format on */
