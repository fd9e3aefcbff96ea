#!/usr/bin/env bash
# Races the loader against decord and torchcodec: `make bench-loader` (ROUNDS 5, CLIPS 64).
#
#   scripts/bench_loader.sh     needs build/lockstep and build/benchmarks/bench_loader
#
# Videos are made once (H.264 at x264's defaults, 340 x 256 and 640 x 480) and packed; each round cuts the same clips
# from the same files by every loader, one after the other, on one core.  The others get torchvision's transforms and
# open the file of each clip, as training code does (`kept`: files stay open).  CPU time, medians over rounds.
# The virtual environment (about 5 GB) stays in BUILD/bench-loader; the result goes to benchmarks/results/loader.md.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
ROUNDS=${ROUNDS:-5}
CLIPS=${CLIPS:-64}
VIDEOS=${VIDEOS:-8}
home=$BUILD/bench-loader
result=benchmarks/results/loader.md
wanted=$(cksum <benchmarks/loader_requirements.txt)
if [ "$(cat "$home/wanted" 2>/dev/null)" != "$wanted" ]; then
    echo "bench-loader: installing decord, torchcodec and torchvision into $home (about 5 GB)"
    /usr/bin/python3 -m venv "$home"
    "$home/bin/python" -m pip install --quiet --requirement benchmarks/loader_requirements.txt
    echo "$wanted" >"$home/wanted"
fi
core=$(taskset -cp $$ | sed 's/.*: //; s/[,-].*//')
python=$home/bin/python
race() { taskset -c "$core" "$python" benchmarks/loader_race.py "$@"; }

work=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
opponents=(decord torchcodec)
for size in 340x256 640x480; do
    "$python" benchmarks/loader_videos.py "$home/videos/$size" "${size%x*}" "${size#*x}" "$VIDEOS"
    "$BUILD/lockstep" pack "$home/videos/$size" -o "$work/$size" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; exit 1; }
    for round in $(seq "$ROUNDS"); do
        taskset -c "$core" "$BUILD/benchmarks/bench_loader" "$work/$size" --clips "$CLIPS" --list "$work/list" \
            --save "$work/pixels" >"$work/$size.ours.$round"
        for name in "${opponents[@]}"; do
            if [ "$round" = 1 ]; then
                difference=$(race "$name" "$work/list" --check "$work/pixels")
                awk -v d="$difference" 'BEGIN { exit !(d < 2) }' ||
                    { echo "bench-loader: FAILED: the clips of $name differ by $difference grey levels"; exit 1; }
            fi
            race "$name" "$work/list" >>"$work/$size.$name"
            race "$name" "$work/list" --keep >>"$work/$size.$name-kept"
        done
        echo "bench-loader: $size: round $round of $ROUNDS"
    done
done

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
ours() { sed -n "s/^$2 .*core *\([0-9.]*\) ms.*/\1/p" "$work/$1".ours.* | median; }
{
    echo "# The loader beside decord and torchcodec"
    echo
    echo "\`make bench-loader\`, $(date -u +%Y-%m-%d), commit $(git describe --always --dirty 2>/dev/null || echo unknown)," \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), one core; $ROUNDS rounds of $CLIPS clips of" \
        "16 x 256 x 256 uint8, medians of CPU time a clip; $("$python" -m pip list 2>/dev/null | awk '/^(decord|torch|torchcodec|torchvision) / { printf "%s%s %s", s, $1, $2; s = ", " }')." \
        "\"kept\": their files stay open between clips. Load of the machine then: $(cut -d ' ' -f 1 /proc/loadavg)."
    echo
    echo "| from H.264, 30 frames/s | libavcodec alone | lockstep | decord | torchcodec | decord, kept | torchcodec, kept | the better of both / lockstep | lockstep / libavcodec |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for size in 340x256 640x480; do
        bare=$(ours "$size" "libavcodec alone")
        mine=$(ours "$size" loader)
        row="| $size | $bare ms | $mine ms"
        best=
        for name in decord torchcodec decord-kept torchcodec-kept; do
            value=$(median <"$work/$size.$name")
            row="$row | $value ms"
            case $name in *-kept) ;; *) best=$(printf '%s\n' ${best:+"$best"} "$value" | sort -n | head -n 1) ;; esac
        done
        awk -v row="$row" -v best="$best" -v mine="$mine" -v bare="$bare" \
            'BEGIN { printf "%s | %.2f | %.3f |\n", row, best / mine, mine / bare }'
    done
} >"$work/result.md"
cat "$work/result.md"
cp "$work/result.md" "$result"
