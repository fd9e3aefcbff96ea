#!/usr/bin/env bash
# Puts the folder of `make gpu-bundle` together: programs built with BUNDLE=1, the few libraries that they need beside
# CUDA's and libc's, golden files, a small dataset of stored frames, run.sh.
#
#   scripts/gpu_bundle.sh PROGRAMS FOLDER     PROGRAMS: where lockstep-worker, golden, benchmarks/ lie
#
# BUILD is the build folder whose `lockstep` and `tools/motion_videos` make the dataset.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=$1
folder=$2
BUILD=${BUILD:-build}
most_mb=40

beside=$folder.tmp-$$
trap 'rm -rf "$beside"' EXIT
rm -rf "$beside"
mkdir -p "$beside/bin" "$beside/lib" "$beside/golden"
for program in lockstep-worker golden benchmarks/bench_step benchmarks/bench_ops; do
    strip -o "$beside/bin/$(basename "$program")" "$programs/$program"
done
# Carried: what every machine with CUDA may lack.
ldd "$beside"/bin/* | awk '$1 ~ /^lib(cjson|gomp)\.so/ { print $3 }' | sort -u | while IFS= read -r library; do
    cp -L "$library" "$beside/lib/"
done
cp tests/golden/pretrain_*.h5 "$beside/golden/"
cp scripts/bundle/run.sh scripts/bundle/train.yaml LICENSE "$beside/"
"$BUILD/tools/motion_videos" -o "$beside/videos" --count 16 >/dev/null
"$BUILD/lockstep" pack "$beside/videos" -o "$beside/dataset" --store frames --frame-side 64 >/dev/null 2>&1
rm -rf "$beside/videos" "$beside/dataset/parts" "$beside/dataset/pack-report.csv"
echo "commit $(git describe --always --dirty 2>/dev/null || echo unknown), made $(date -u +%Y-%m-%d) by $(gcc --version | head -n 1)" >"$beside/VERSION"
size=$(du -sm "$beside" | cut -f1)
[ "$size" -lt "$most_mb" ] || {
    echo "gpu_bundle: $size MB are too many, the limit is $most_mb" >&2
    exit 1
}
rm -rf "$folder"
mv "$beside" "$folder"
echo "$folder: $size MB; on the machine with the card: $folder/run.sh"
