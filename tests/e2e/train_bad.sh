#!/usr/bin/env bash
# Damaged videos in training: replaced, counted, named once; and when there are too many, every number of workers and every
# resume gives up at the same step, with the same line.
# shellcheck source=tests/e2e/lib_train.sh
. "$(dirname "$0")/lib_train.sh"
steps=12
pack_clean_few() {
    local videos
    mapfile -t videos < <(find "$SHARED/videos/clean" -type f -printf '%s %p\n' | sort -n | head -12 | cut -d ' ' -f 2-)
    "$lockstep" pack "${videos[@]}" -o "$WORK/clean" >"$WORK/pack.log" 2>&1 || fail "pack: $(tail -1 "$WORK/pack.log")"
}
pack_clean_few
shard=$WORK/clean/shard-00000.h5
bytes=$(stat -c %s "$shard")
dd if=/dev/zero of="$shard" bs=1 seek=$((bytes / 3)) count=$((bytes / 4)) conv=notrunc status=none ||
    fail "cannot damage $shard"

few=(--set data.max_bad_share=0.9)
for workers in 1 3; do
    train_all "few$workers" "$workers" "${few[@]}"
done
replaced() { grep -o '"replaced_draws":[0-9]*' "$WORK/$1/metrics.jsonl"; }
[ -n "$(replaced few1)" ] || fail "no draw was replaced"
[ "$(replaced few1)" = "$(replaced few3)" ] || fail "one and three workers replaced other draws"
sum=$(replaced few1 | awk -F: '{ n += $2 } END { print n }')
grep -q "draws dataset=$WORK/clean drawn=[0-9]* replaced=$sum\$" "$WORK/few1.log" || fail "the log does not count $sum draws"
"$lockstep" inspect "$WORK/few3" | grep -q "bad draws *$sum of [0-9]* of dataset 1" ||
    fail "the checkpoint does not hold $sum bad draws: $("$lockstep" inspect "$WORK/few3" | grep "bad draws")"
named() { grep -o 'video_replaced dataset=.*' "$WORK/$1.log" | sort; }
[ -z "$(named few3 | uniq -d)" ] || fail "named twice: $(named few3 | uniq -d | head -1)"
[ "$(named few1)" = "$(named few3)" ] || fail "one and three workers name other videos"

# stops RUN WORKERS: gives up in the end; prints the step and the line.
stops() {
    local code=0
    train "$@" --set data.max_bad_share=0.02 --set meta.save_freq_steps=1 || code=$?
    [ "$code" = 11 ] || fail "run $1: exit code $code, not 11: $(tail -1 "$WORK/$1.log")"
    echo "$(steps_of "$1") $(grep -o "$WORK/clean: [0-9]* of [0-9]* draws .* allows" "$WORK/$1.log" | sort -u)"
}
expected=$(stops many1 1)
[[ $expected =~ ^[1-9] ]] || fail "it gave up at once, which shows nothing: $expected"
[ "$(stops many3 3)" = "$expected" ] || fail "three workers gave up elsewhere than one: $expected"
train resumed 2 --set data.max_bad_share=0.9 --set meta.save_freq_steps=1 --stop-at "${expected%% *}"
[ $? = 75 ] || fail "run resumed did not stop: $(tail -1 "$WORK/resumed.log")"
resumed=$(stops resumed 1)
[ "$resumed" = "$expected" ] || fail "a resumed run gave up elsewhere: $resumed, not $expected"
pass "$sum draws replaced; gives up after step ${expected%% *}"
