"""Results of benchmarks/learning.sh as a table: pretrained less random init, paired by seed.

    learning_table.py HOME RESULT       reads HOME/{steps,real}-*/seed-*, writes RESULT.md and RESULT.csv
"""
import csv
import datetime
import glob
import json
import math
import os
import re
import statistics
import subprocess
import sys

# Quantile .975 of Student's t by degrees of freedom.
T = [None, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
SETS = {  # folders' names: heading, then (tag of a result, what is read of it, title)
    "steps": ("Motion videos", [
        ("few", "knn", "5 nearest neighbours, 64 labels"),
        ("few", "top1", "attentive probe, 64 labels"),
        ("ten64", "knn", "10 nearest neighbours, 64 labels"),
        ("ten256", "knn", "10 nearest neighbours, 256 labels"),
    ]),
    "real": ("Real videos", [
        ("few", "knn", "5 nearest neighbours"),
        ("few", "top1", "attentive probe"),
        ("ten64", "knn", "10 nearest neighbours"),
    ]),
}


def value(run, tag, init, what):
    path = f"{run}/probe/{tag}-{init}.json"
    if not os.path.exists(path):
        return None, 0
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    figure = result["knn"]["top1"] if what == "knn" else result["top1"]
    return figure, result["test"]["videos"] - result["test"]["unreadable"]


def rows_of(home):
    """One row a set, length, seed and measure."""
    for run in glob.glob(f"{home}/*-*/seed-*"):
        kind, steps, seed = re.search(r"([a-z]+)-(\d+)/seed-(\d+)$", run).groups()
        for tag, what, title in SETS[kind][1]:
            after, videos = value(run, tag, "pretrained", what)
            before, _ = value(run, tag, "random", what)
            if after is None or before is None:
                continue
            # Of one seed's difference, from the number of test videos alone, the two shares as if independent.
            own = 1.96 * math.sqrt((after * (1 - after) + before * (1 - before)) / videos)
            yield {"set": kind, "steps": int(steps), "seed": int(seed), "measure": title, "pretrained": after,
                   "random": before, "difference": after - before, "own_interval95": own, "test_videos": videos}


def interval(values):
    """Half of the 95 % interval of a mean over seeds."""
    return T[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))


def spread(values):
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def table(rows, kind):
    yield "| measure | pretrained: mean (least to most) | random init | difference: mean ± 95 % | seeds with a gain beyond their own interval |"
    yield "| --- | --- | --- | --- | --- |"
    for _, _, title in SETS[kind][1]:
        own = [r for r in rows if r["measure"] == title]
        if not own:
            continue
        gains = [r["difference"] for r in own]
        sure = sum(r["difference"] > r["own_interval95"] for r in own)
        half = f" ± {interval(gains):.3f}" if len(gains) > 1 else ", one seed"
        yield (f"| {title} | {spread([r['pretrained'] for r in own])} | {spread([r['random'] for r in own])} | "
               f"{statistics.mean(gains):+.3f}{half} | {sure} of {len(own)} |")


def curve(folder, steps, seeds):
    """5 nearest neighbours at the checkpoints on the way; step 0 is random init."""
    found = {int(re.search(r"at(\d+)-", path).group(1)) for path in glob.glob(f"{folder}/seed-*/probe/at*-pretrained.json")}
    points = [0, *sorted(found), steps]
    yield "| seed | " + " | ".join(f"step {at}" for at in points) + " |"
    yield "| --- |" + " --- |" * len(points)
    for seed in seeds:
        cells = []
        for at in points:
            tag = "few" if at in (0, steps) else f"at{at}"
            figure, _ = value(f"{folder}/seed-{seed}", tag, "random" if at == 0 else "pretrained", "knn")
            cells.append("-" if figure is None else f"{figure:.3f}")
        yield f"| {seed} | " + " | ".join(cells) + " |"


def checks(folder, seeds):
    for seed in seeds:
        with open(f"{folder}/seed-{seed}/check.txt", encoding="utf-8") as file:
            lines = file.read().splitlines()
        with open(f"{folder}/seed-{seed}/metrics.jsonl", encoding="utf-8") as file:
            seconds = sum(json.loads(line)["step_s"] for line in file)
        yield f"- seed {seed}, {seconds:.0f} s of steps: " + "; ".join(" ".join(line.split()) for line in lines[1:])


def said(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False).stdout.strip()


def main():
    home, result = sys.argv[1:3]
    rows = sorted(rows_of(home), key=lambda r: (list(SETS).index(r["set"]), r["steps"], r["seed"]))
    with open(f"{result}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
    processor = said("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1")
    lines = ["# What pretraining adds, over seeds", "",
             f"`make bench-learning`, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, commit "
             f"{said('git describe --always --dirty')}, {processor}. Protocol and what it means: "
             "[docs/learning.md](../../docs/learning.md). The interval is Student's over seeds, of the differences paired by "
             "seed; a seed's own interval is that of the number of test videos. Single values: learning.csv."]
    for kind, steps in dict.fromkeys((r["set"], r["steps"]) for r in rows):
        own = [r for r in rows if (r["set"], r["steps"]) == (kind, steps)]
        seeds = sorted({r["seed"] for r in own})
        folder = f"{home}/{kind}-{steps}"
        lines += ["", f"## {SETS[kind][0]}: {steps} steps ({8 * steps} clips), seeds {', '.join(map(str, seeds))}; "
                  f"{own[0]['test_videos']} test videos", "", *table(own, kind), "",
                  "5 nearest neighbours at checkpoints on the way (of this schedule; step 0 is random init):", "",
                  *curve(folder, steps, seeds), "", "The runs themselves (scripts/check_run.sh):", "", *checks(folder, seeds)]
    with open(f"{result}.md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
