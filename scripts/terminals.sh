#!/bin/bash
# scripts/terminals.sh [TERMINAL...]     default: kitty konsole xterm foot mlterm tmux
#
# Runs tintype (the scripted engine, no model) in real terminals under Xvfb, types into it, takes screenshots, and
# counts the pixels of a flat magenta picture in them: proof that the terminal understood the picture and shows it at
# exactly the size asked for. A terminal that is not installed is skipped. Exit code 1 when a count or a step is wrong.
#
#   OUT=folder of the screenshots (target/terminals)      TINTYPE=the program (target/debug/tintype)
#
# Debian 12: apt-get install --no-install-recommends xvfb xterm kitty konsole mlterm weston foot openbox xdotool \
#     imagemagick libgl1-mesa-dri dbus dbus-x11 fonts-dejavu-core tmux python3
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
: "${OUT:=$here/target/terminals}" "${TINTYPE:=$here/target/debug/tintype}"
COLUMNS_=90 ROWS_=36
export LIBGL_ALWAYS_SOFTWARE=1 LANG=C.UTF-8
unset WAYLAND_DISPLAY TMUX COLORTERM
wrong=0

# count IMAGE: its magenta pixels
count() {
    convert "$1" -fuzz 3% -fill black +opaque '#ff00ff' -fuzz 0 -fill white +opaque black \
        -format '%[fx:round(mean*w*h)]' info:
}

# expected PROTOCOL WIDTH HEIGHT: magenta pixels of a square picture in 20 rows of such cells
expected() {
    python3 - "$@" <<'P'
import sys
protocol, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
columns = (20 * height * 2 + width) // (2 * width)
print(columns * width * (20 * height // 6 * 6 if protocol == "sixel" else 20 * height))
P
}

# start TERMINAL SCRIPT: a terminal that runs SCRIPT, in the background; its process id in $terminal
start() {
    case $1 in
    kitty | tmux)
        kitty -c NONE -o confirm_os_window_close=0 -o remember_window_size=no -o initial_window_width=${COLUMNS_}c \
            -o initial_window_height=${ROWS_}c -o cursor_blink_interval=0 -o update_check_interval=0 "$2" & ;;
    xterm)
        xterm -ti vt340 -geometry ${COLUMNS_}x$ROWS_ -fa 'DejaVu Sans Mono' -fs 9 -sl 5000 -bg black -fg white \
            -xrm 'XTerm*decTerminalID: vt340' -xrm 'XTerm*numColorRegisters: 256' \
            -xrm 'XTerm*allowWindowOps: true' -e "$2" & ;;
    mlterm) mlterm -g ${COLUMNS_}x$ROWS_ -b black -f white -e "$2" & ;;
    konsole)
        dbus-run-session konsole --nofork --hide-menubar --hide-tabbar --notransparency \
            -p TerminalColumns=$COLUMNS_ -p TerminalRows=$ROWS_ -p HistoryMode=1 -p HistorySize=5000 -e "$2" & ;;
    foot)
        weston --backend=x11-backend.so --width=1000 --height=680 --socket=tintype-$$ --idle-time=0 \
            --shell=kiosk-shell.so &
        compositor=$!
        for _ in $(seq 100); do [ -S "$XDG_RUNTIME_DIR/tintype-$$" ] && break; sleep .1; done
        WAYLAND_DISPLAY=tintype-$$ foot -W ${COLUMNS_}x$ROWS_ "$2" & ;;
    esac >>"$work/terminal.log" 2>&1
    terminal=$!
}

# session TERMINAL NAME PROTOCOL STEP...: one run of tintype; screenshots are OUT/TERMINAL-NAME-*.png
session() {
    local kind=$1 name=$2 protocol=$3
    shift 3
    work=$(mktemp -d) compositor=
    export DISPLAY=:$((100 + RANDOM % 900)) XDG_RUNTIME_DIR=$work/xdg
    mkdir -p "$XDG_RUNTIME_DIR" "$work/home" && chmod 700 "$XDG_RUNTIME_DIR"
    Xvfb "$DISPLAY" -screen 0 1024x720x24 -nolisten tcp >"$work/x.log" 2>&1 &
    local x=$!
    for _ in $(seq 100); do [ -S "/tmp/.X11-unix/X${DISPLAY#:}" ] && break; sleep .1; done
    {
        echo '#!/bin/bash'
        echo "export HOME=$work/home RUST_BACKTRACE=0; unset WAYLAND_DISPLAY"
        printf '%q ' python3 "$here/scripts/terminals/driver.py" "$work" "$@" -- "$TINTYPE" --fake
        [ "$protocol" = auto ] || printf -- '--images %q' "$protocol"
        echo; echo 'stty -a | grep -q " -icanon\| -echo " && echo "[the terminal is not sane]"'
        echo 'echo "[exit $(cat '"$work"'/status)]"; sleep 600'
    } >"$work/inner.sh"
    if [ "$kind" = tmux ]; then
        printf 'set -g default-terminal tmux-256color\nset -g status off\nset -gq allow-passthrough on\n' >"$work/tmux.conf"
        printf '#!/bin/bash\nexec tmux -L tintype-%s -f %s new-session %s\n' $$ "$work/tmux.conf" "$work/inner.sh" >"$work/run.sh"
    else
        cp "$work/inner.sh" "$work/run.sh"
    fi
    chmod +x "$work"/*.sh
    start "$kind" "$work/run.sh"
    local end=$((SECONDS + 120))
    while [ ! -e "$work/status" ] && [ $SECONDS -lt $end ] && kill -0 "$terminal" 2>/dev/null; do
        for wish in "$work"/shot-*; do
            case $wish in *.done | *'*') continue ;; esac
            sleep .4 # what was written last is on its way to the screen
            import -window root "$OUT/$kind-$name-${wish##*/shot-}.png"
            mv "$wish" "$wish.done"
        done
        for wish in "$work"/resize-*; do
            case $wish in *.done | *'*') continue ;; esac
            xdotool search --onlyvisible --name '.*' windowsize "${wish##*/resize-}" 2>/dev/null
            sleep 1
            mv "$wish" "$wish.done"
        done
        sleep .05
    done
    sleep .4
    import -window root "$OUT/$kind-$name-after.png"
    if [ "$(cat "$work/status" 2>/dev/null)" != 0 ] || [ -s "$work/failed" ]; then
        echo "$kind $name: exit code $(cat "$work/status" 2>/dev/null || echo none), failed: $(cat "$work/failed" 2>/dev/null)"
        cp "$work/output" "$OUT/$kind-$name.output" 2>/dev/null
        wrong=1
    fi
    [ "$kind" = tmux ] && tmux -L tintype-$$ kill-server 2>/dev/null
    read -r cell_width cell_height <"$work/cell" 2>/dev/null || cell_width=0 cell_height=0
    kill "$terminal" $compositor 2>/dev/null
    sleep .3
    kill "$x" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}

mkdir -p "$OUT"
[ -x "$TINTYPE" ] || { echo "no program $TINTYPE: run cargo build first" >&2; exit 2; }
[ $# -gt 0 ] || set -- kitty konsole xterm foot mlterm tmux
printf '%-8s %-12s %6s %9s %9s\n' terminal protocol cell pixels expected
for kind; do
    program=$kind
    [ "$kind" = tmux ] && program=kitty
    if ! command -v "$kind" >/dev/null || ! command -v "$program" >/dev/null; then
        echo "$kind: not installed"
        continue
    fi
    case $kind in
    kitty) protocols="auto kitty half-blocks" ;;
    konsole) protocols="auto kitty iterm2 sixel" ;;
    tmux) protocols="auto half-blocks" ;;
    *) protocols="auto sixel half-blocks" ;;
    esac
    for protocol in $protocols; do
        session "$kind" "$protocol" "$protocol" 'wait:>' 'type:flat ff00ff -s 2\r' 'wait:#1 ' sleep:1 shot:picture \
            'type:\x04'
        pixels=$(count "$OUT/$kind-$protocol-picture.png")
        case $kind-$protocol in
        kitty-auto | *-kitty) shown=kitty ;;
        konsole-auto | *-iterm2) shown=iterm2 ;;
        tmux-* | *-half-blocks) shown=half-blocks ;;
        *) shown=sixel ;;
        esac
        want=$(expected $shown "$cell_width" "$cell_height")
        verdict=
        # half blocks are letters of the font, which may leave seams between them
        if [ $shown = half-blocks ]; then least=$((want * 3 / 4)); else least=$want; fi
        if [ "$pixels" -lt $least ] || [ "$pixels" -gt "$want" ]; then
            verdict=WRONG wrong=1
        fi
        printf '%-8s %-12s %6s %9s %9s %s\n' "$kind" "$protocol" "${cell_width}x$cell_height" "$pixels" "$want" $verdict
    done
    # the panel while a picture develops, the full screen, and back
    session "$kind" live auto 'wait:>' 'type:a lighthouse in the morning -s 60\r' 'type:the next prompt' sleep:4 shot:panel \
        'type:\x1bOQ' sleep:2 shot:full 'type:\x1bOQ' sleep:1 shot:back 'type:\x15\x03' sleep:1 'type:\x04'
done
exit $wrong
