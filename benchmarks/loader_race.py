#!/usr/bin/env python3
"""The same clips by other loaders: decord or torchcodec, then torchvision's transforms.

    loader_race.py NAME LIST [--check PIXELS] [--size S]     NAME: decord, torchcodec, torchcodec-exact

LIST and PIXELS are what bench_loader --list and --save write: per clip a file, a box, a flip and frame numbers; the
pixels of the first clips.  Each clip opens its file, as training code does, decodes exactly the listed frames, and
cuts, resizes (bilinear) and flips them to uint8 [T, H, W, 3].  One thread.  Prints the CPU time a clip in ms.
--keep: files stay open between clips instead (the best that a small dataset allows).
--check: the largest mean difference of a clip from PIXELS, in grey levels, instead of a time.
"""
import argparse
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402

torch.set_num_threads(1)


def opener(name):
    """A function from a path to a function from frame numbers to uint8 [T, 3, H, W]."""
    if name == "decord":
        import decord
        decord.logging.set_level(decord.logging.ERROR)

        def open_file(path):
            reader = decord.VideoReader(path, num_threads=1, ctx=decord.cpu(0))
            return lambda numbers: torch.from_numpy(reader.get_batch(numbers).asnumpy()).permute(0, 3, 1, 2)
        return open_file
    from torchcodec.decoders import VideoDecoder
    mode = "exact" if name == "torchcodec-exact" else "approximate"

    def open_file(path):
        decoder = VideoDecoder(path, num_ffmpeg_threads=1, seek_mode=mode)
        return lambda numbers: decoder.get_frames_at(numbers).data
    return open_file


def cut(frames, box, flip, size):
    left, top, width, height = box
    out = F.resized_crop(frames, top, left, height, width, [size, size], antialias=False)
    if flip:
        out = F.horizontal_flip(out)
    return out.permute(0, 2, 3, 1).contiguous()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("list")
    parser.add_argument("--check")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    clips = []
    for line in open(arguments.list):
        path, *numbers = split(line)
        clips.append((path, numbers[:4], numbers[4], numbers[5:]))
    open_file = opener(arguments.name)
    kept = {}

    def make(clip):
        path, box, flip, numbers = clip
        read = kept.get(path)
        if read is None:
            read = open_file(path)
            if arguments.keep:
                kept[path] = read
        return cut(read(numbers), box, flip, arguments.size)

    if arguments.check:
        wanted = np.fromfile(arguments.check, dtype=np.uint8)
        frames = len(clips[0][3])
        wanted = wanted.reshape(-1, frames, arguments.size, arguments.size, 3).astype(np.float32)
        worst = max(float(np.abs(make(clip).numpy() - pixels).mean()) for clip, pixels in zip(clips, wanted))
        print(f"{worst:.3f}")
        return
    for clip in clips[:2]:
        make(clip)
    start = time.process_time()
    for clip in clips:
        make(clip)
    print(f"{1e3 * (time.process_time() - start) / len(clips):.3f}")


def split(line):
    """A path may hold spaces: the numbers are what follows it."""
    words = line.rstrip("\n").split(" ")
    count = 0
    while count < len(words) - 1 and words[-1 - count].isdigit():
        count += 1
    return [" ".join(words[:-count])] + [int(word) for word in words[-count:]]


if __name__ == "__main__":
    sys.exit(main())
