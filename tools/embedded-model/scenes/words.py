"""What things are called in captions, and which pairs of words training never shows."""

import zlib

COLOR_WORDS = {
    "red": ["red"] * 8 + ["crimson", "scarlet"],
    "orange": ["orange"],
    "yellow": ["yellow"] * 8 + ["golden"],
    "green": ["green"] * 9 + ["emerald"],
    "blue": ["blue"],
    "purple": ["purple"] * 7 + ["violet"],
    "pink": ["pink"] * 8 + ["magenta"],
    "brown": ["brown"],
    "black": ["black"],
    "white": ["white"],
    "gray": ["gray"] * 4 + ["grey"] * 4,
    "cyan": ["cyan"] * 3 + ["turquoise"] * 3 + ["teal"] * 2,
}
SHAPES = [
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "hexagon",
    "diamond",
    "ring",
    "crescent",
    "cross",
    "oval",
    "rectangle",
]
SHAPE_WORDS = {
    "circle": ["circle"] * 5 + ["disc", "dot", "ball"],
    "square": ["square"],
    "triangle": ["triangle"],
    "star": ["star"],
    "heart": ["heart"],
    "hexagon": ["hexagon"],
    "diamond": ["diamond"] * 3 + ["rhombus"],
    "ring": ["ring"] * 3 + ["donut"],
    "crescent": ["crescent"],
    "cross": ["cross"] * 3 + ["plus sign"],
    "oval": ["oval"] * 2 + ["ellipse"],
    "rectangle": ["rectangle"],
}
PLURAL = {
    "box": "boxes",
    "rhombus": "rhombuses",
    "cactus": "cacti",
    "toadstool": "toadstools",
    "cross": "crosses",
    "plus sign": "plus signs",
    "bus": "buses",
    "fish": "fish",
    "mug": "mugs",
    "hot air balloon": "hot air balloons",
    "butterfly": "butterflies",
    "snowman": "snowmen",
    "cup of coffee": "cups of coffee",
    "ice cream": "ice creams",
    "puppy": "puppies",
    "kitty": "kitties",
    "bunny": "bunnies",
    "man": "men",
    "woman": "women",
    "person": "people",
    "lady": "ladies",
    "home": "homes",
    "daisy": "daisies",
    "t-rex": "t-rexes",
}


def plural(w):
    return PLURAL.get(w, w + "s")


NUM = {
    1: ["a", "a", "one", "1"],
    2: ["two", "two", "2", "a pair of"],
    3: ["three", "three", "3"],
    4: ["four", "four", "4"],
    5: ["five", "five", "5"],
    6: ["six", "six", "6"],
}

STYLES = ["flat", "pixel", "watercolor", "line", "cartoon", "neon"]
STYLE_P = [0.60, 0.09, 0.09, 0.08, 0.07, 0.07]
STYLE_SUFFIX = {
    "flat": ["flat illustration", "flat design", "vector art", "simple illustration", "clip art"],
    "pixel": ["pixel art", "pixel art", "pixel art", "8-bit", "pixelated", "pixel art style", "retro video game"],
    "watercolor": ["watercolor", "watercolor", "watercolor painting", "watercolour", "in watercolor"],
    "line": [
        "line drawing",
        "line drawing",
        "line art",
        "black and white line drawing",
        "sketch",
        "pencil drawing",
        "coloring book page",
        "outline",
    ],
    "cartoon": ["cartoon", "cartoon style", "comic", "comic style", "bold outlines", "with black outlines"],
    "neon": ["neon", "neon lights", "neon sign", "glowing neon", "neon glow", "in neon"],
}
STYLE_PREFIX = {
    "flat": ["a flat illustration of", "a simple picture of", "clip art of", "vector art of"],
    "pixel": ["pixel art of", "a pixel art", "pixel art"],
    "watercolor": ["a watercolor of", "a watercolor painting of", "watercolor painting of"],
    "line": ["a line drawing of", "line art of", "a sketch of", "a pencil drawing of"],
    "cartoon": ["a cartoon of", "a cartoon", "a comic drawing of", "cartoon"],
    "neon": ["a neon sign of", "a neon", "neon"],
}
FILLER_PREFIX = [
    "a picture of",
    "an image of",
    "an illustration of",
    "a drawing of",
    "a photo of",
    "a painting of",
    "picture of",
    "photo of",
    "a photograph of",
    "draw",
    "show me",
    "a beautiful picture of",
    "a cute drawing of",
    "there is",
    "an icon of",
    "i want",
]
FILLER_SUFFIX = [
    "highly detailed",
    "beautiful",
    "cute",
    "digital art",
    "masterpiece",
    "4k",
    "8k",
    "best quality",
    "high quality",
    "trending on artstation",
    "simple",
    "nice",
    "pretty",
    "colorful",
    "detailed",
    "hd",
    "artwork",
    "art",
    "illustration",
    "sharp",
    "professional",
]

HOLD = 9  # percent of the pairs of each kind that training never shows


# ... except these, which a newcomer is likely to type
_KEEP = {
    "shape": "red circle,red square,red star,red heart,red triangle,blue circle,blue square,blue star,green circle,green square,yellow star,"
    "yellow circle,green triangle,blue triangle",
    "place": "tree meadow,tree snow,tree mountains,tree beach,astronaut mars,astronaut moon,rocket space,rocket mars,rocket moon,cat meadow,cat city,"
    "dog meadow,dog beach,horse meadow,car city,car desert,sailboat sea,palm beach,palm island,fish underwater,whale sea,duck sea,ufo space,"
    "house meadow,house snow,house mountains,pine snow,pine mountains,snowman snow,penguin snow,cactus desert,castle meadow,tent mountains,"
    "tent forest,rider meadow,rider moon,rider mars,mushroom forest,umbrella beach,flower meadow,windmill meadow,hotair meadow,bird meadow,"
    "butterfly meadow,girl snow,robot city,astronaut space,lighthouse island",
    "obj": "white cup,gray ufo,red lighthouse,red mushroom,red balloon,blue balloon,red robot,yellow flower,white airplane,orange cat,white ghost,white unicorn,white dog,orange fish,pink flower,red hotair",
}
_KEEP = {(k, tuple(x.split())) for k, v in _KEEP.items() for x in v.split(",")}


def held(kind, *parts):
    """True for the compositions that are kept out of training (used for evaluation)."""
    if (kind, parts) in _KEEP:
        return False
    return zlib.crc32(("2/%s|%s" % (kind, "|".join(parts))).encode()) % 100 < HOLD
