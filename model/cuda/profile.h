/* Ranges and limits for a profiler of NVIDIA's (model/device.h). */
#ifndef LOCKSTEP_MODEL_CUDA_PROFILE_H
#define LOCKSTEP_MODEL_CUDA_PROFILE_H

#include <stdbool.h>

#include "core/status.h"

void profile_range_begin(const char *name);
void profile_range_end(void);
ls_status profile_switch(bool on) LS_MUST_CHECK;

#endif
