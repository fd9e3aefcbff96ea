#!/usr/bin/env python3
"""The opponent: one training step of the same mathematics in PyTorch 2, written as well as we know how.

    pytorch_step.py check GOLDEN.h5...        losses, gradients and the updated state against golden files
    pytorch_step.py time [--model NAME] [--pixels S] [--frames T] [--clips B] [--threads N] [--dtype float32|bfloat16]
                         [--device cpu|cuda] [--counts C0,P0,C1,P1 ...] [--seconds S] [--clock wall|cpu] [--no-compile]

A step: target encoder on all tokens, context encoder and predictor for both mask groups, L1 loss on normalised
targets, backward, AdamW, EMA.  Nothing is computed for masked patches; SDPA, torch.compile, the fused AdamW where
the device has one, foreach EMA, bf16 by autocast.  `--counts` are tokens of context and prediction in both groups,
as bench_step prints them: which tokens they are does not change the time.  `--clock cpu`: CPU time over threads,
for a machine that others use.  The last line is JSON.
"""
import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

MODELS = {  # width, depth, heads, ratio of the MLP
    "demo": (128, 4, 4, 4.0), "vit_tiny": (192, 12, 3, 4.0), "vit_small": (384, 12, 6, 4.0), "vit_base": (768, 12, 12, 4.0),
    "vit_large": (1024, 24, 16, 4.0), "vit_huge": (1280, 32, 16, 4.0), "vit_giant_xformers": (1408, 40, 22, 48 / 11)}


def rotary_table(tokens, grid, width):
    """cos and sin [..., N, width] of token numbers [..., N]: three axes of equal width, the rest is not turned."""
    rows, columns = grid
    axis = 2 * ((width // 3) // 2)
    positions = (tokens // (rows * columns), tokens // columns % rows, tokens % columns)
    frequency = 10000.0 ** (-torch.arange(axis // 2, device=tokens.device, dtype=torch.float32) / (axis / 2))
    frequency = frequency.repeat(2)  # channel c has frequency c mod (axis / 2), as the released weights expect
    angles = [p.unsqueeze(-1) * frequency for p in positions]
    angles.append(torch.zeros(*tokens.shape, width - 3 * axis, device=tokens.device))
    angle = torch.cat(angles, dim=-1)
    return angle.cos(), angle.sin()


def turn(x, cos, sin):
    pairs = x.unflatten(-1, (-1, 2))
    swapped = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return x * cos + swapped * sin


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, cos, sin):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = turn(q, cos, sin).to(v.dtype), turn(k, cos, sin).to(v.dtype)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, hidden)

    def forward(self, x, cos, sin):
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """The convolution of the public code, as a product over the patches that are asked for."""

    def __init__(self, dim, patch, tubelet):
        super().__init__()
        self.proj = nn.Conv3d(3, dim, (tubelet, patch, patch), (tubelet, patch, patch))

    def forward(self, patches):
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class Encoder(nn.Module):
    def __init__(self, dim, depth, heads, hidden, patch, tubelet):
        super().__init__()
        self.width = dim // heads
        self.patch_embed = PatchEmbed(dim, patch, tubelet)
        self.blocks = nn.ModuleList(Block(dim, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, patches, tokens, grid):
        cos, sin = (t.unsqueeze(1) for t in rotary_table(tokens, grid, self.width))
        x = self.patch_embed(patches)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)


class Predictor(nn.Module):
    def __init__(self, dim, width, depth, heads, hidden):
        super().__init__()
        self.width = width // heads
        self.predictor_embed = nn.Linear(dim, width)
        self.mask_tokens = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, width)) for _ in range(2))
        self.predictor_blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, dim)

    def forward(self, context, context_tokens, predicted_tokens, grid):
        tokens = torch.cat((context_tokens, predicted_tokens), dim=1)
        cos, sin = (t.unsqueeze(1) for t in rotary_table(tokens, grid, self.width))
        x = self.predictor_embed(context)
        asked = self.mask_tokens[0].to(x.dtype).expand(x.shape[0], predicted_tokens.shape[1], -1)
        x = torch.cat((x, asked), dim=1)
        for block in self.predictor_blocks:
            x = block(x, cos, sin)
        x = self.predictor_norm(x[:, context_tokens.shape[1]:])
        return self.predictor_proj(x)


def take(x, tokens):
    return torch.gather(x, 1, tokens.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


class Step(nn.Module):
    def __init__(self, shape):
        super().__init__()
        dim, depth, heads, hidden, pdim, pdepth, pheads, phidden, patch, tubelet = shape
        self.patch, self.tubelet = patch, tubelet
        self.encoder = Encoder(dim, depth, heads, hidden, patch, tubelet)
        self.predictor = Predictor(dim, pdim, pdepth, pheads, phidden)
        self.target = Encoder(dim, depth, heads, hidden, patch, tubelet).requires_grad_(False)

    def patches(self, clips):
        b, c, t, h, w = clips.shape
        p, u = self.patch, self.tubelet
        x = clips.view(b, c, t // u, u, h // p, p, w // p, p).permute(0, 2, 4, 6, 1, 3, 5, 7)
        return x.reshape(b, (t // u) * (h // p) * (w // p), c * u * p * p), (h // p, w // p)

    def forward(self, clips, contexts, predicted):
        patches, grid = self.patches(clips)
        every = torch.arange(patches.shape[1], device=clips.device).expand(patches.shape[0], -1)
        with torch.no_grad():
            target = self.target(patches, every, grid).float()
            target = F.layer_norm(target, target.shape[-1:])
        loss = 0.0
        for context, asked in zip(contexts, predicted):
            features = self.encoder(take(patches, context), context, grid)
            answer = self.predictor(features, context, asked, grid)
            loss = loss + (answer.float() - take(target, asked)).abs().mean() / len(contexts)
        return loss


def optimizer_of(model, device):
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.dim() > 1], "weight_decay": 0.04},
              {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0.0}]
    kind = {"fused": True} if device in ("cuda", "cpu") else {"foreach": True}
    return torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, **kind)


@torch.no_grad()
def update_target(model, keep):
    model = getattr(model, "module", model)  # DistributedDataParallel has it there
    target, online = list(model.target.parameters()), list(model.encoder.parameters())
    torch._foreach_mul_(target, keep)
    torch._foreach_add_(target, online, alpha=1 - keep)


def error(x, wanted):
    return float(torch.linalg.vector_norm(x.double() - wanted.double()) / torch.linalg.vector_norm(wanted.double()))


def check(path):
    """Worst error of losses, gradients and the change of the state, in parts of the golden files' bounds."""
    import h5py
    import numpy as np
    golden = h5py.File(path)
    a = dict(golden.attrs)
    hidden, phidden = int(a["dim"] * a["mlp_ratio"]), 4 * a["pred_dim"]
    model = Step((a["dim"], a["depth"], a["heads"], hidden, a["pred_dim"], a["pred_depth"], a["pred_heads"], phidden,
                  a["patch"], a["tubelet"]))
    read = lambda name: torch.from_numpy(np.asarray(golden[name]))
    initial = {n: read("init/" + n.replace(".", "/", 1)) for n, _ in model.named_parameters()}
    model.load_state_dict(initial)
    optimizer = optimizer_of(model, "cpu")
    worst = {"loss": 0.0, "gradient": 0.0, "state": 0.0}
    for s in range(a["steps"]):
        attributes = golden[f"step{s}"].attrs
        optimizer.zero_grad()
        for m in range(a["micro_batches"]):
            part = f"step{s}/micro{m}"
            lists = [[read(f"{part}/mask_{kind}{g}").long() for g in range(2)] for kind in ("enc", "pred")]
            loss = model(read(f"{part}/clips"), *lists)
            worst["loss"] = max(worst["loss"], abs(float(loss.detach()) / golden[part].attrs["loss"] - 1) / 1e-6)
            (loss / a["micro_batches"]).backward()
        if s == 0:
            for name, p in model.named_parameters():
                key = "step0/grad/" + name.replace(".", "/", 1)
                if p.grad is not None and key in golden:
                    worst["gradient"] = max(worst["gradient"], error(p.grad, read(key)) / 1e-5)
        for group in optimizer.param_groups:
            group["lr"] = attributes["lr"]
            group["weight_decay"] = attributes["weight_decay"] if group["weight_decay"] > 0 else 0.0
        optimizer.step()
        update_target(model, attributes["ema"])
    change, wanted = [], []
    for name, p in model.named_parameters():
        change.append((p.detach() - initial[name]).flatten())
        wanted.append((read("final/" + name.replace(".", "/", 1)) - initial[name]).flatten())
    worst["state"] = error(torch.cat(change), torch.cat(wanted)) / 2e-5
    print(path, " ".join(f"{k} {v:.3f} of its bound" for k, v in worst.items()))
    return max(worst.values()) <= 1


def one_step(model, optimizer, dtype, device, clips, lists):
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
        loss = model(clips, *lists)
    loss.backward()
    optimizer.step()
    update_target(model, 0.999)
    return loss


def since_start():
    """Seconds since this process was started."""
    ticks = float(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
    return float(open("/proc/uptime").read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def goes_on(mine):
    """Whether there is another step: what rank 0 says."""
    if not torch.distributed.is_initialized():
        return mine
    said = torch.tensor([int(bool(mine))])
    torch.distributed.broadcast(said, 0)
    return bool(said[0])


def run(o):
    torch.manual_seed(1)
    if o.threads:
        torch.set_num_threads(o.threads)
    workers = int(os.environ.get("WORLD_SIZE", 1))
    dim, depth, heads, ratio = MODELS[o.model]
    predictor = (64, 2, 2, 256, 8, 2) if o.model == "demo" else (384, 12, 12, 1536, 16, 2)
    shape = (dim, depth, heads, int(dim * ratio), *predictor)
    model = Step(shape).to(o.device)
    model.target.load_state_dict(model.encoder.state_dict())
    optimizer = optimizer_of(model, o.device)
    wrapped = model
    if workers > 1:
        torch.distributed.init_process_group("gloo")
        # One mask token is never used: static_graph finds that out once.
        wrapped = nn.parallel.DistributedDataParallel(model, static_graph=True, broadcast_buffers=False)
    compiled = wrapped if o.no_compile else torch.compile(wrapped)
    tokens = (o.frames // 2) * (o.pixels // model.patch) ** 2
    clips = torch.randn(o.clips, 3, o.frames, o.pixels, o.pixels, device=o.device)
    batches = []
    for text in o.counts or [f"{tokens // 4},{3 * tokens // 4},{tokens // 10},{9 * tokens // 10}"]:
        counts = [int(n) for n in text.split(",")]
        lists = ([], [])
        for g in range(2):
            order = torch.stack([torch.randperm(tokens) for _ in range(o.clips)]).to(o.device)
            lists[0].append(order[:, :counts[2 * g]].sort().values)
            lists[1].append(order[:, tokens - counts[2 * g + 1]:].sort().values)
        batches.append(lists)
    if o.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.cuda.reset_peak_memory_stats()
    now = time.perf_counter if o.clock == "wall" else lambda: time.process_time() / torch.get_num_threads()
    begin, first_s = time.perf_counter(), 0.0
    for _ in range(2):
        for lists in batches:
            loss = one_step(compiled, optimizer, o.dtype, o.device, clips, lists)
            first_s = first_s or since_start()
    start_s = time.perf_counter() - begin
    if not 0.3 < float(loss.detach()) < 1.5:
        sys.exit(f"loss {float(loss.detach())}: a wrong answer")
    times = []
    begin = time.perf_counter()
    while goes_on(time.perf_counter() - begin < o.seconds or len(times) % len(batches) or not times):
        before = now()
        one_step(compiled, optimizer, o.dtype, o.device, clips, batches[len(times) % len(batches)])
        if o.device == "cuda":
            torch.cuda.synchronize()
        times.append(now() - before)
    result = {"model": o.model, "frames": o.frames, "pixels": o.pixels, "clips": o.clips, "dtype": o.dtype,
              "device": torch.cuda.get_device_name() if o.device == "cuda" else "cpu", "threads": torch.get_num_threads(), "workers": workers, "clock": o.clock,
              "torch": torch.__version__, "compile": not o.no_compile, "steps": len(times), "warm_up_s": round(start_s, 1), "first_step_s": round(first_s, 2),
              "ms": round(1e3 * statistics.median(times), 2), "clips_per_s": round(o.clips / statistics.median(times), 3)}
    if o.device == "cuda":
        result["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    else:
        import resource
        result["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    if workers > 1:
        rank = torch.distributed.get_rank()
        torch.distributed.destroy_process_group()
        if rank > 0:
            return
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("golden", nargs="+")
    timed = commands.add_parser("time")
    timed.add_argument("--model", choices=MODELS, default="vit_small")
    for name, value in (("pixels", 224), ("frames", 16), ("clips", 2), ("threads", 0)):
        timed.add_argument("--" + name, type=int, default=value)
    timed.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    timed.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    timed.add_argument("--counts", nargs="*")
    timed.add_argument("--seconds", type=float, default=5.0)
    timed.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    timed.add_argument("--no-compile", action="store_true")
    o = parser.parse_args()
    if o.command == "time":
        run(o)
    elif not all([check(path) for path in o.golden]):
        sys.exit(1)


if __name__ == "__main__":
    main()
