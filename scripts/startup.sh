#!/bin/sh
# How long tintype takes from its start to the prompt, and to the first picture of the embedded model.
#
# Usage: scripts/startup.sh [PROGRAM [TRIES]]
#
# The prompt is waited for in a terminal that tmux plays; the picture is made by a new process each time. Times are
# from outside, in milliseconds, each followed by its median.
set -eu

program=${1:-target/release/tintype}
tries=${2:-7}
home=$(mktemp -d)
session=tintype-startup-$$
trap 'tmux kill-session -t "$session" 2>/dev/null || true; rm -rf "$home"' EXIT INT TERM

now() { date +%s%N; }
median() { printf '%s\n' "$@" | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

picture() {
    start=$(now)
    TINTYPE_HOME=$home "$program" generate "a red house under a yellow sun" -S 3 -o "$home/house.png" >/dev/null
    echo $((($(now) - start) / 1000000))
}

prompt() {
    tmux new-session -d -s "$session" -x 100 -y 30 "sleep 60"
    start=$(now)
    tmux respawn-pane -k -t "$session" "TINTYPE_HOME=$home $program"
    until tmux capture-pane -p -t "$session" | grep -q 'tintype ›'; do :; done
    echo $((($(now) - start) / 1000000))
    tmux kill-session -t "$session"
}

report() {
    what=$1
    shift
    echo "$what: $* (median $(median "$@"))"
}

set --
for _ in $(seq "$tries"); do set -- "$@" "$(picture)"; done
report "process start to picture, ms" "$@"
if command -v tmux >/dev/null; then
    set --
    for _ in $(seq "$tries"); do set -- "$@" "$(prompt)"; done
    report "process start to prompt, ms" "$@"
else
    echo "process start to prompt: not measured, tmux is not here"
fi
