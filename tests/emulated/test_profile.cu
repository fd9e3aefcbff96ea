/* What a profiler is told of a run on a card: ranges by part of the step, and between which steps
 * to look.  NVTX calls the injection that this program brings, as it would a profiler's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>

#include "core/files.h"
#include "model/device.h"
#include "tests/support/jepa_case.h"
#include "worker/profile.h"
}

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <nvtx3/nvToolsExt.h>

#include "tests/emulator/runtime.h"

static std::vector<std::string> open_ranges, closed_ranges;

static int NVTX_API push(const char *name)
{
    open_ranges.push_back(name);
    return static_cast<int>(open_ranges.size()) - 1;
}

static int NVTX_API pop()
{
    if (open_ranges.empty())
        return -1;
    closed_ranges.push_back(open_ranges.back());
    open_ranges.pop_back();
    return static_cast<int>(open_ranges.size());
}

/* As an NVTX tool does it: replaces the functions it wants to see. */
static int NVTX_API inject(NvtxGetExportTableFunc_t get_table)
{
    const auto *tables =
        static_cast<const NvtxExportTableCallbacks *>(get_table(NVTX_ETID_CALLBACKS));
    NvtxFunctionTable table = nullptr;
    unsigned size = 0;
    if (tables == nullptr ||
        tables->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size) == 0 ||
        size <= NVTX_CBID_CORE_RangePop)
        return 0;
    *table[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
    *table[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
    return 1;
}

static struct model_device card;

static int open_card(void **)
{
    return model_device_open(&card, CONFIG_DEVICE_EMULATED, 1, 0, true) == LS_OK ? 0 : -1;
}

static int close_card(void **)
{
    model_device_close(&card);
    return 0;
}

static bool closed(const char *name)
{
    for (const std::string &range : closed_ranges)
        if (range == name)
            return true;
    return false;
}

static void nvtx_names_the_parts_of_a_step(void **)
{
    static const char *const parts[] = {
        "target",          "context", "predictor", "loss", "statistics", "predictor backward",
        "context backward"};
    int count = 0;
    struct jepa_case it;
    struct jepa *jepa = nullptr;
    struct profile profile;
    const std::string run = std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp";
    profile_open(&profile, trace_steps{2, 3}, run.c_str(), 0, &card);
    assert_int_equal(jepa_case_open(&it, &jepa_case_shapes(&count)[0], 3), LS_OK);
    assert_int_equal(jepa_case_model(&jepa, &it, card.table, card.device), LS_OK);
    const emulator_counters before = emulator_count();
    for (int step = 1; step <= 5; step++) {
        profile_before(&profile, step);
        assert_int_equal(emulator_count().profiler_starts - before.profiler_starts,
                         step >= 2 ? 1 : 0);
        assert_int_equal(jepa_case_step(jepa, &it, nullptr), LS_OK);
        profile_after(&profile, step);
        assert_int_equal(emulator_count().profiler_stops - before.profiler_stops,
                         step >= 3 ? 1 : 0);
    }
    profile_close(&profile);
    for (const char *part : parts)
        if (!closed(part))
            fail_msg("no range is called %s", part);
    assert_int_equal(open_ranges.size(), 0);
    assert_int_equal(closed_ranges.size(), 5 * sizeof parts / sizeof *parts);
    const std::string trace = run + "/profile/steps-2-3-0.json";
    assert_true(files_exists(trace.c_str()));
    assert_int_equal(files_remove((run + "/profile").c_str()), LS_OK);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nvtx_names_the_parts_of_a_step),
    };
    InitializeInjectionNvtx2_fnptr = inject; /* asked for at the first range */
    return cmocka_run_group_tests(tests, open_card, close_card);
}
