"""Every object and place with its words, colours and whereabouts."""

from . import objects
from .colors import ALLC, BRIGHT

G, S, W, U, SP = "ground", "sky", "water", "under", "space"
HOUSEC = ["white", "yellow", "red", "blue", "pink", "orange", "green", "gray", "brown", "purple", "cyan"]


def entry(draw, words, colors, default, kinds, size=0.20, part=None, icon=0.36, multi=True):
    """An object: how it is drawn and called, colours it may have and has unsaid, kinds of places it can be in,
    its size in a scene, a part with colours of its own (word, choices, unsaid ones), its size alone, and whether it
    comes in numbers.
    """
    return dict(
        draw=draw,
        words=words,
        colors=colors,
        default=default,
        kinds=kinds,
        size=size,
        part=part,
        icon=icon,
        multi=multi,
    )


OBJECTS = {
    "house": entry(
        objects.house,
        ["house"] * 8 + ["cottage", "hut", "home", "cabin"],
        HOUSEC,
        ["white", "yellow", "orange"],
        (G,),
        0.22,
        (
            "roof",
            ["red", "blue", "brown", "green", "purple", "orange", "black", "gray", "pink", "yellow"],
            ["red", "red", "brown"],
        ),
    ),
    "tree": entry(
        objects.tree,
        ["tree"] * 6 + ["oak"],
        ["green", "orange", "red", "pink", "yellow", "blue", "purple"],
        ["green"],
        (G,),
        0.21,
    ),
    "pine": entry(
        objects.pine, ["pine tree", "fir tree", "christmas tree"], ["green", "blue", "white"], ["green"], (G,), 0.20
    ),
    "palm": entry(objects.palm, ["palm tree", "palm"], ["green"], ["green"], (G,), 0.22),
    "cactus": entry(objects.cactus, ["cactus"], ["green", "pink", "blue", "purple"], ["green"], (G,), 0.17),
    "flower": entry(
        objects.flower,
        ["flower"] * 3 + ["daisy", "tulip"],
        [c for c in ALLC if c not in ("green", "black", "gray", "brown")],
        ["red", "pink", "yellow", "purple"],
        (G,),
        0.17,
    ),
    "mushroom": entry(
        objects.mushroom, ["mushroom", "mushroom", "toadstool"], [c for c in ALLC if c != "white"], ["red"], (G,), 0.15
    ),
    "sailboat": entry(
        objects.sailboat,
        ["sailboat", "sailboat", "boat", "sailing boat"],
        ["red", "blue", "brown", "green", "yellow", "black", "orange", "purple", "white", "pink"],
        ["brown", "red"],
        (W,),
        0.20,
        ("sails", ["white", "red", "yellow", "orange", "blue", "pink", "green", "purple", "black"], ["white"]),
    ),
    "car": entry(objects.car, ["car"] * 4 + ["automobile"], ALLC, ["red", "blue", "yellow", "green"], (G,), 0.17),
    "bus": entry(objects.bus, ["bus"], ALLC, ["red", "yellow"], (G,), 0.19),
    "rocket": entry(
        objects.rocket,
        ["rocket"] * 3 + ["spaceship", "rocket ship"],
        [c for c in ALLC if c != "white"],
        ["red"],
        (G, S, SP),
        0.20,
    ),
    "hotair": entry(
        objects.hotair,
        ["hot air balloon"],
        BRIGHT,
        ["red", "orange", "yellow"],
        (S,),
        0.17,
        ("stripes", BRIGHT + ["white"], ["yellow", "white"]),
    ),
    "balloon": entry(
        objects.balloon, ["balloon"], BRIGHT + ["black", "white"], ["red", "blue", "yellow", "pink"], (S,), 0.13
    ),
    "fish": entry(
        objects.fish, ["fish"], BRIGHT + ["gray", "black", "white"], ["orange", "yellow", "blue"], (U,), 0.15
    ),
    "whale": entry(
        objects.whale, ["whale"], ["blue", "gray", "black", "purple", "pink", "white", "cyan"], ["blue"], (W, U), 0.20
    ),
    "bird": entry(objects.bird, ["bird"], ALLC, ["blue", "red", "yellow"], (G,), 0.13),
    "duck": entry(
        objects.duck,
        ["duck", "rubber duck", "duck"],
        ["yellow", "white", "brown", "green", "pink", "blue", "orange"],
        ["yellow"],
        (W, G),
        0.14,
    ),
    "cat": entry(
        objects.cat,
        ["cat"] * 4 + ["kitten", "kitty"],
        ["orange", "gray", "black", "white", "brown", "pink", "blue", "purple", "yellow", "green"],
        ["orange", "gray"],
        (G,),
        0.17,
    ),
    "dog": entry(
        objects.dog,
        ["dog"] * 4 + ["puppy"],
        ["brown", "white", "black", "gray", "orange", "yellow", "pink", "blue"],
        ["brown"],
        (G,),
        0.17,
    ),
    "rabbit": entry(
        objects.rabbit,
        ["rabbit", "rabbit", "bunny"],
        ["white", "gray", "brown", "pink", "black", "blue", "yellow"],
        ["white", "gray"],
        (G,),
        0.15,
    ),
    "horse": entry(
        objects.horse,
        ["horse"] * 4 + ["pony"],
        ["brown", "white", "black", "gray", "orange", "pink", "blue", "purple"],
        ["brown"],
        (G,),
        0.21,
    ),
    "unicorn": entry(
        objects.unicorn,
        ["unicorn"],
        ["white", "pink", "purple", "blue", "yellow", "black", "cyan"],
        ["white", "white", "pink"],
        (G,),
        0.21,
        ("mane", ["pink", "purple", "blue", "yellow", "red", "green", "orange"], ["pink", "purple"]),
    ),
    "boy": entry(
        objects.boy,
        ["boy", "man", "man", "person", "guy"],
        [c for c in ALLC if c not in ("brown",)],
        ["red", "blue", "green", "orange"],
        (G,),
        0.20,
    ),
    "girl": entry(
        objects.girl,
        ["girl", "girl", "woman", "woman", "lady"],
        [c for c in ALLC if c not in ("brown",)],
        ["red", "pink", "blue", "purple", "yellow"],
        (G,),
        0.20,
    ),
    "dino": entry(
        objects.dino,
        ["dinosaur"] * 4 + ["dino", "t-rex", "dragon"],
        ["green", "purple", "orange", "blue", "red", "pink", "yellow", "gray"],
        ["green"],
        (G,),
        0.21,
    ),
    "astronaut": entry(
        objects.astronaut,
        ["astronaut"] * 3 + ["spaceman"],
        ["white", "orange", "red", "blue", "yellow", "pink", "green"],
        ["white"],
        (G, SP),
        0.20,
    ),
    "rider": entry(objects.rider, None, ["white"], ["white"], (G,), 0.27, None, 0.40, False),
    "snowman": entry(objects.snowman, ["snowman"], [], [], (G,), 0.20, ("scarf", BRIGHT, ["red", "blue", "green"])),
    "robot": entry(objects.robot, ["robot"], ALLC, ["gray", "blue"], (G,), 0.18),
    "ghost": entry(
        objects.ghost,
        ["ghost"] * 5 + ["spook"],
        ["white", "pink", "blue", "green", "purple", "black", "yellow", "orange"],
        ["white"],
        (G, S),
        0.16,
    ),
    "face": entry(
        objects.face,
        None,
        ["yellow", "yellow", "blue", "green", "red", "pink", "orange", "purple", "cyan", "white"],
        ["yellow"],
        (),
        0.2,
        None,
        0.38,
    ),
    "ufo": entry(
        objects.ufo,
        ["ufo", "ufo", "flying saucer"],
        ["gray", "green", "purple", "red", "blue", "orange", "yellow", "pink"],
        ["gray"],
        (S, SP),
        0.16,
    ),
    "planet": entry(
        objects.planet,
        None,
        [c for c in ALLC if c not in ("black", "white")],
        ["orange", "purple", "blue"],
        (SP,),
        0.18,
        None,
        0.38,
    ),
    "lighthouse": entry(
        objects.lighthouse, ["lighthouse"], ["red", "blue", "black", "green", "orange", "yellow"], ["red"], (G,), 0.26
    ),
    "castle": entry(
        objects.castle,
        ["castle"],
        ["gray", "white", "pink", "brown", "yellow", "purple", "blue", "orange"],
        ["gray"],
        (G,),
        0.25,
        ("roofs", ["red", "blue", "purple", "green", "orange", "black", "pink"], ["red", "blue"]),
    ),
    "windmill": entry(
        objects.windmill,
        ["windmill"],
        ["white", "brown", "red", "blue", "gray", "orange", "yellow", "pink"],
        ["white", "brown"],
        (G,),
        0.23,
    ),
    "umbrella": entry(
        objects.umbrella, ["umbrella", "umbrella", "parasol"], ALLC, ["red", "blue", "yellow", "purple"], (G,), 0.18
    ),
    "apple": entry(
        objects.apple, ["apple"], ["red", "green", "yellow", "pink", "orange", "blue"], ["red"], (), 0.15, None, 0.33
    ),
    "icecream": entry(
        objects.icecream,
        ["ice cream", "ice cream cone"],
        ["pink", "brown", "white", "yellow", "green", "blue", "purple", "orange", "red"],
        ["pink", "white", "brown"],
        (),
        0.18,
    ),
    "cup": entry(
        objects.cup,
        ["cup", "mug", "coffee cup", "cup of coffee"],
        ALLC,
        ["white", "red", "blue"],
        (),
        0.18,
        None,
        0.33,
    ),
    "butterfly": entry(objects.butterfly, ["butterfly"], BRIGHT, ["orange", "blue", "purple"], (S,), 0.13, None, 0.36),
    "penguin": entry(
        objects.penguin,
        ["penguin"],
        ["black", "black", "blue", "gray", "purple", "pink", "green"],
        ["black"],
        (G,),
        0.17,
    ),
    "airplane": entry(objects.airplane, ["airplane", "plane", "airplane"], ALLC, ["white", "red", "blue"], (S,), 0.18),
    "tent": entry(
        objects.tent,
        ["tent", "tent", "camping tent"],
        ["orange", "red", "green", "blue", "yellow", "purple", "pink", "brown"],
        ["orange", "red", "green"],
        (G,),
        0.18,
    ),
}
OBJ_NAMES = list(OBJECTS)
MOODS = {
    "happy": [
        "a happy face",
        "a smiling face",
        "a smiley face",
        "a smiley",
        "a happy smiley",
        "a happy emoji",
        "smiling emoji",
    ],
    "sad": ["a sad face", "a crying face", "a sad smiley", "a sad emoji", "an unhappy face"],
    "surprised": ["a surprised face", "a shocked face", "a surprised smiley", "a surprised emoji"],
    "angry": ["an angry face", "an angry smiley", "a mad face", "an angry emoji"],
}
RIDERS = ["astronaut", "astronaut", "astronaut", "astronaut", "robot", "cat", "penguin", "rabbit"]

PLACES = {
    "meadow": [
        "in a meadow",
        "on a green field",
        "on the grass",
        "in a field",
        "on green hills",
        "on a hill",
        "in the park",
        "in a garden",
        "outside",
    ],
    "mountains": [
        "in the mountains",
        "in front of mountains",
        "with mountains in the background",
        "near the mountains",
    ],
    "beach": ["on the beach", "on a beach", "at the beach", "by the sea"],
    "desert": ["in the desert", "on sand dunes", "in a desert"],
    "snow": ["in the snow", "in a snowy field", "in winter", "on the snow", "in a snowy landscape"],
    "forest": ["in the forest", "in a forest", "in the woods"],
    "city": ["in the city", "in a city", "in front of skyscrapers", "on a street", "in town"],
    "mars": ["on mars", "on the red planet", "on planet mars", "on mars"],
    "moon": ["on the moon", "on the surface of the moon", "on the lunar surface"],
    "sea": ["on the sea", "on the ocean", "at sea", "on the water", "in the ocean", "on a lake"],
    "island": ["on an island", "on a small island", "on a tropical island"],
    "space": ["in space", "in outer space", "floating in space", "among the stars"],
    "underwater": ["under water", "underwater", "under the sea", "at the bottom of the sea"],
}
PLACE_TAG = {
    "meadow": ["meadow", "grass", "green hills", "green field", "field"],
    "mountains": ["mountains", "snowy mountains", "mountain"],
    "beach": ["beach", "sandy beach"],
    "desert": ["desert", "sand dunes"],
    "snow": ["snow", "winter", "snowy landscape", "winter scene"],
    "forest": ["forest", "woods"],
    "city": ["city", "skyscrapers", "city skyline", "skyline", "buildings"],
    "mars": ["mars", "red planet"],
    "moon": ["the moon surface", "lunar surface", "moon landscape"],
    "sea": ["sea", "ocean", "the sea", "waves", "lake", "water"],
    "island": ["island", "tropical island"],
    "space": ["space", "outer space", "galaxy"],
    "underwater": ["underwater", "under water"],
}
PLACE_NOUN = {
    "meadow": ["a green meadow", "green hills", "a meadow", "a field", "a landscape"],
    "mountains": ["mountains", "a mountain landscape", "snowy mountains"],
    "beach": ["a beach", "a sandy beach"],
    "desert": ["a desert", "sand dunes", "a desert landscape"],
    "snow": ["a snowy landscape", "a winter landscape", "a snowy field"],
    "forest": ["a forest", "a pine forest"],
    "city": ["a city", "a city skyline", "skyscrapers"],
    "mars": ["mars", "the surface of mars", "a martian landscape"],
    "moon": ["the surface of the moon", "the lunar surface", "a moon landscape"],
    "sea": ["the sea", "the ocean", "a seascape", "a lake"],
    "island": ["an island", "a tropical island", "a small island"],
    "space": ["space", "outer space", "stars and planets"],
    "underwater": ["the bottom of the sea", "an underwater scene"],
}
TIMES = {
    "day": ["in the daytime", "by day", "on a sunny day", "during the day"],
    "night": [
        "at night",
        "at night",
        "at night",
        "under the stars",
        "at midnight",
        "under a starry sky",
        "in the dark",
    ],
    "sunset": ["at sunset", "at sunset", "at sunset", "at dusk", "in the evening", "at sunrise", "at dawn"],
}
TIME_TAG = {
    "day": ["day", "sunny day", "blue sky"],
    "night": ["night", "night", "night sky", "starry night", "dark sky"],
    "sunset": ["sunset", "sunset", "dusk", "sunrise", "evening", "orange sky"],
}
