#!/usr/bin/env python3
"""`make bench-cpu`: training steps on this CPU, ours and PyTorch's in turn, as a table.

    cpu_step.py [--python PYTHON] [--only NAME ...] [--dtype float32 bfloat16] [--modes 1x2 2x1] [--repeats N]
                [--seconds S] [--compile-limit S] [--clock wall|cpu] [-o FILE.md]

Both sides do the same step (bench_workers; pytorch_step.py): 2 clips a worker, the same numbers of tokens of one set of
masks in every step, forward, backward, AdamW, EMA; with 2 workers gradients are summed over them.  PyTorch runs as it
comes (eager), and the subjects of --compile compiled for exactly these numbers too (minutes each, up to a limit); the
faster of the two counts.  What was compiled is kept in the build folder, so that a second run finds it.  Repeats alternate ours, theirs; the figures are medians.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("BUILD", "build")
SUBJECTS = ["demo-64", "vit_tiny-112", "vit_small-112", "vit_base-112", "vit_tiny-224", "vit_small-224", "vit_base-224"]


def last_json(command, limit, environment):
    """What a program printed as its last line, or why there is nothing."""
    try:
        done = subprocess.run(command, cwd=HERE, env={**os.environ, **environment}, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, f"not done in {limit:.0f} s"
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        told = done.stderr.strip().splitlines() or ["no output"]
        return None, next((line for line in told if "Error: " in line), told[-1])
    return json.loads(lines[-1]), ""


def ours(o, subject, dtype, workers, threads):
    command = [f"{BUILD}/benchmarks/bench_workers", "--only", subject, "--dtype", dtype, "--threads", str(threads),
               "--seconds", str(o.seconds), "--clock", o.clock]
    if workers > 1:
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(workers)] + command
    got, why = last_json(command, 1800, {"OMP_WAIT_POLICY": "passive", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    if got is None:
        sys.exit(f"cpu_step: bench_workers: {why}")
    return got


def theirs(o, mine, dtype, workers, threads, compiled):
    model, pixels = mine["model"], mine["pixels"]
    start = [o.python]
    if workers > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)]
    command = start + ["benchmarks/pytorch_step.py", "time", "--model", model, "--pixels", str(pixels), "--frames", str(mine["frames"]),
                       "--clips", str(mine["clips"]), "--dtype", dtype, "--threads", str(threads), "--seconds", str(o.seconds),
                       "--clock", o.clock, "--counts", mine["counts"]]
    if not compiled:
        command.append("--no-compile")
    return last_json(command, o.compile_limit if compiled else 1800,
                     {"TORCHINDUCTOR_CACHE_DIR": o.cache, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "active" if o.clock == "wall" else "passive"})


def compare(o, subject, dtype, workers, threads):
    """One row: medians of both sides over repeats that alternate."""
    mine, eager, compiled, notes = [], [], [], []
    for repeat in range(o.repeats):
        mine.append(ours(o, subject, dtype, workers, threads))
        for results, how in ((eager, False), (compiled, True)):
            if (repeat > 0 and not results) or (how and (workers > 1 or subject not in o.compile)):
                continue  # it failed, is the slower one, or is not asked for
            got, why = theirs(o, mine[0], dtype, workers, threads, how)
            if got:
                results.append(got)
            elif how:
                notes.append(f"torch.compile: {why}")
            else:
                sys.exit(f"cpu_step: pytorch_step.py: {why}")
        if repeat == 0 and compiled and compiled[0]["ms"] < eager[0]["ms"]:
            first_eager, eager = eager[0]["ms"], []
        elif repeat == 0:
            first_eager = eager[0]["ms"]
            if compiled:
                notes.append(f"torch.compile: {compiled[0]['ms']:.0f} ms")
            compiled = []
    best = compiled or eager
    middle = lambda results, key: statistics.median(r[key] for r in results)
    row = {"subject": subject, "dtype": dtype, "workers": workers, "threads": threads, "ours_ms": middle(mine, "ms"),
           "theirs_ms": middle(best, "ms"), "eager_ms": first_eager, "compiled": bool(compiled),
           "gflops": middle(mine, "gflop") / middle(mine, "ms") * 1e3, "ceiling": max(r["ceiling_gflops"] for r in mine),
           "ours_mib": max(r["peak_mib"] for r in mine), "theirs_mib": 1024 * max(r["peak_gib"] for r in best),
           "clips": mine[0]["clips"] * workers, "frames": mine[0]["frames"], "torch": best[0]["torch"], "note": "; ".join(notes)}
    row["ratio"] = statistics.median(b["ms"] / a["ms"] for a, b in zip(mine, best))
    return row


def text_of(*command):
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout.strip()


def table(o, rows):
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    lines = ["# A training step on the CPU, beside PyTorch", "",
             f"`make bench-cpu` ({o.clock} clock, {o.repeats} repeats, {o.seconds:g} s each), {datetime.date.today()}, commit "
             f"{text_of('git', 'describe', '--always', '--dirty')}, {cpu}, {os.cpu_count()} cores, load at the end {os.getloadavg()[1]:.1f}, "
             f"torch {rows[0]['torch']}.", "",
             "2 clips a worker, the same token counts on both sides in every step. PyTorch: the faster of eager and torch.compile, compiled for",
             f"exactly these counts (in training they change every step); compiling was tried for {', '.join(o.compile) or 'none'} on one worker.",
             "The ceiling is the best product of oneDNN in the same type that was seen in the same processes.", "",
             "| model | type | workers x threads | ours, ms | PyTorch, ms | ratio | GFLOP/s | of the ceiling | ours, MiB | PyTorch, MiB | PyTorch is |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        name, pixels = r["subject"].rsplit("-", 1)
        how = f"compiled (eager {r['eager_ms']:.0f} ms)" if r["compiled"] else "eager" + (f" ({r['note']})" if r["note"] else "")
        lines.append(f"| {name} {r['frames']} x {pixels} | {r['dtype']} | {r['workers']} x {r['threads']} | {r['ours_ms']:.1f} | "
                     f"{r['theirs_ms']:.1f} | {r['ratio']:.2f} | {r['gflops']:.0f} | {100 * r['gflops'] / r['ceiling']:.0f} % | "
                     f"{r['ours_mib']:.0f} | {r['theirs_mib']:.0f} | {how} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", nargs="*", default=SUBJECTS)
    parser.add_argument("--dtype", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--modes", nargs="*", default=["1x2", "2x1"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--compile", nargs="*", default=["vit_tiny-112"])
    parser.add_argument("--compile-limit", type=float, default=300.0)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("-o", "--output", default="benchmarks/results/cpu-step.md")
    o = parser.parse_args()
    o.cache = os.path.join(os.path.abspath(os.path.join(HERE, BUILD)), "bench-cpu-inductor")
    rows = []
    for mode in o.modes:
        workers, threads = (int(n) for n in mode.split("x"))
        for subject in o.only:
            if workers > 1 and subject.endswith("-224"):
                continue  # the longest rows say nothing new about two workers
            for dtype in o.dtype:
                rows.append(compare(o, subject, dtype, workers, threads))
                print(json.dumps(rows[-1]), flush=True)
                with open(os.path.join(HERE, o.output), "w") as out:  # what is there so far, if it is stopped
                    out.write(table(o, rows))


if __name__ == "__main__":
    main()
