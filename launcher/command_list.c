/* In the order in which one meets them. */
#include "launcher/commands.h"

/* clang-format off: one a line */
const struct command *const commands_all[] = {
    &command_pack,   &command_train,  &command_submit,   &command_scale,
    &command_plan,   &command_status, &command_cancel,   &command_report,
    &command_plot,   &command_probe,  &command_features, &command_inspect,
    &command_verify, &command_export, &command_import,   NULL,
};
