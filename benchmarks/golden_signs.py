#!/usr/bin/env python3
"""Where the bf16 errors of a golden file's gradients come from: PyTorch beside itself in float64, by pytorch_step.py.

    golden_signs.py GOLDEN.h5 [DRAWS]

The L1 loss hands back the sign of prediction less target.  For the file's clips, then for DRAWS (16) others of the same
size, a line: the gradient's error (all together, and of the array that is worst in the file) with autocast to bf16,
the same with the signs that float64 has, and how many signs differ.  Bounds for the former: .021 and .045.
"""
import copy
import sys

import h5py
import numpy as np
import torch

import pytorch_step as step


def forward(model, clips, lists, signs):
    """Loss, and the signs that were used: those given, or its own."""
    patches, grid = model.patches(clips)
    every = torch.arange(patches.shape[1]).expand(patches.shape[0], -1)
    exact = clips.dtype
    with torch.no_grad():
        target = model.target(patches, every, grid).to(exact)
        target = torch.nn.functional.layer_norm(target, target.shape[-1:])
    loss, used = 0.0, []
    for g, (context, asked) in enumerate(zip(*lists)):
        answer = model.predictor(model.encoder(step.take(patches, context), context, grid), context, asked, grid)
        far = answer.to(exact) - step.take(target, asked)
        used.append(torch.sign(far).detach() if signs is None else signs[g].to(exact))
        loss = loss + (far * used[g]).mean() / len(lists[0])
    return loss, used


def gradient(model, clips, lists, signs=None, autocast=False):
    model.zero_grad()
    used = []
    for m, x in enumerate(clips):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss, of = forward(model, x, lists[m], signs and signs[m])
        (loss / len(clips)).backward()
        used.append(of)
    return {n: p.grad.double().clone() for n, p in model.named_parameters() if p.grad is not None}, used


def error(got, wanted, names):
    square = sum(float(((got[n] - wanted[n]) ** 2).sum()) for n in names)
    return (square / sum(float((wanted[n] ** 2).sum()) for n in names)) ** 0.5


def compare(label, model, exact, clips, lists, array):
    wanted, signs = gradient(exact, [x.double() for x in clips], lists)
    own, used = gradient(model, clips, lists, autocast=True)
    forced, _ = gradient(model, clips, lists, signs, autocast=True)
    pairs = [(a, b) for u, v in zip(signs, used) for a, b in zip(u, v)]
    other = sum(int((a != b).sum()) for a, b in pairs)
    values = [error(x, wanted, names) for x in (own, forced) for names in (list(wanted), [array])]
    print("%s: all %.4f, %s %.4f; with the true signs %.4f, %.4f; %d of %d signs differ" %
          (label, values[0], array, values[1], values[2], values[3], other, sum(a.numel() for a, _ in pairs)), flush=True)
    return values[:2]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    torch.set_num_threads(1)
    golden = h5py.File(sys.argv[1])
    a = dict(golden.attrs)
    model = step.Step((a["dim"], a["depth"], a["heads"], int(a["dim"] * a["mlp_ratio"]), a["pred_dim"], a["pred_depth"],
                       a["pred_heads"], 4 * a["pred_dim"], a["patch"], a["tubelet"]))
    read = lambda name: torch.from_numpy(np.asarray(golden[name]))
    model.load_state_dict({n: read("init/" + n.replace(".", "/", 1)) for n, _ in model.named_parameters()})
    exact = copy.deepcopy(model).double()
    parts = [f"step0/micro{m}" for m in range(a["micro_batches"])]
    lists = [[[read(f"{part}/mask_{kind}{g}").long() for g in range(2)] for kind in ("enc", "pred")] for part in parts]
    clips = [read(f"{part}/clips") for part in parts]
    array = "encoder.blocks.0.norm2.weight"
    compare("the file", model, exact, clips, lists, array)
    values = []
    for draw in range(int(sys.argv[2]) if len(sys.argv) == 3 else 16):
        torch.manual_seed(draw)
        values.append(compare(f"draw {draw}", model, exact, [torch.randn_like(x) * x.std() for x in clips], lists, array))
    if values:
        print("draws: mean %.4f, %.4f; largest %.4f, %.4f" % (*np.mean(values, axis=0), *np.max(values, axis=0)))


if __name__ == "__main__":
    main()
