#!/bin/bash
# timeout: 400
# `lockstep report` on real runs: one whose target is not slowed (EMA 0) has collapsed, the usual one
# has not; the page stands by itself; --watch follows a run to its end.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
lockstep=$BUILD/lockstep
need_program "$lockstep"
need_program "$BUILD/lockstep-worker"
need_program "$BUILD/tools/motion_videos"
"$BUILD/tools/motion_videos" -o "$WORK/videos" --count 64 --seed 1 >"$WORK/log" 2>&1 ||
    fail "motion_videos: $(tail -1 "$WORK/log")"
"$lockstep" pack "$WORK/videos/LIST.csv" -o "$WORK/dataset" >"$WORK/log" 2>&1 || fail "pack: $(tail -1 "$WORK/log")"

train() { # NAME [OPTION...]
    local name=$1
    shift
    timeout -k 10 200 "$lockstep" train configs/demo.yaml -n 2 --set "folder=$WORK/$name" \
        --set "data.datasets=[$WORK/dataset]" --set optimization.steps=60 --set optimization.warmup_steps=5 \
        --set meta.save_freq_steps=20 --set meta.eval_freq=20 --set lockstep.ranks_freq=10 "$@" >"$WORK/$name.log" 2>&1
}
says() { grep -q -e "$2" "$WORK/$1.html" || fail "$1: the page does not say '$2'"; }

train collapse --set 'optimization.ema=[0.0,0.0]' || fail "collapse: $(tail -1 "$WORK/collapse.log")"
"$lockstep" report "$WORK/collapse" -o "$WORK/collapse.html" >"$WORK/log" 2>&1 || fail "report: $(cat "$WORK/log")"
says collapse 'the features have collapsed'

# Followed while it runs, stopped and taken up again.
code=0
train usual --stop-at 30 || code=$?
[ "$code" = 75 ] || fail "usual: exit code $code: $(tail -1 "$WORK/usual.log")"
# Its workers wait at their start for the first page.
cat >"$WORK/worker" <<X
#!/bin/sh
until [ -e "$WORK/usual.html" ]; do sleep 0.1; done
exec "$(realpath "$BUILD/lockstep-worker")" "\$@"
X
chmod +x "$WORK/worker"
LOCKSTEP_WORKER=$WORK/worker train usual &
job=$!
for tries in $(seq 1200); do
    "$lockstep" status "$WORK/usual" 2>/dev/null | grep -q '^state *running' && break
    [ "$tries" -lt 1200 ] || fail "usual: never running: $(tail -1 "$WORK/usual.log")"
    sleep 0.1
done
"$lockstep" report "$WORK/usual" --watch --every 1 -o "$WORK/usual.html" >"$WORK/log" 2>&1 &
watcher=$!
for tries in $(seq 1200); do
    [ -e "$WORK/usual.html" ] && break
    [ "$tries" -lt 1200 ] || fail "report --watch makes no page: $(cat "$WORK/log")"
    sleep 0.1
done
cp "$WORK/usual.html" "$WORK/early.html"
says early 'http-equiv="refresh" content="1"'
wait "$job" || fail "usual: $(tail -1 "$WORK/usual.log")"
wait "$watcher" || fail "report --watch: exit code $?: $(cat "$WORK/log")"
says usual 'has finished after step 60 of 60 (100 %)'
says usual 'the features have not collapsed'
says usual 'start 2 goes on from step 30'
says usual '<td>stopped, state saved</td>'
says usual '<td>all steps done</td>'
says usual 'Rank skew'
grep -q 'http-equiv="refresh"' "$WORK/usual.html" && fail "the finished page still refreshes"

# Both pages: every element is closed, and nothing comes from elsewhere.
for name in collapse usual; do
    /usr/bin/python3 - "$WORK/$name.html" <<'PY' >"$WORK/log" 2>&1 || fail "$name: $(tail -1 "$WORK/log")"
import html.parser, sys

class Page(html.parser.HTMLParser):
    open = []
    titles = 0
    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href", "srcset") or (value or "").startswith("http"):
                sys.exit(f"<{tag} {name}={value}> leads out of the page")
        if tag not in ("meta", "br", "path", "rect", "circle") or self.get_starttag_text()[-2:] != "/>":
            if tag not in ("meta", "br"):
                self.open.append(tag)
    def handle_startendtag(self, tag, attributes):
        pass
    def handle_endtag(self, tag):
        self.titles += tag == "title"
        if not self.open or self.open.pop() != tag:
            sys.exit(f"</{tag}> closes something else at {self.getpos()}")

page = Page()
page.feed(open(sys.argv[1], encoding="utf-8").read())
if page.open or page.titles < 100:
    sys.exit(f"left open: {page.open}; {page.titles} values on hover")
PY
done

# The same curves in the terminal, and as a picture.
LC_ALL=C.UTF-8 "$lockstep" plot "$WORK/usual" --columns 60 --rows 4 >"$WORK/log" 2>&1 || fail "plot: $(tail -1 "$WORK/log")"
[ "$(wc -l <"$WORK/log")" = 30 ] || fail "plot: not 5 curves of 6 lines: $(head -3 "$WORK/log")"
grep -q '^loss, 0\.[0-9]* after step 60$' "$WORK/log" || fail "plot: $(head -1 "$WORK/log")"
if command -v gnuplot >/dev/null; then
    "$lockstep" plot "$WORK/usual" -s loss_groups/1 --png "$WORK/plot.png" >"$WORK/log" 2>&1 || fail "plot --png: $(tail -1 "$WORK/log")"
    [ "$(head -c 4 "$WORK/plot.png" | tail -c 3)" = PNG ] || fail "plot --png made no PNG"
fi
code=0
"$lockstep" plot "$WORK/usual" -s lss >"$WORK/log" 2>&1 || code=$?
[ "$code" = 2 ] || fail "plot of an unknown key: exit code $code: $(cat "$WORK/log")"

code=0
"$lockstep" report "$WORK/videos" >"$WORK/log" 2>&1 || code=$?
[ "$code/$(wc -l <"$WORK/log")" = 2/1 ] || fail "no run folder: exit code $code: $(cat "$WORK/log")"
pass "collapse told from a healthy run, watched to its end, nothing from elsewhere"
