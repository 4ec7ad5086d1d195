"""Pictures of places: a backdrop by day, night or sunset, things in it, and a caption of what was drawn."""

from .art import Art, Pen
from .backdrops import TINT, backdrop
from .captions import article, cword, decorate
from .catalogue import PLACE_NOUN, PLACE_TAG, PLACES, SP, TIME_TAG, TIMES, G, S, U, W
from .colors import ALLC
from .things import pick_thing

KIND_OF_PLACE = {"sea": W, "space": SP, "underwater": U}


def scene_picture(rng, split, style):
    """Returns the art, its caption and its labels."""
    place = rng.choices(list(PLACES), [1.5, 1.2, 1.1, 0.9, 1.1, 0.8, 1.0, 1.0, 1.0, 1.2, 0.7, 0.9, 0.8])[0]
    time = rng.choices(["day", "night", "sunset"], [0.54, 0.25, 0.21])[0]
    if place in ("space", "moon"):
        time = "day"
    if place == "underwater" and time == "sunset":
        time = "day"
    tint = TINT[time] if style not in ("line", "neon") else None
    if style in ("line", "neon") and time == "sunset":
        time = "day"
    art = Art(rng, style, tint)
    hor = rng.uniform(0.50, 0.60)
    if place in ("forest", "city", "mountains"):
        hor = rng.uniform(0.52, 0.60)
    sk, _facts = {}, []
    sx = rng.choice([0.20, 0.5, 0.80]) + rng.uniform(-0.06, 0.06)
    sk["sx"] = sx
    skyless = place in ("space", "underwater", "moon")
    if not skyless:
        r = rng.random()
        if time == "day":
            if r < 0.50:
                sk["sun"] = True
            if rng.random() < 0.45:
                sk["clouds"] = True
            if rng.random() < 0.07 and place not in ("mars",):
                sk["rainbow"] = True
            if rng.random() < 0.10 and place not in ("mars", "desert"):
                sk["gloomy"] = sk["rain"] = sk["clouds"] = True
                sk.pop("sun", None)
                sk.pop("rainbow", None)
        elif time == "night":
            if r < 0.62:
                sk["moon"] = "crescent" if rng.random() < 0.5 else "full"
            if rng.random() < 0.15:
                sk["clouds"] = True
        else:
            if r < 0.75:
                sk["sun"] = True
            if rng.random() < 0.30:
                sk["clouds"] = True
        if place in ("snow", "forest", "mountains", "city") and rng.random() < (0.30 if place == "snow" else 0.05):
            sk["snowing"] = True
    elif place == "space":
        if rng.random() < 0.5:
            sk["planet"] = rng.choice([c for c in ALLC if c not in ("black", "white")])
    elif place == "moon":
        sk["earth"], sk["ex"] = rng.random() < 0.5, rng.choice([0.22, 0.78])
    # things
    kind = KIND_OF_PLACE.get(place, G)
    nth = rng.choices([0, 1, 2], [0.10, 0.55, 0.35])[0]
    th = []
    if place == "sea" and nth == 2:
        th = [pick_thing(rng, split, W, place, time)]
    elif nth:
        th = [pick_thing(rng, split, kind, place, time)]
        if nth == 2:
            th.append(pick_thing(rng, split, kind, place, time, exclude=(th[0].name, "rider")))
            if th[0].name == "rider":
                th = th[:1]
    fly = None
    if place != "underwater" and rng.random() < (0.20 if th else 0.55) and not (place == "space"):
        fly = pick_thing(rng, split, S, place, time)
    line_ground = backdrop(art, place, time, sk, hor)
    if sk.get("sun") or sk.get("moon") or sk.get("earth"):
        fx = 0.5 if 0.35 > abs(sx - 0.5) > 0.15 else (0.25 if sx > 0.5 else 0.75)
    else:
        fx = rng.choice([0.25, 0.5, 0.75])
    if fly:
        fx += rng.uniform(-0.05, 0.05)
        if fly.name == "rocket":
            fly.a["fly"] = True
        fly.draw(
            art,
            fx,
            rng.uniform(0.22, 0.30),
            fly.o["size"] * rng.uniform(0.75, 0.95),
            False,
            rng.uniform(0.3, 0.6) if fly.name == "rocket" else 0.0,
        )
    # positions on the ground
    big = 1.25 if len(th) == 1 else 1.0
    placed = []
    side = None
    if len(th) == 1:
        side = rng.choices(["c", "l", "r"], [0.62, 0.19, 0.19])[0]
        xs = [{"c": 0.5, "l": 0.27, "r": 0.73}[side] + rng.uniform(-0.05, 0.05)]
    else:
        xs = [0.27 + rng.uniform(-0.03, 0.03), 0.73 + rng.uniform(-0.03, 0.03)]
    for q, x in zip(th, xs, strict=False):
        s = q.o["size"] * big * rng.uniform(0.9, 1.12)
        if kind == G:
            base = min(0.96, max(line_ground + 0.05 + 0.3 * s, rng.uniform(0.80, 0.92)))
            if place == "island":
                x = 0.5 + (x - 0.5) * 0.8
                base = hor + 0.22
                s *= 0.85
            if style in ("flat", "pixel", "watercolor") and q.name not in ("face",):
                Pen(art, x, base, s).ell(0, 0.0, 0.85, 0.10, (0.05, 0.08, 0.10), kind="soft", alpha=0.16, emis=True)
            y = base - s
        elif kind == W:
            s *= 1.1
            base = rng.uniform(hor + 0.14, hor + 0.26)
            y = base - s
        elif kind == U:
            y = rng.uniform(0.30, 0.62)
        else:
            y = rng.uniform(0.40, 0.60) if len(th) == 1 else rng.uniform(0.35, 0.65)
            s *= 1.15
            if q.name == "rocket":
                q.a["fly"] = True
        q.draw(
            art,
            x,
            y,
            s,
            False,
            rng.uniform(0.3, 0.7) if (q.name == "rocket" and kind == SP and rng.random() < 0.5) else 0.0,
        )
        if kind == W:  # waterline
            w1 = {"day": (0.20, 0.55, 0.84), "night": (0.09, 0.16, 0.37), "sunset": (0.80, 0.46, 0.42)}[time]
            Pen(art, x, base, s).ell(0, 0.06, 1.05, 0.12, w1, kind="bg", emis=True, alpha=0.9)
        placed.append(q)
    if sk.get("rain"):
        art.field(
            0.5,
            0.5,
            0.9,
            0.9,
            0.075,
            0.10,
            0.0042,
            0.026,
            0.6,
            1.0,
            (0.72, 0.82, 0.95),
            rot=0.22,
            alpha=0.8,
            emis=True,
        )
    if sk.get("snowing"):
        art.field(0.5, 0.5, 0.5, 0.5, 0.085, 0.085, 0.010, 0.010, 0.42, 1.0, (1.0, 1.0, 1.0), emis=True)

    # ---- caption ---------------------------------------------------------
    say = lambda p: rng.random() < p
    tags = rng.random() < 0.28
    sky_f = []
    lr = " on the left" if sx < 0.36 else " on the right" if sx > 0.64 else ""
    if sk.get("sun") and say(0.55):
        w = (
            rng.choice(["the sun", "a yellow sun", "a sun", "a bright sun"])
            if time == "day"
            else rng.choice(["the setting sun", "the sun", "an orange sun", "a low sun"])
        )
        sky_f.append(w + (lr if lr and say(0.25) else ""))
    if sk.get("moon") and say(0.75):
        w = {
            "crescent": ["a crescent moon", "the moon", "a moon"],
            "full": ["a full moon", "the moon", "a full moon", "a moon"],
        }[sk["moon"]]
        sky_f.append(rng.choice(w) + (lr if lr and say(0.2) else ""))
    if time == "night" and not skyless and say(0.25):
        sky_f.append("stars")
    if sk.get("clouds") and not sk.get("rain") and say(0.60):
        sky_f.append(rng.choice(["clouds", "white clouds", "some clouds"] if time == "day" else ["clouds"]))
    if sk.get("rainbow") and say(0.93):
        sky_f.append("a rainbow")
    if sk.get("earth") and say(0.6):
        sky_f.append(rng.choice(["the earth in the sky", "planet earth", "the earth"]))
    if sk.get("planet") and say(0.6):
        sky_f.append(rng.choice(["a planet", article(cword(rng, sk["planet"]) + " planet")]))
    weather = None
    if sk.get("rain") and say(0.93):
        weather = rng.choice(["in the rain", "on a rainy day", "raining", "rain"])
    if sk.get("snowing") and say(0.8):
        weather = rng.choice(["while it is snowing", "falling snow", "snowing", "with falling snow"])
    tm = None
    if time != "day":
        tm = time if say(0.93) else None
    elif not skyless and say(0.10):
        tm = "day"
    pl = say(0.92)
    fly_t = fly.say() if fly and say(0.9) else None
    if tags:
        parts = [q.say(bare=True) for q in placed]
        if fly_t:
            parts.append(fly.say(bare=True))
        if pl:
            parts.append(rng.choice(PLACE_TAG[place]))
        if tm:
            parts.append(rng.choice(TIME_TAG[tm]))
        parts += [f[2:] if f.startswith("a ") and say(0.6) else f for f in sky_f]
        if weather:
            parts.append(weather.replace("in the ", ""))
        if rng.random() < 0.25:
            rng.shuffle(parts)
        if rng.random() < 0.10 and len(parts) > 1:
            parts = [rng.choice(parts)]
        cap = ", ".join(parts) if parts else rng.choice(PLACE_TAG[place])
    else:
        if placed:
            if len(placed) == 2:
                a, b = placed
                r = rng.random()
                if r < 0.60:
                    subj = "%s %s %s" % (a.say(), rng.choice(["and", "and", "next to", "beside"]), b.say())
                elif r < 0.8:
                    subj = "%s to the left of %s" % (a.say(), b.say())
                else:
                    subj = "%s to the right of %s" % (b.say(), a.say())
            else:
                subj = placed[0].say()
                if side in ("l", "r") and say(0.55):
                    subj += rng.choice(
                        [" on the left", " on the left side"]
                        if side == "l"
                        else [" on the right", " on the right side"]
                    )
            cap = subj + ((" " + rng.choice(PLACES[place])) if pl else "")
        else:
            cap = rng.choice(PLACE_NOUN[place])
        if fly_t:
            over = rng.choice(["%s flying above", "%s in the sky", "%s above"]) % fly_t
            if not placed and pl:
                cap = "%s %s %s" % (fly_t, rng.choice(["over", "above", "flying over"]), cap)
            elif not placed:
                cap = fly_t
            else:
                cap += rng.choice([" and ", " with ", ", "]) + over
        if tm:
            tw = rng.choice(TIMES[tm])
            cap = (tw + ", " + cap) if say(0.12) else cap + rng.choice([" ", " ", ", "]) + tw
        if sky_f:
            f = sky_f[0] if len(sky_f) == 1 else ", ".join(sky_f[:-1]) + " and " + sky_f[-1]
            if rng.random() < 0.30 and len(sky_f) == 1 and sky_f[0].split(" ")[-1] in ("sun", "moon", "rainbow"):
                cap += " under " + f
            else:
                cap += rng.choice([" with ", ", ", " and "]) + f
        if weather:
            cap += rng.choice([" ", ", "]) + weather
    lab = dict(
        domain="scene",
        style=style,
        place=place,
        time=time,
        sky={k: v for k, v in sk.items() if k not in ("sx", "ex")},
        side=side,
        things=[
            dict(name=q.name, color=q.color, said=q.say_color, n=1, who=q.who) for q in placed + ([fly] if fly else [])
        ],
    )
    return art, decorate(rng, cap, style, tags), lab
