#!/usr/bin/env bash
# Checks the layers (docs/design.md, section "Layers") by the #include lines, and the size of files.
#
#   scripts/layers.sh [ROOT]     prints each forbidden edge as FILE:LINE: what and why; exit 1 if there is one
#
# Looks at the C, CUDA, shell and make files of ROOT (default: this project) outside build/.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

limit=600

list() {
    find . \( -path ./build -o -path ./.git -o -path ./shared \) -prune -o -type f \
        \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.sh' -o -name '*.mk' -o -name Makefile \) -print |
        sed 's|^\./||' | sort
}

bad=$(
    list | while IFS= read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le "$limit" ] || echo "$file:$lines: has $lines lines; split it below $limit"
    done
    list | grep -E '\.(c|h|cu|cuh)$' | tr '\n' '\0' | xargs -0 -r grep -nE '^[[:space:]]*#[[:space:]]*include' /dev/null |
        awk '
        BEGIN {
            # Which folders a folder may include beside itself.
            may["core"] = ""
            may["data"] = may["model"] = may["comm"] = may["checkpoint"] = "core"
            may["worker"] = "core data model comm checkpoint"
            may["launcher"] = "core data checkpoint"
            # Which folders (or beginnings of file names) may include a foreign header; patterns over its name.
            n = 0
            owner(++n, "^mpi\\.h$", "comm/")
            owner(++n, "^nccl\\.h$", "comm/nccl")
            owner(++n, "^lib(av|sw)[a-z]*/", "data/")
            owner(++n, "^hdf5", "data/ checkpoint/")
            owner(++n, "^(oneapi/dnnl/)?dnnl", "model/cpu/")
            owner(++n, "^(cublas|cudnn|cublasLt)", "model/cuda/")
            owner(++n, "^cuda", "model/cuda/ comm/nccl")
            owner(++n, "^yaml\\.h$", "core/")
            owner(++n, "^xxh", "core/")
            owner(++n, "^(cjson/)?cJSON\\.h$", "core/ data/ checkpoint/ launcher/ worker/")
        }
        function owner(i, pattern, folders) { foreign[i] = pattern; owners[i] = folders }
        function say(text) { print file ":" line ": " text }
        {
            split($0, part, ":")
            file = part[1]; line = part[2]
            text = substr($0, length(file) + length(line) + 3)
            if (!match(text, /[<"][^>"]+[>"]/)) next
            quoted = substr(text, RSTART, 1) == "\""
            name = substr(text, RSTART + 1, RLENGTH - 2)
            folder = file; sub(/\/.*/, "", folder)
            if (name ~ /\.c$/) say("includes a .c file, " name)
            if (!(folder in may)) next          # tests, benchmarks, scripts: anything
            if (quoted) {
                if (name !~ /\//) { say("write the folder of \"" name "\" too"); next }
                target = name; sub(/\/.*/, "", target)
                if (target != folder && index(" " may[folder] " ", " " target " ") == 0)
                    say(folder "/ must not include " name " (allowed beside its own: " (may[folder] == "" ? "none" : may[folder]) ")")
                next
            }
            for (i = 1; i <= n; i++) {
                if (name !~ foreign[i]) continue
                count = split(owners[i], allowed, " ")
                ok = 0
                for (j = 1; j <= count; j++) if (index(file, allowed[j]) == 1) ok = 1
                if (!ok) say("<" name "> belongs to " owners[i])
            }
        }'
)
[ -z "$bad" ] || {
    echo "$bad"
    exit 1
}
