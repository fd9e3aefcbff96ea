#!/usr/bin/env python3
"""How soon a run takes its first step and what host memory a worker takes, beside PyTorch's program; and whether memory
stays flat.

    start_memory.py start [--python PYTHON] [--workers W] [--repeats N] [-o FILE.md]
    start_memory.py flat [--steps N] [-o FILE]          writes FILE.csv, FILE.png (gnuplot); exit 1 where memory grows

start: the demo's model (configs/demo.yaml) on videos that are drawn first.  Ours: `lockstep train`, from the command to
the first line of metrics.jsonl, a file system's wait for the run folder included; theirs: pytorch_step.py with the
same model, from the start of the process to the end of its first step, without reading any video.  Memory is the peak
resident set of one worker (VmHWM), of which `private` is what no library file or other process shares.
flat: one worker trains a tiny model for 10,000 steps and its resident set is read about a hundred times.
"""
import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(HERE, os.environ.get("BUILD", "build"))
LOCKSTEP = os.path.join(BUILD, "lockstep")
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
TINY = ["model.embed_dim=64", "model.depth=1", "model.num_heads=2", "model.pred_embed_dim=32", "model.pred_depth=1",
        "model.pred_num_heads=1", "nodes=1", "tasks_per_node=1", "meta.save_freq_steps=2500"]


def videos(folder, count):
    """A packed dataset of the demo's videos."""
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([os.path.join(BUILD, "tools/motion_videos"), "-o", f"{folder}/videos", "--count", str(count)], **quiet)
    subprocess.run([LOCKSTEP, "pack", f"{folder}/videos/LIST.csv", "-o", f"{folder}/dataset"], **quiet)


def train(folder, run, workers, steps, overrides=()):
    words = [LOCKSTEP, "train", os.path.join(HERE, "configs/demo.yaml"), "-n", str(workers)]
    for override in (f"data.datasets=[{folder}/dataset]", f"folder={run}", f"optimization.steps={steps}", "optimization.warmup_steps=1",
                     *overrides):
        words += ["--set", override]
    log = open(os.path.join(folder, "log"), "w")
    return subprocess.Popen(words, stdout=log, stderr=log, env=ENVIRONMENT, cwd=HERE)


def memory_of(pid):
    """MiB: peak and present resident set, and the present private part."""
    found = {}
    for line in open(f"/proc/{pid}/status"):
        name, value = line.split(":", 1)
        if name in ("VmHWM", "VmRSS", "RssAnon"):
            found[name] = int(value.split()[0]) / 1024
    return found


def worker_of(run):
    """A worker process of this run."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = open(f"/proc/{name}/cmdline").read().split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == "lockstep-worker" and run in words:
                return int(name)
    return None


def lines_of(path):
    try:
        return sum(1 for _ in open(path))
    except OSError:
        return 0


def first_step(folder, run, workers):
    """Seconds to the first finished step, and the worker's memory as long as it runs."""
    begin = time.monotonic()
    process = train(folder, run, workers, 30)
    seconds, memory, pid = None, {}, None
    while process.poll() is None:
        if seconds is None and lines_of(f"{run}/metrics.jsonl") > 0:
            seconds = time.monotonic() - begin
        try:
            pid = pid or (worker_of(run) if seconds else None)
            memory = (memory_of(pid) if pid else {}) or memory  # one that has ended has none
        except OSError:
            pass
        time.sleep(0.005)
    if process.returncode != 0 or seconds is None or "VmHWM" not in memory:
        sys.exit(f"start_memory: the run failed, or was too short to be looked at:\n{open(folder + '/log').read()}")
    return seconds, memory


def theirs(python):
    words = [python, "benchmarks/pytorch_step.py", "time", "--model", "demo", "--pixels", "64", "--frames", "8", "--seconds", "1",
             "--threads", "1", "--no-compile"]
    done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"start_memory: pytorch_step.py: {done.stderr.strip().splitlines()[-1]}")
    got = json.loads(done.stdout.strip().splitlines()[-1])
    return got["first_step_s"], 1024 * got["peak_gib"], got["torch"]


def facts():
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    return f"{datetime.date.today()}, commit {commit}, {cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def start(o, folder):
    videos(folder, 64)
    ours, opponent = [], []
    for repeat in range(o.repeats):
        ours.append(first_step(folder, f"{folder}/run{repeat}", o.workers))
        opponent.append(theirs(o.python))
    middle = statistics.median
    mine = middle(s for s, _ in ours)
    other = middle(s for s, _, _ in opponent)
    peak, private = middle(m["VmHWM"] for _, m in ours), middle(m["RssAnon"] for _, m in ours)
    torch_peak = middle(m for _, m, _ in opponent)
    text = f"""# Start and memory

`benchmarks/start_memory.py start --workers {o.workers}`, {facts()}, medians of {o.repeats} in turn; the demo's model, float32.

| | ours | PyTorch {opponent[0][2]} | ours / PyTorch's |
| --- | --- | --- | --- |
| command to the end of the first step, s | {mine:.2f} | {other:.2f} | {mine / other:.2f} |
| peak resident memory of a worker, MiB | {peak:.0f} (private {private:.0f}) | {torch_peak:.0f} | {peak / torch_peak:.2f} (private {private / torch_peak:.2f}) |

Ours: {o.workers} workers through `lockstep train`: checks, mpirun, datasets opened and read, model, first clips decoded, step, metrics.
PyTorch: one process of pytorch_step.py, no launcher, no videos.
"""
    with open(os.path.join(HERE, o.output), "w") as out:
        out.write(text)
    print(text)


def flat(o, folder):
    videos(folder, 64)
    run = f"{folder}/run"
    process = train(folder, run, 1, o.steps, TINY)
    rows, pid, every = [], None, max(1, o.steps // 100)
    while process.poll() is None:
        time.sleep(0.02)
        done = lines_of(f"{run}/metrics.jsonl")
        if done == 0 or (rows and done < rows[-1][0] + every):
            continue
        try:
            pid = pid or worker_of(run)
            memory = memory_of(pid) if pid else {}
            if memory:
                rows.append((done, memory["VmRSS"], memory["RssAnon"]))
        except OSError:
            pass
    if process.returncode != 0:
        sys.exit(f"start_memory: the run failed:\n{open(folder + '/log').read()}")
    prefix = os.path.join(HERE, o.output)
    with open(prefix + ".csv", "w") as out:
        out.write(f"# start_memory.py flat --steps {o.steps}, {facts()}; MiB of the worker\nstep,resident,private\n")
        out.writelines(f"{step},{resident:.2f},{private:.2f}\n" for step, resident, private in rows)
    plot = f"""set terminal pngcairo size 900,420 font "sans,10"
set output "{prefix}.png"
set datafile separator ","
set title "Resident memory of a worker over {o.steps} steps"
set xlabel "steps"; set ylabel "MiB"; set yrange [0:*]; set key bottom
plot "{prefix}.csv" skip 2 u 1:2 w l lw 2 t "resident", "" skip 2 u 1:3 w l lw 2 t "private" """
    subprocess.run(["gnuplot"], input=plot, text=True, check=True)
    third = len(rows) // 3
    early = statistics.median(r[1] for r in rows[third:2 * third])
    late = statistics.median(r[1] for r in rows[2 * third:])
    print(f"{len(rows)} readings over {rows[-1][0]} steps: middle third {early:.1f} MiB, last third {late:.1f} MiB, "
          f"growth {1024 * (late - early) / (o.steps / 3):.3f} KiB a step")
    return 0 if late <= early + max(1.0, 0.01 * early) else 1


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    begun = commands.add_parser("start")
    begun.add_argument("--python", default=sys.executable)
    begun.add_argument("--workers", type=int, default=2)
    begun.add_argument("--repeats", type=int, default=5)
    begun.add_argument("-o", "--output", default="benchmarks/results/start.md")
    level = commands.add_parser("flat")
    level.add_argument("--steps", type=int, default=10000)
    level.add_argument("-o", "--output", default="benchmarks/results/memory-10000")
    o = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="lockstep-start.")
    try:
        sys.exit(start(o, folder) if o.command == "start" else flat(o, folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
