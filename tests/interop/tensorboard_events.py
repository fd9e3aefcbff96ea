"""Compares what TensorBoard reads of RUN/tensorboard with RUN/metrics.jsonl: every number of every step, no more.

    tensorboard_events.py RUN
"""

import json
import math
import sys

from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from tensorboard.backend.event_processing.directory_watcher import DirectoryWatcher


def wanted(run):
    """{tag: {step: value}} of the metrics."""
    tags = {}
    for line in open(f"{run}/metrics.jsonl", encoding="utf-8"):
        values = json.loads(line)
        step = values.pop("step")
        for key, value in values.items():
            for name, number in (
                [(f"{key}/{i}", v) for i, v in enumerate(value)] if isinstance(value, list) else [(key, value)]
            ):
                if isinstance(number, (bool, int, float)):
                    tags.setdefault(name, {})[step] = float(number)
    return tags


def main(run):
    folder = f"{run}/tensorboard"
    accumulator = event_accumulator.EventAccumulator(folder, size_guidance={event_accumulator.SCALARS: 0})
    accumulator.Reload()
    have = accumulator.Tags()["scalars"]
    want = wanted(run)
    if sorted(have) != sorted(want):
        sys.exit(f"tags: {sorted(have)}, wanted {sorted(want)}")
    compared = 0
    for tag, steps in want.items():
        read = [(e.step, e.value) for e in accumulator.Scalars(tag)]
        if [s for s, _ in read] != sorted(steps):
            sys.exit(f"{tag}: steps {[s for s, _ in read]}, wanted {sorted(steps)}")
        for step, value in read:
            if not math.isclose(value, steps[step], rel_tol=1e-6, abs_tol=1e-30):
                sys.exit(f"{tag}, step {step}: {value}, wanted {steps[step]}")
            compared += 1
    records = sum(1 for _ in DirectoryWatcher(folder, event_file_loader.EventFileLoader).Load())
    print(f"{len(want)} tags, {compared} values of {max(max(s) for s in want.values())} steps, {records} records read")


main(sys.argv[1])
