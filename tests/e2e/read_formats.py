#!/usr/bin/env python3
"""Reads a dataset and a checkpoint with the readers that docs/formats.md prints, and nothing of lockstep.

usage: read_formats.py FORMATS.md DATASET NAME SOURCE CHECKPOINT

Packets are compared with what ffprobe finds in the source, weights with what their row of the manifest promises."""
import hashlib
import json
import subprocess
import sys

import numpy as np


def readers(page, checkpoint):
    """The page's Python blocks as one name space; the example paths become real ones."""
    blocks = open(page, encoding="utf-8").read().split("```python\n")[1:]
    space = {}
    for block in blocks:
        exec(block.split("```")[0].replace("RUN/checkpoints/latest", checkpoint), space)  # noqa: S102
    return space


def check_packets(space, dataset, name, source):
    found = [(pts, len(data), hashlib.md5(data).hexdigest()) for pts, _, data in space["packets"](dataset, name)]
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "V:0", "-show_data_hash", "md5", "-show_packets",
         "-show_entries", "packet=pts,size,data_hash", "-of", "json", source],
        check=True, capture_output=True, text=True)
    wanted = []
    for packet in json.loads(probe.stdout)["packets"]:
        wanted.append((int(packet.get("pts", -2**63)), int(packet["size"]), packet["data_hash"].split(":")[1]))
    assert found, "no packets"
    assert found == wanted, f"{len(found)} packets, {len(wanted)} in the source; first difference: " + str(
        next((a, b) for a, b in zip(found + [None], wanted + [None]) if a != b))
    return len(found)


def check_weight(space, checkpoint):
    manifest = json.load(open(f"{checkpoint}/manifest.json", encoding="utf-8"))
    weight = space["weight"]
    assert weight.dtype == np.float32 and list(weight.shape) == space["p"]["shape"], weight.shape
    assert np.isfinite(weight).all() and weight.std() > 0, "not a trained weight"
    # All parameters, from all shards, against the array as a whole.
    total = next(a["total"] for a in manifest["arrays"] if a["name"] == "weights")
    whole = space["read"](checkpoint, "weights", 0, total)
    assert len(whole) == total
    for p in manifest["parameters"]:
        part = space["read"](checkpoint, "weights", p["offset"], p["count"])
        assert np.array_equal(part, whole[p["offset"]:p["offset"] + p["count"]]), p["name"]
        assert np.prod(p["shape"]) == p["count"], p["name"]
    return len(manifest["parameters"]), len(manifest["shards"])


def main():
    page, dataset, name, source, checkpoint = sys.argv[1:]
    space = readers(page, checkpoint)
    count = check_packets(space, dataset, name, source)
    parameters, shards = check_weight(space, checkpoint)
    print(f"{count} packets, {parameters} parameters from {shards} shards")


main()
