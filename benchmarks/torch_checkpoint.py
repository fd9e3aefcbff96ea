"""What torch.save and torch.distributed.checkpoint take for the state that bench_checkpoint saves.

    python torch_checkpoint.py TABLE FOLDER REPEATS [WHAT...]      WHAT: save dcp async

TABLE (bench_checkpoint --table) has a line a parameter: name, elements, 1 where the target encoder has
it.  The state is what a trainer hands over: a tensor each for weights, both moments and the EMA.
One process, as one rank that holds everything.  Each save is timed until the call returns (training
stands still) and until its files are durable (fsync of what the call left unsynced included), in turn
with a write and fsync of the same bytes.  Medians after a first save that does not count.
"""
import os
import resource
import shutil
import statistics
import sys
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp


def state_of(table):
    state, numbers = {}, torch.Generator().manual_seed(1)
    for line in open(table, encoding="ascii"):
        name, count, ema = line.split()
        for array in ["weights", "moment1", "moment2"] + ["ema"] * (ema == "1"):
            bits = torch.randint(-(2**31), 2**31 - 1, (int(count),), dtype=torch.int32, generator=numbers)
            state[f"{array}.{name}"] = bits.view(torch.float32)
    return state


def sync(path):
    """fsync a folder's files and the folder, or a file."""
    names = [os.path.join(path, n) for n in sorted(os.listdir(path))] if os.path.isdir(path) else []
    for name in names + [path]:
        file = os.open(name, os.O_RDONLY)
        os.fsync(file)
        os.close(file)


def bare_write(state, path):
    begin = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for tensor in state.values():
            data = memoryview(tensor.numpy()).cast("B")
            for at in range(0, len(data), 4 << 20):
                file.write(data[at : at + (4 << 20)])
        os.fsync(file.fileno())
    took = time.monotonic() - begin
    os.unlink(path)
    return took


def save(state, path):
    begin = time.monotonic()
    torch.save(state, path)
    sync(path)  # nothing runs beside it: training stands still until the end
    took = time.monotonic() - begin
    return took, took


def save_dcp(state, path):
    begin = time.monotonic()
    dcp.save(state, storage_writer=dcp.FileSystemWriter(path, sync_files=True))
    sync(path)
    took = time.monotonic() - begin
    return took, took


def save_async(state, path):
    begin = time.monotonic()
    future = dcp.async_save(state, storage_writer=writer_async(path))
    stands = time.monotonic() - begin
    future.result()
    sync(path)
    return stands, time.monotonic() - begin


def writer_async(path):
    """One that keeps its staging memory would be kept by the caller; the one that is made for each save is what users write."""
    return dcp.FileSystemWriter(path, sync_files=True)


SAVES = {
    "save": ("torch.save and fsync", save),
    "dcp": ("torch.distributed.checkpoint.save", save_dcp),
    "async": ("torch.distributed.checkpoint.async_save", save_async),
}


def main():
    table, folder, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(os.cpu_count() or 1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    state = state_of(table)
    size = sum(t.numel() * t.element_size() for t in state.values()) / 1e9
    print(f"torch {torch.__version__}: {len(state)} tensors, {size:.2f} GB")
    for what in sys.argv[4:] or SAVES:
        title, function = SAVES[what]
        times = []
        for number in range(repeats + 1):
            path = os.path.join(folder, f"{what}-{number}")
            stands, durable = function(state, path)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            times.append((stands, durable, bare_write(state, os.path.join(folder, "bare"))))
        stands, durable, bare = (statistics.median(t[i] for t in times[1:]) for i in range(3))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(f"{title}: stands still {stands:.3f} s, durable after {durable:.2f} s ({size / durable:.3f} GB/s), "
              f"bare write {bare:.2f} s: {100 * bare / durable:.0f} % of it; peak memory {peak:.2f} GB", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
