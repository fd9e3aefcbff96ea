"""Results of benchmarks/learning.sh as a table: pretrained less random init, paired by seed.

    learning_table.py HOME RESULT       reads HOME/steps-*/seed-*/probe, writes RESULT.md and RESULT.csv
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
MEASURES = [  # tag of the result, what is read of it, title
    ("few", "knn", "5 nearest neighbours, 64 labels"),
    ("few", "top1", "attentive probe, 64 labels"),
    ("ten64", "knn", "10 nearest neighbours, 64 labels"),
    ("ten256", "knn", "10 nearest neighbours, 256 labels"),
]


def value(run, tag, init, what):
    path = f"{run}/probe/{tag}-{init}.json"
    if not os.path.exists(path):
        return None, 0
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    figure = result["knn"]["top1"] if what == "knn" else result["top1"]
    return figure, result["test"]["videos"] - result["test"]["unreadable"]


def rows_of(home):
    """One row a length, seed and measure."""
    for run in glob.glob(f"{home}/steps-*/seed-*"):
        steps, seed = map(int, re.search(r"steps-(\d+)/seed-(\d+)$", run).groups())
        for tag, what, title in MEASURES:
            after, videos = value(run, tag, "pretrained", what)
            before, _ = value(run, tag, "random", what)
            if after is None or before is None:
                continue
            # Of one seed's difference, from the number of test videos alone, the two shares as if independent.
            own = 1.96 * math.sqrt((after * (1 - after) + before * (1 - before)) / videos)
            yield {"steps": steps, "seed": seed, "measure": title, "pretrained": after, "random": before,
                   "difference": after - before, "own_interval95": own, "test_videos": videos}


def interval(values):
    """Half of the 95 % interval of a mean over seeds."""
    if len(values) < 2:
        return math.inf
    return T[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))


def spread(values):
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def table(rows, steps):
    yield "| measure | pretrained: mean (least to most) | random init | difference: mean ± 95 % | seeds with a gain beyond their own interval |"
    yield "| --- | --- | --- | --- | --- |"
    for _, _, title in MEASURES:
        own = [r for r in rows if r["steps"] == steps and r["measure"] == title]
        if not own:
            continue
        gains = [r["difference"] for r in own]
        sure = sum(r["difference"] > r["own_interval95"] for r in own)
        half = interval(gains)
        yield (f"| {title} | {spread([r['pretrained'] for r in own])} | {spread([r['random'] for r in own])} | "
               f"{statistics.mean(gains):+.3f} ± {half:.3f} | {sure} of {len(own)} |")


def curve(home, steps, seeds):
    """5 nearest neighbours with 64 labels at the checkpoints on the way."""
    points = {0: "random"}
    for path in glob.glob(f"{home}/steps-{steps}/seed-*/probe/at*-pretrained.json"):
        at = int(re.search(r"at(\d+)-", path).group(1))
        points[at] = "pretrained"
    points[steps] = "pretrained"
    yield "| seed | " + " | ".join(f"step {at}" for at in sorted(points)) + " |"
    yield "| --- |" + " --- |" * len(points)
    for seed in seeds:
        cells = []
        for at in sorted(points):
            tag = "few" if at in (0, steps) else f"at{at}"
            figure, _ = value(f"{home}/steps-{steps}/seed-{seed}", tag, points[at], "knn")
            cells.append("-" if figure is None else f"{figure:.3f}")
        yield f"| {seed} | " + " | ".join(cells) + " |"


def checks(home, steps, seeds):
    for seed in seeds:
        path = f"{home}/steps-{steps}/seed-{seed}/check.txt"
        with open(path, encoding="utf-8") as file:
            text = file.read()
        yield f"- seed {seed}: " + "; ".join(" ".join(line.split()) for line in text.splitlines()[1:])


def said(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False).stdout.strip()


def main():
    home, result = sys.argv[1:3]
    rows = sorted(rows_of(home), key=lambda r: (r["steps"], r["seed"]))
    with open(f"{result}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
    lines = ["# What the demo's recipe learns, over seeds", "",
             f"`make bench-learning`, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, commit "
             f"{said('git describe --always --dirty')}, {said('sed -n ' + repr('s/^model name[^:]*: //p') + ' /proc/cpuinfo | head -n 1')}. "
             f"configs/demo.yaml, drawn motion videos, 8 classes, chance .125, {rows[0]['test_videos']} test videos; "
             "[docs/learning.md](../../docs/learning.md) has the protocol. The interval is Student's over seeds, of the "
             "differences paired by seed. A seed's own interval is that of the test videos. Single values: learning.csv."]
    for steps in sorted({r["steps"] for r in rows}):
        seeds = sorted({r["seed"] for r in rows if r["steps"] == steps})
        lines += ["", f"## {steps} steps ({8 * steps} clips), seeds {', '.join(map(str, seeds))}", "", *table(rows, steps), "",
                  "5 nearest neighbours, 64 labels, at checkpoints on the way (of this schedule; step 0 is random init):", "",
                  *curve(home, steps, seeds), "", "The runs themselves:", "", *checks(home, steps, seeds)]
    with open(f"{result}.md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
