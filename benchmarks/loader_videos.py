#!/usr/bin/env python3
"""Makes the videos of `make bench-loader`: loader_videos.py FOLDER WIDTH HEIGHT COUNT

H.264 by x264 at its defaults (key frames at most 250 apart and at cuts, 3 B-frames with a pyramid, crf 23), 30 frames/s,
10 s a file.  The picture is textured ground that moves and grows, a second layer that crosses it, a little noise as
of a sensor, and a cut somewhere in every second file.  The same call makes the same pictures.
"""
import os
import subprocess
import sys

import numpy as np

FRAMES, RATE, SIDE = 300, 30, 1024


def texture(random):
    """[SIDE, SIDE] in 0..1 with detail at every size, as natural pictures have."""
    frequency = np.fft.fftfreq(SIDE)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    radius[0, 0] = 1
    spectrum = np.fft.fft2(random.standard_normal((SIDE, SIDE))) / radius ** 1.3
    out = np.fft.ifft2(spectrum).real
    out -= out.min()
    return (out / out.max()).astype(np.float32)


def sample(image, x, y):
    """Bilinear, the edges wrap."""
    x0, y0 = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    fx, fy = (x - x0).astype(np.float32), (y - y0).astype(np.float32)
    x0, y0, x1, y1 = x0 % SIDE, y0 % SIDE, (x0 + 1) % SIDE, (y0 + 1) % SIDE
    top = image[y0[:, None], x0] * (1 - fx) + image[y0[:, None], x1] * fx
    bottom = image[y1[:, None], x0] * (1 - fx) + image[y1[:, None], x1] * fx
    return top * (1 - fy[:, None]) + bottom * fy[:, None]


def frames(random, width, height, cut):
    """I420 pictures."""
    for n in range(FRAMES):
        if n == 0 or n == cut:
            ground, layer = texture(random), texture(random)
            speed, cross = random.uniform(-2, 2, 2), random.uniform(-4, 4, 2)
            grow = random.uniform(-0.001, 0.001)
            colour = random.uniform(-40, 40, 4)
        scale = (1 + grow * n) * 340 / width
        at = np.arange(width) * scale, np.arange(height) * scale
        back = sample(ground, at[0] + speed[0] * n, at[1] + speed[1] * n)
        front = sample(layer, at[0] + cross[0] * n, at[1] + cross[1] * n)
        mask = np.clip((front - 0.55) * 20, 0, 1)
        luma = 30 + 180 * (back * (1 - mask) + front * mask) + random.normal(0, 1.2, back.shape)
        blue = 128 + colour[0] * (1 - mask) + colour[1] * mask
        red = 128 + colour[2] * back + colour[3] * mask
        for plane in (luma, blue[::2, ::2], red[::2, ::2]):
            yield np.clip(plane + 0.5, 0, 255).astype(np.uint8).tobytes()


def main():
    folder, width, height, count = sys.argv[1], *map(int, sys.argv[2:5])
    os.makedirs(folder, exist_ok=True)
    for k in range(count):
        path = f"{folder}/{k:03d}.mp4"
        if os.path.exists(path):
            continue
        random = np.random.default_rng(1000 * k + width)
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s",
                   f"{width}x{height}", "-r", str(RATE), "-i", "-", "-c:v", "libx264", "-preset", "medium", "-crf", "23",
                   "-g", "250", "-threads", "1", "-movflags", "+faststart", "-f", "mp4", path + ".tmp"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
            for plane in frames(random, width, height, 130 if k % 2 else -1):
                encoder.stdin.write(plane)
            encoder.stdin.close()
            if encoder.wait() != 0:
                sys.exit(f"{path}: ffmpeg failed")
        os.rename(path + ".tmp", path)


if __name__ == "__main__":
    main()
