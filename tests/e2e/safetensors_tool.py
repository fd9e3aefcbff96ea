#!/usr/bin/env python3
"""What export_import.sh asks of exported folders, with nothing but numpy and h5py.

check DIR CHECKPOINT target|online     every tensor against the checkpoint's arrays
public CHECKPOINT OUT                  the checkpoint's weights under the public code's names
same CHECKPOINT OTHER                  weights and ema of two checkpoints are the same bits
"""
import json
import struct
import sys

import h5py
import numpy as np


def load(path):
    raw = open(path, "rb").read()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + length])
    assert length % 8 == 0 and header.pop("__metadata__") == {"format": "pt"}
    assert list(header) == sorted(header), "names are not sorted"
    tensors, at = {}, 0
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert begin == at and end - begin == 4 * int(np.prod(entry["shape"])), name
        at = end
        tensors[name] = np.frombuffer(raw[8 + length + begin:8 + length + end], "<f4").reshape(entry["shape"])
    assert 8 + length + at == len(raw)
    return tensors


def save(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(value.tobytes())


def arrays(folder):
    manifest = json.load(open(f"{folder}/manifest.json"))
    whole = {a["name"]: np.zeros(a["total"], "<f4") for a in manifest["arrays"]}
    for shard in manifest["shards"]:
        with h5py.File(f"{folder}/{shard['file']}") as file:
            for name, data in whole.items():
                first = int(file[name].attrs["offset"])
                data[first:first + len(file[name])] = file[name][:]
    return manifest, whole


def expected(manifest, whole, which):
    """transformers' names and values, by the table of issue 6."""
    out, tokens = {}, {}
    for p in manifest["parameters"]:
        name = p["name"]
        source = "ema" if name.startswith("encoder.") and which == "target" else "weights"
        value = whole[source][p["offset"]:p["offset"] + p["count"]].reshape(p["shape"])
        name = name.replace("encoder.patch_embed.", "encoder.embeddings.patch_embeddings.")
        name = name.replace("predictor.predictor_embed.", "predictor.embeddings.predictor_embeddings.")
        name = name.replace("predictor_blocks.", "layer.").replace("encoder.blocks.", "encoder.layer.")
        name = name.replace("encoder.norm.", "encoder.layernorm.").replace("predictor_norm.", "layernorm.")
        name = name.replace("predictor_proj.", "proj.").replace(".attn.", ".attention.")
        if ".qkv." in name:
            for part, third in zip(("query", "key", "value"), np.split(value, 3)):
                out[name.replace("qkv", part)] = third
        elif "mask_tokens" in name:
            tokens[int(name.rsplit(".", 1)[1])] = (value, p["adam_step"])
        else:
            out[name] = value
    trained = max(tokens, key=lambda i: tokens[i][1])
    out["predictor.embeddings.mask_tokens"] = np.stack(
        [tokens[i if tokens[i][1] > 0 else trained][0] for i in sorted(tokens)])
    return out


def check(folder, checkpoint, which):
    found = load(f"{folder}/model.safetensors")
    wanted = expected(*arrays(checkpoint), which)
    assert set(found) == set(wanted), set(found) ^ set(wanted)
    for name, value in wanted.items():
        assert found[name].shape == value.shape and found[name].tobytes() == value.tobytes(), name
    tokens = found["predictor.embeddings.mask_tokens"]
    assert np.any(tokens != 0) and np.all(tokens[1] == tokens[0]), "the untrained token was not filled"
    config = json.load(open(f"{folder}/config.json"))
    width, hidden = config["hidden_size"], found["encoder.layer.0.mlp.fc1.weight"].shape[0]
    assert int(width * config["mlp_ratio"]) == hidden, config["mlp_ratio"]


def public(checkpoint, out):
    manifest, whole = arrays(checkpoint)
    tensors = {}
    for p in manifest["parameters"]:
        place = slice(p["offset"], p["offset"] + p["count"])
        tensors[p["name"]] = whole["weights"][place].reshape(p["shape"])
        if p["name"].startswith("encoder."):
            tensors["target_" + p["name"]] = whole["ema"][place].reshape(p["shape"])
    save(out, tensors)


def same(one, other):
    a, b = arrays(one)[1], arrays(other)[1]
    for name in ("weights", "ema"):
        assert a[name].tobytes() == b[name].tobytes(), name
    assert not np.any(b["moment1"]) and not np.any(b["moment2"])


if __name__ == "__main__":
    {"check": check, "public": public, "same": same}[sys.argv[1]](*sys.argv[2:])
