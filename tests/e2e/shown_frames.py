"""The first frames of all packed videos as a training run sees them, against ffmpeg's RGB: at most 1 grey level off.

usage: shown_frames.py TOOL DATASET
"""
import csv
import subprocess
import sys

import numpy

COUNT = 4
SCALER = ["-pix_fmt", "rgb24", "-sws_flags", "bicubic+accurate_rnd+full_chroma_int"]


def pictures(stream):
    """The pictures of a stream of PPM files."""
    found = []
    at = 0
    while at < len(stream):
        width, height = map(int, stream[at + 3 : stream.index(b"\n", at + 3)].split())
        start = stream.index(b"\n255\n", at) + 5
        at = start + width * height * 3
        found.append(numpy.frombuffer(stream[start:at], numpy.uint8).reshape(height, width, 3).astype(int))
    return found


def main(tool, dataset):
    files = 0
    frames = 0
    with open(f"{dataset}/pack-report.csv", newline="", errors="surrogateescape") as report:
        packed = [row["file"] for row in csv.DictReader(report) if row["status"] == "ok"]
    for path in packed:
        ours = pictures(subprocess.run([tool, dataset, path, str(COUNT)], capture_output=True, check=True).stdout)
        command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", "file:" + path, "-map", "0:V:0"]
        command += ["-vsync", "passthrough", "-autoscale", "0", *SCALER, "-frames:v", str(COUNT)]
        command += ["-f", "image2pipe", "-c:v", "ppm", "-"]
        wanted = pictures(subprocess.run(command, capture_output=True, check=True).stdout)
        if [p.shape for p in ours] != [p.shape for p in wanted]:
            sys.exit(f"{path}: other sizes than ffmpeg's")
        worst = max(abs(a - b).max() for a, b in zip(ours, wanted))
        if worst > 1:
            sys.exit(f"{path}: {worst} grey levels from ffmpeg's")
        files += 1
        frames += len(ours)
    print(f"RGB of {frames} frames of {files} files within 1 grey level")


main(*sys.argv[1:])
