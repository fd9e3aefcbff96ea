#!/usr/bin/env bash
# Checks the metrics of a finished run: one line with a loss for each step, loss at the end below its value at step 50, target_std above
# 0.6 and target_rank above half of its first value all the way.  Prints the figures; exit 1 if one does not hold.
#
#   scripts/check_run.sh RUN STEPS
#
# Loss at a step is the mean over the 20 steps around or before it: one step's value is noisy.
set -euo pipefail

awk -v steps="$2" '
    function field(name,    text) {
        if (!match($0, "\"" name "\": *[-+0-9.eE]+")) return "none"
        text = substr($0, RSTART, RLENGTH)
        sub(/^[^:]*: */, "", text)
        return text
    }
    function verdict(holds) { if (!holds) failed = 1; return holds ? "ok" : "NOT SO" }
    {
        step = field("step"); loss[step] = field("loss"); lines++
        if (step != lines || loss[step] == "none") bad++
        std = field("target_std")
        if (std != "none") { if (n_std == 0 || std + 0 < least_std) least_std = std + 0; n_std++ }
        rank = field("target_rank")
        if (rank != "none") { if (n_rank == 0) first_rank = rank + 0; if (n_rank == 0 || rank + 0 < least_rank) least_rank = rank + 0; n_rank++; last_rank = rank + 0 }
    }
    END {
        for (s = 41; s <= 60; s++) early += loss[s] / 20
        for (s = steps - 19; s <= steps; s++) late += loss[s] / 20
        printf "  %-52s %s\n", "lines for " steps " steps, each with a loss: " lines, verdict(lines == steps && !bad)
        printf "  %-52s %s\n", sprintf("loss at step 50: %.4f, at the end: %.4f", early, late), verdict(steps > 60 && late < early)
        printf "  %-52s %s\n", sprintf("target_std at least %.3f (above 0.6)", least_std), verdict(n_std > 0 && least_std > 0.6)
        printf "  %-52s %s\n", sprintf("target_rank %.2f at first, at least %.2f, %.2f at the end", first_rank, least_rank, last_rank), verdict(n_rank > 1 && least_rank > first_rank / 2)
        exit failed
    }' "$1/metrics.jsonl"
