"""An object with its attributes and the ways to name it, and pictures of objects on plain backgrounds."""

from .art import Art, Pen
from .captions import article, count_noun, cword, decorate
from .catalogue import MOODS, OBJECTS, RIDERS
from .colors import COLORS, WOOD, jit, light, named
from .shapes import POSN, bg_for, layout_points
from .words import NUM, held, plural


class Thing:
    """One object with its attributes, and how to say it."""

    def __init__(self, rng, split, name, place=None, time="day", n=1):
        o = OBJECTS[name]
        self.name, self.o, self.rng, self.n = name, o, rng, n
        a = {"night": time == "night"}
        self.say_color = self.say_part = False
        self.color = self.part = None
        if o["colors"]:
            said = rng.random() < 0.55
            for _ in range(50):
                c = rng.choice(o["colors"] if said else o["default"])
                if (
                    held("obj", c, name)
                    == (split == "heldout" and said and any(held("obj", k, name) for k in o["colors"]))
                    or not said
                ):
                    break
            if not said and held("obj", c, name):
                c = next((k for k in o["default"] if not held("obj", k, name)), c)
            self.color, self.say_color = c, said or rng.random() < 0.08
            a["color"] = named(rng, c)
        if o["part"]:
            w, ch, df = o["part"]
            said = rng.random() < 0.40
            self.part, self.say_part = rng.choice(ch if said else df), said
            a["part"] = named(rng, self.part)
        self.who = None
        if name == "face":
            self.mood = a["mood"] = rng.choice(["happy", "happy", "happy", "sad", "sad", "surprised", "angry"])
        elif name == "rider":
            self.who = a["who"] = rng.choice(RIDERS)
            self.color = {
                "astronaut": "white",
                "robot": "gray",
                "cat": rng.choice(["orange", "gray", "black"]),
                "penguin": "black",
                "rabbit": "white",
            }[self.who]
            a["color"] = named(rng, self.color)
            self.part = rng.choice(["brown", "brown", "brown", "black", "white", "gray"])
            self.say_color = False
            a["part"] = named(rng, self.part)
        elif name == "planet":
            self.ring = a["ring"] = rng.random() < 0.7
            a["part"] = light(a["color"], 0.5) if rng.random() < 0.6 else (0.93, 0.85, 0.65)
        elif name == "pine":
            a["snowy"] = place == "snow" and rng.random() < 0.6
        elif name == "astronaut":
            a["wave"] = rng.random() < 0.5
        elif name == "windmill":
            a["turn"] = rng.choice([0.25, 0.5, 0.78])
        elif name == "ufo":
            a["beam"] = place not in ("space",) and rng.random() < 0.35
        elif name in ("boy", "girl"):
            a["skin"] = rng.choice([(0.98, 0.83, 0.70), (0.93, 0.74, 0.58), (0.76, 0.55, 0.39), (0.52, 0.35, 0.24)])
            a["hair"] = rng.choice(
                [(0.16, 0.12, 0.11), (0.38, 0.23, 0.13), (0.20, 0.14, 0.12), (0.90, 0.70, 0.30), (0.70, 0.33, 0.15)]
            )
            if sum(a["skin"]) < 1.2:
                a["hair"] = (0.12, 0.09, 0.09)
            a["trousers"] = rng.choice([(0.20, 0.26, 0.45), (0.25, 0.25, 0.28), (0.42, 0.34, 0.26)])
        elif name == "house":
            a["door"] = rng.choice([WOOD, (0.35, 0.20, 0.12), (0.30, 0.45, 0.60)])
        self.a = a

    def draw(self, art, x, y, s, flip=False, rot=0.0):
        if self.name == "rocket":
            self.a["flame"] = rot != 0.0 or self.a.get("fly")
        self.o["draw"](Pen(art, x, y, s, flip, rot), self.a)

    def say(self, n=None, bare=False):
        """Noun phrase without / with article."""
        rng, n = self.rng, n or self.n
        if self.name == "face":
            t = rng.choice(MOODS[self.mood])
            if self.say_color and self.color != "yellow":
                w = t.split(" ")
                if w[0] in ("a", "an"):
                    w = w[1:]
                t = article(cword(rng, self.color) + " " + " ".join(w))
            return t.split(" ", 1)[1] if bare and t.startswith(("a ", "an ")) else t
        if self.name == "rider":
            who = {
                "rabbit": ["rabbit", "bunny"],
                "cat": ["cat"],
                "astronaut": ["astronaut"],
                "robot": ["robot"],
                "penguin": ["penguin"],
            }[self.who]
            hc = (cword(rng, self.part) + " ") if (self.part != "brown" and rng.random() < 0.85) else ""
            t = rng.choice(
                ["%s riding a %shorse", "%s riding a %shorse", "%s on a %shorse", "%s riding on a %shorse"]
            ) % (rng.choice(who), hc)
            return t if bare else article(t)
        if self.name == "planet":
            noun = "planet"
            adj = cword(rng, self.color) if self.say_color else ""
            body = (adj + " " + noun).strip()
            if self.ring and rng.random() < 0.75:
                body = rng.choice(
                    [
                        body + " with rings",
                        body + " with a ring",
                        "ringed planet" if not adj else adj + " ringed planet",
                        "saturn" if not adj else adj + " planet with rings",
                    ]
                )
            return body if bare or body == "saturn" else article(body)
        noun = rng.choice(self.o["words"])
        adj = cword(rng, self.color) if self.say_color else ""
        post = ""
        if self.name in ("boy", "girl") and adj and rng.random() < 0.85:
            post = rng.choice([" in %s", " wearing %s"]) % (
                adj
                if rng.random() < 0.4
                else article(adj + (rng.choice([" shirt", " shirt", " jacket"]) if self.name == "boy" else " dress"))
            )
            adj = ""
        if self.say_part and self.o["part"]:
            w = self.o["part"][0]
            pc = cword(rng, self.part)
            post = {
                "roof": " with a %s roof",
                "sails": rng.choice([" with %s sails", " with a %s sail"]),
                "stripes": " with %s stripes",
                "scarf": " with a %s scarf",
                "mane": " with a %s mane",
                "roofs": rng.choice([" with %s roofs", " with a %s roof"]),
            }[w] % pc
        if bare:
            return (
                (adj + " " + noun).strip()
                if n == 1
                else (rng.choice(NUM[n][1:]) + " " if n > 1 else "") + (adj + " " + plural(noun)).strip()
            ) + post
        return count_noun(rng, n, adj, noun) + post


def pick_thing(rng, split, kind=None, place=None, time="day", exclude=()):
    """An object that may be at the place, of a pair that belongs to the split."""
    names = [k for k, o in OBJECTS.items() if (kind is None or kind in o["kinds"]) and k not in exclude]
    w = [2.0 if k in ("rider", "astronaut", "horse", "house", "cat") else 1.0 for k in names]
    for _ in range(60):
        k = rng.choices(names, w)[0]
        if place and split == "train" and held("place", k, place):
            continue
        if place and split == "heldout" and not held("place", k, place) and rng.random() < 0.85:
            continue
        return Thing(rng, split, k, place, time)
    return Thing(rng, split, k, place, time)


def object_picture(rng, split, style):
    """One to three of an object, big, on a plain background; or two different ones side by side."""
    art = Art(rng, style)
    two = rng.random() < 0.22
    t = pick_thing(rng, split)
    o = t.o
    used = [c for c in (t.color, t.part) if c]
    if t.name == "face":
        used = [t.color]
    u = None
    if two:
        u = pick_thing(rng, split, exclude=(t.name, "rider"))
        if t.name == "rider":
            t = pick_thing(rng, split, exclude=(u.name, "rider"))
        used = [c for c in (t.color, t.part, u.color, u.part) if c]
    elif o["multi"] and rng.random() < 0.22:
        t.n = rng.choices([2, 3, 4], [0.5, 0.35, 0.15])[0]
    # white things need a coloured ground
    pale = (
        {"white"} & set(used)
        or t.name in ("snowman", "rider", "rocket", "astronaut", "penguin")
        or (u and u.name in ("snowman", "rocket"))
    )
    if style not in ("line", "neon") and pale and rng.random() < 0.7:
        b = rng.choice(
            [c for c in ("blue", "cyan", "pink", "green", "orange", "purple", "yellow") if c not in used] or ["cyan"]
        )
        c = light(jit(rng, COLORS[b]), 0.5)
        art.full(light(c, 0.25) if rng.random() < 0.3 else c, c)
        bgp, bgn = (
            (rng.choice(["on a light %s background", "light %s background", "on a pale %s background"]) % b, b)
            if rng.random() < 0.6
            else (None, b)
        )
    else:
        bgp, bgn = bg_for(rng, art, used, 0.5)
    flip = rng.random() < 0.0
    if two:
        s = rng.uniform(0.20, 0.225)
        vert = rng.random() < 0.15
        order = rng.random() < 0.7
        a, b = (t, u)
        j = lambda: rng.uniform(-0.02, 0.02)
        if vert:
            a.draw(art, 0.5 + j(), 0.26 + j(), s * 0.98)
            b.draw(art, 0.5 + j(), 0.74 + j(), s * 0.98)
            cap = (
                "%s %s %s" % (a.say(), rng.choice(["above", "on top of", "over"]), b.say())
                if order
                else "%s %s %s" % (b.say(), rng.choice(["below", "under"]), a.say())
            )
            rel = "above"
        else:
            a.draw(art, 0.27 + j(), 0.52 + j(), s)
            b.draw(art, 0.73 + j(), 0.52 + j(), s)
            r = rng.random()
            rel = "left"
            if r < 0.50:
                cap = "%s %s %s" % (a.say(), rng.choice(["and", "and", "next to", "beside"]), b.say())
            elif r < 0.75:
                cap = "%s %s %s" % (a.say(), rng.choice(["to the left of", "left of", "on the left of"]), b.say())
            else:
                cap = "%s %s %s" % (b.say(), rng.choice(["to the right of", "right of", "on the right of"]), a.say())
    else:
        n = t.n
        rel = None
        if n == 1:
            s = o["icon"] * rng.uniform(0.88, 1.08)
            rot = 0.0
            if t.name in ("rocket", "airplane") and rng.random() < 0.4:
                rot = rng.uniform(0.3, 0.7) * (1 if t.name == "rocket" else -1)
            if t.name == "rocket":
                t.a["fly"] = rng.random() < 0.6
            size_word = ""
            if rng.random() < 0.10:
                s *= 0.55
                size_word = rng.choice(["small", "tiny", "little"])
            x, y, pos = 0.5 + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.03, 0.03), None
            if size_word and rng.random() < 0.6:
                pk = rng.choice(["l", "r", "t", "b", "tl", "tr", "bl", "br"])
                x, y, w = POSN[pk]
                pos = rng.choice(w)
            t.draw(art, x, y, s, flip, rot)
            cap = t.say(bare=True)
            if size_word:
                cap = size_word + " " + cap
            cap = article(cap) if cap != "saturn" else cap
            if t.name == "face" and not size_word:
                cap = t.say()
            if pos:
                cap += " " + pos
        else:
            pts = layout_points(rng, n, "row" if n < 4 and rng.random() < 0.7 else "grid")
            s = (
                {2: 0.215, 3: 0.155, 4: 0.175}[n]
                if len({round(q[1], 1) for q in pts}) == 1
                else {2: 0.2, 3: 0.19, 4: 0.19}[n]
            )
            s *= o["icon"] / 0.36 * rng.uniform(0.93, 1.03)
            for x, y in pts:
                t.draw(art, x, y, s)
            if t.name == "face":
                m = {
                    "happy": rng.choice(["happy", "smiling"]),
                    "sad": "sad",
                    "surprised": "surprised",
                    "angry": "angry",
                }[t.mood]
                cap = count_noun(
                    rng, n, ((cword(rng, t.color) + " ") if t.say_color and t.color != "yellow" else "") + m, "face"
                )
            elif t.name == "planet":
                cap = count_noun(rng, n, cword(rng, t.color) if t.say_color else "", "planet")
            else:
                cap = t.say(n)
    if bgp:
        cap += (" " if bgp.startswith(("on", "against")) else ", ") + bgp
    lab = dict(
        domain="object",
        style=style,
        bg=bgn,
        rel=rel,
        mode="two" if two else "one",
        things=[
            dict(name=q.name, color=q.color, said=q.say_color, n=q.n, who=q.who) for q in ((t, u) if two else (t,))
        ],
    )
    return art, decorate(rng, cap, style, False), lab
