"""The transformers side of `make test-interop` (scripts/interop.sh).

models DIR FAMILY...     a random VJEPA2Model of each family, saved by save_pretrained to DIR/FAMILY.hf
options FAMILY           the --set options that describe the family to lockstep
compare DIR NAME...      features of DIR/NAME.{target,online} against DIR/NAME-CLIP.{target,context,prediction}
pt DIR FOLDER            FOLDER's weights as a checkpoint of the public code, DIR/public.pt
"""
import glob
import json
import os
import sys
import warnings

import numpy as np
import torch
from transformers import AutoVideoProcessor, VJEPA2Config, VJEPA2Model

warnings.filterwarnings("ignore")
LIMIT = 1e-3  # absolute, float32: what the converter of transformers asks of itself
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# name: encoder width, depth, heads, mlp ratio; predictor width, depth, heads; crop, frames, patch
FAMILIES = {
    "l_head64": (256, 3, 4, 4.0, 96, 2, 3, 64, 8, 16),
    "h_head80": (320, 2, 4, 4.0, 96, 3, 3, 96, 4, 16),
    "g_ratio48_11": (704, 2, 11, 48 / 11, 384, 1, 12, 64, 4, 16),
    "tiny_whole_predictor": (192, 12, 3, 4.0, 384, 12, 12, 64, 16, 16),
    "demo_patch8": (132, 4, 3, 4.0, 64, 2, 2, 64, 8, 8),
}


def config_of(family):
    width, depth, heads, ratio, pred, pred_depth, pred_heads, crop, frames, patch = FAMILIES[family]
    return VJEPA2Config(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, mlp_ratio=ratio,
        pred_hidden_size=pred, pred_num_hidden_layers=pred_depth, pred_num_attention_heads=pred_heads,
        crop_size=crop, frames_per_clip=frames, patch_size=patch, pred_num_mask_tokens=2)


def models(folder, *families):
    for number, family in enumerate(families):
        torch.manual_seed(number)
        model = VJEPA2Model(config_of(family))
        with torch.no_grad():
            for name, p in model.named_parameters():  # biases and gains too, so that none can be mixed up
                p.copy_(torch.randn_like(p) * (0.05 if p.dim() > 1 else 0.3) + ("norm" in name and "weight" in name))
        model.save_pretrained(f"{folder}/{family}.hf")


def options(family):
    width, depth, heads, ratio, pred, pred_depth, pred_heads, crop, frames, patch = FAMILIES[family]
    keys = {"model.embed_dim": width, "model.depth": depth, "model.num_heads": heads, "model.mlp_ratio": ratio,
            "model.pred_embed_dim": pred, "model.pred_depth": pred_depth, "model.pred_num_heads": pred_heads,
            "data.crop_size": crop, "data.dataset_fpcs": f"[{frames}]", "data.patch_size": patch}
    for key, value in keys.items():
        print(f"--set\n{key}={value!r}" if isinstance(value, float) else f"--set\n{key}={value}")


def load(folder):
    model, info = VJEPA2Model.from_pretrained(folder, output_loading_info=True)
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, f"{folder}: {wrong}"
    size = model.config.crop_size
    processor = AutoVideoProcessor.from_pretrained(folder)
    assert processor.size["shortest_edge"] == int(size * 256 / 224), processor
    assert (processor.crop_size["height"], processor.crop_size["width"]) == (size, size), processor
    return model.eval()


@torch.no_grad()
def features(target, online, clip):
    """Target features of all tokens, online features of the context, predictions of every third token."""
    config = online.config
    frames = np.fromfile(clip, np.uint8).reshape(-1, config.crop_size, config.crop_size, 3)
    video = torch.from_numpy(frames).float() / 255
    video = ((video - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)[None]
    whole = target(pixel_values_videos=video, skip_predictor=True).last_hidden_state
    tokens = torch.arange(whole.shape[1])
    predicted = tokens[tokens % 3 == 2][None]
    context = tokens[tokens % 3 != 2][None]
    hidden = online.encoder.embeddings(video.permute(0, 1, 2, 3, 4))[:, context[0]]
    for layer in online.encoder.layer:
        hidden = layer(hidden, context)[0]
    hidden = online.encoder.layernorm(hidden)
    places = torch.zeros_like(whole).index_copy(1, context[0], hidden)
    prediction = online.predictor(
        encoder_hidden_states=places, context_mask=[context], target_mask=[predicted]).last_hidden_state
    return {"target": whole[0].numpy(), "context": hidden[0].numpy(), "prediction": prediction[0].numpy()}


def compare(folder, *names):
    import transformers
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, numpy {np.__version__}")
    print("| model | clip | target encoder | online encoder | predictor | largest feature |")
    print("| --- | --- | --- | --- | --- | --- |")
    worst = 0.0
    for name in names:
        target, online = load(f"{folder}/{name}.target"), load(f"{folder}/{name}.online")
        clips = sorted(glob.glob(f"{folder}/{name}-*.rgb"))
        assert len(clips) == 3, clips
        for clip in clips:
            theirs = features(target, online, clip)
            errors = []
            for which, value in theirs.items():
                ours = np.fromfile(f"{clip[:-4]}.{which}", np.float32).reshape(value.shape)
                errors.append(float(np.abs(ours - value).max()))
            worst = max(worst, *errors)
            size = max(float(np.abs(v).max()) for v in theirs.values())
            label = os.path.basename(clip)[len(name) + 1:-4]
            print(f"| {name} | {label} | " + " | ".join(f"{e:.1e}" for e in errors) + f" | {size:.1f} |")
    print(f"worst {worst:.1e}, limit {LIMIT:.0e}")
    sys.exit(not worst <= LIMIT)


def pt(folder, source):
    """As the public code saves: DDP's and the wrapper's prefixes, optimizer state beside the nets."""
    from safetensors.torch import load_file
    nets = {"encoder": {}, "predictor": {}, "target_encoder": {}}
    for name, value in load_file(f"{source}/model.safetensors").items():
        net, rest = name.split(".", 1)
        nets[net]["module.backbone." + rest] = value
    torch.save({**nets, "opt": {"state": {}, "param_groups": []}, "scaler": None, "epoch": 3, "loss": 0.5,
                "batch_size": 2, "world_size": 4, "lr": 1e-3}, f"{folder}/public.pt")


if __name__ == "__main__":
    {"models": models, "options": options, "compare": compare, "pt": pt}[sys.argv[1]](*sys.argv[2:])
