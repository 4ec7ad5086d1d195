#!/bin/bash
# scripts/record.sh      makes docs/prompt.png, docs/gallery.png and docs/tintype.gif anew
#
# A real run: tintype with its embedded model in kitty under Xvfb, typed into by scripts/terminals/driver.py. Frames of
# the recording are screenshots, so its pictures are the terminal's own.
#
#   TINTYPE=the program (target/release/tintype)      needs what scripts/terminals.sh needs, and Pillow
#   PYTHON=one that has it (python3)
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
: "${TINTYPE:=$here/target/release/tintype}" "${OUT:=$here/docs}"
export LIBGL_ALWAYS_SOFTWARE=1 LANG=C.UTF-8 DISPLAY=:$((100 + RANDOM % 900))
unset WAYLAND_DISPLAY TMUX COLORTERM
work=$(mktemp -d)
mkdir -p "$work/home" "$work/xdg" "$OUT" && chmod 700 "$work/xdg"
export XDG_RUNTIME_DIR=$work/xdg
width=720 height=470
Xvfb "$DISPLAY" -screen 0 ${width}x${height}x24 -nolisten tcp >/dev/null 2>&1 &
x=$!
trap 'kill $terminal $x 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
terminal=
for _ in $(seq 100); do [ -S "/tmp/.X11-unix/X${DISPLAY#:}" ] && break; sleep .1; done

# slowly TEXT: a step a key, as a person types
slowly() { for ((i = 0; i < ${#1}; i++)); do printf '%s\n' "type:${1:i:1}" sleep:.06; done; }
# a preview has come; a result line has come
preview='wait:_Ga=T' result='wait:seed '
{
    printf '%s\n' wait:F2 sleep:1
    slowly 'an astronaut riding a horse on mars -s 60'
    printf '%s\n' sleep:.4 'type:\r' "$preview"
    slowly 'a blue boat at sunset -s 60'
    printf '%s\n' sleep:.4 'type:\r' "$result" sleep:.5 "$preview"
    slowly '+ night'
    printf '%s\n' sleep:.4 'type:\r' sleep:2 shot:prompt "$result" "$result" sleep:1 'type:\x1bOR' sleep:1 'type:\x1b[C' sleep:.8 \
        shot:gallery sleep:.8 'type:q' sleep:1 'type:\x04'
} >"$work/steps"
{
    echo '#!/bin/bash'
    echo "export HOME=$work/home TINTYPE_HOME=$work/home PS1='$ '; cd; clear"
    printf '%q ' python3 "$here/scripts/terminals/driver.py" "$work"
    while IFS= read -r step; do printf '%q ' "$step"; done <"$work/steps"
    printf '%q ' -- "$TINTYPE" --device cpu --theme cyanotype
    echo; echo 'sleep 600'
} >"$work/run.sh"
chmod +x "$work/run.sh"
kitty -c NONE -o confirm_os_window_close=0 -o remember_window_size=no -o initial_window_width=$width \
    -o initial_window_height=$height -o cursor_blink_interval=0 -o update_check_interval=0 -o font_size=10 \
    -o background='#0b1b2b' -o foreground='#d8e6f2' -o window_padding_width=4 -o hide_window_decorations=yes \
    "$work/run.sh" >/dev/null 2>&1 &
terminal=$!

# screenshots as fast as they go, each with the time since the last one
frame=0 last=$(date +%s%N) end=$((SECONDS + 400))
while [ ! -e "$work/status" ] && [ $SECONDS -lt $end ]; do
    import -silent -window root "$work/frame.png" || break
    now=$(date +%s%N)
    frame=$((frame + 1))
    mv "$work/frame.png" "$work/$(printf 'f%05d-%05d.png' $frame $(((now - last) / 10000000)))"
    last=$now
    for wish in "$work"/shot-*; do
        case $wish in *.done | *'*') continue ;; esac
        sleep .3
        import -silent -window root "$OUT/${wish##*/shot-}.png"
        mogrify -strip +dither -colors 255 "PNG8:$OUT/${wish##*/shot-}.png"
        mv "$wish" "$wish.done"
    done
    sleep .12
done
[ "$(cat "$work/status")" = 0 ] && [ ! -s "$work/failed" ] || { echo "failed: $(cat "$work/failed" "$work/status")" >&2; exit 1; }

"${PYTHON:-python3}" "$here/scripts/terminals/gif.py" "$OUT/tintype.gif" "$work"/f*.png
ls -l "$OUT"/prompt.png "$OUT"/gallery.png "$OUT"/tintype.gif
