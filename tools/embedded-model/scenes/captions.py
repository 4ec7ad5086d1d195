"""Sentences: articles, counts, style words, filler and small accidents of writing."""

from .words import COLOR_WORDS, FILLER_PREFIX, FILLER_SUFFIX, NUM, STYLE_PREFIX, STYLE_SUFFIX, plural


def article(s):
    """'star' -> 'a star'"""
    return ("an " if s[:1] in "aeiou" and not s.startswith(("ufo", "uni", "one")) else "a ") + s


def count_noun(rng, n, adj, noun, word=None):
    """'three small green', 'star' -> 'three small green stars'"""
    body = (adj + " " + (noun if n == 1 else plural(noun))).strip()
    if n == 1:
        d = rng.random()
        return article(body) if d < 0.86 else (rng.choice(["one ", "1 ", "a single "]) + body)
    return (word or rng.choice(NUM[n])) + " " + body


def cword(rng, c):
    """A word for a colour."""
    return rng.choice(COLOR_WORDS[c])


SYL = [
    "ba",
    "ko",
    "mi",
    "ru",
    "ta",
    "lon",
    "fer",
    "qui",
    "zo",
    "van",
    "dre",
    "pis",
    "gul",
    "hem",
    "xi",
    "wo",
    "jar",
    "ck",
    "ing",
    "ed",
    "sky",
    "est",
    "or",
    "th",
    "ly",
]
COMMON = [
    "big",
    "old",
    "very",
    "amazing",
    "happy",
    "little",
    "good",
    "great",
    "new",
    "lovely",
    "classic",
    "magic",
    "modern",
    "real",
    "style",
    "scene",
    "view",
    "best",
    "wide",
    "soft",
    "quiet",
    "funny",
    "tiny",
    "dream",
    "story",
    "world",
    "with",
    "and",
    "some",
    "the",
    "some",
    "his",
    "her",
    "my",
    "your",
    "this",
    "that",
    "it",
    "is",
    "are",
    "please",
]


def decorate(rng, cap, style, tags):
    """Style words, filler words and small accidents of writing."""
    sx = None
    if style != "flat" or rng.random() < 0.06:
        r = rng.random()
        if r < 0.34:
            cap = rng.choice(STYLE_PREFIX[style]) + " " + cap
        elif r < 0.90:
            sx = rng.choice(STYLE_SUFFIX[style])
            if not tags and rng.random() < 0.25:
                cap = "%s, %s" % (sx, cap)
            else:
                cap = cap + ", " + sx
        elif r < 0.97:
            cap = (
                cap
                + " in %s style"
                % {
                    "flat": "flat",
                    "pixel": "pixel art",
                    "watercolor": "watercolor",
                    "line": "line art",
                    "cartoon": "cartoon",
                    "neon": "neon",
                }[style]
            )
        # else: style left unsaid
    elif rng.random() < 0.16:
        cap = rng.choice(FILLER_PREFIX) + " " + cap
    if rng.random() < 0.10:
        cap = cap + ", " + rng.choice(FILLER_SUFFIX)
        if rng.random() < 0.4:
            cap = cap + ", " + rng.choice(FILLER_SUFFIX)
    if rng.random() < 0.05:
        w = cap.split(" ")
        for _ in range(rng.randint(1, 2)):
            x = (
                rng.choice(COMMON)
                if rng.random() < 0.6
                else "".join(rng.choice(SYL) for _ in range(rng.randint(1, 3)))
            )
            w.insert(rng.randint(0, len(w)), x)
        cap = " ".join(w)
    r = rng.random()
    if r < 0.06:
        cap = cap + "."
    elif r < 0.10:
        cap = cap.replace(",", "")
    elif r < 0.13 and cap.startswith(("a ", "an ", "the ")):
        cap = cap.split(" ", 1)[1]
    return cap
