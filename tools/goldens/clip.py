"""Token ids and text embeddings, by transformers and diffusers, for the fixtures and the embedded model.

tests/golden/clip/tokens.jsonl.gz    2,000 strings with the ids of every tokenizer in TOKENIZERS
tests/golden/clip/encoders.safetensors    hidden states and pooled states of the fixtures' text encoders
tests/golden/clip/prompts.safetensors     what the pipelines' `encode_prompt` returns
"""

import gzip
import json
import pathlib
import random
import shutil
import tempfile

import diffusers
import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ._paths import FIXTURES, GOLDEN, ROOT, write_json, write_tensors

OUT = GOLDEN / "clip"
PIPELINES = FIXTURES / "pipelines"
DEMO = ROOT / "models" / "tintype-demo"
START, END = "<|startoftext|>", "<|endoftext|>"

# --- tokenizers ----------------------------------------------------------------------------------------------------


def token(content: str, **fields) -> dict:
    """A token with the fields that transformers 4 wrote."""
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, **fields}


def typed(content: str) -> dict:
    return {"__type": "AddedToken", **token(content)}


LEGACY = {
    "add_prefix_space": False,
    "bos_token": typed(START),
    "do_lower_case": True,
    "eos_token": typed(END),
    "errors": "replace",
    "model_max_length": 77,
    "pad_token": END,
    "tokenizer_class": "CLIPTokenizer",
    "unk_token": typed(END),
}
DECODER = {
    **LEGACY,
    "bos_token": START,
    "eos_token": END,
    "unk_token": END,
    "clean_up_tokenization_spaces": True,
}

# The ways in which files on the Hub name special tokens, over the vocabulary of the sd15 fixture.
SETTINGS = {
    # stable-diffusion-v1-5, tokenizer
    "sd15": {
        "tokenizer_config.json": LEGACY,
        "special_tokens_map.json": {
            "bos_token": token(START),
            "eos_token": token(END),
            "pad_token": END,
            "unk_token": token(END),
        },
    },
    # stable-diffusion-2-1: the two files contradict each other
    "sd21": {
        "tokenizer_config.json": LEGACY,
        "special_tokens_map.json": {
            "bos_token": token(START),
            "eos_token": token(END),
            "pad_token": "!",
            "unk_token": token(END),
        },
    },
    # stable-diffusion-xl-base-1.0, tokenizer_2
    "sdxl_2": {
        "tokenizer_config.json": {
            **DECODER,
            "pad_token": "!",
            "added_tokens_decoder": {
                "0": token("!", normalized=False, special=True),
                "START": token(START, special=True),
                "END": token(END, normalized=False, special=True),
            },
        },
        "special_tokens_map.json": {"bos_token": token(START), "eos_token": token(END), "pad_token": "?"},
    },
    # a pipeline with a textual inversion in it, and a shorter context
    "inversion": {
        "tokenizer_config.json": {**LEGACY, "model_max_length": 24},
        "special_tokens_map.json": {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END},
        "added_tokens.json": {"<cat-toy>": "NEXT", "Sks": "NEXT+1"},
    },
}


def settings_for(name: str, vocabulary: dict[str, int]) -> dict[str, dict]:
    """The files of one of SETTINGS, with the ids of this vocabulary."""
    ids = {"START": str(vocabulary[START]), "END": str(vocabulary[END])}
    files = json.loads(json.dumps(SETTINGS[name]))
    decoder = files["tokenizer_config.json"].get("added_tokens_decoder")
    if decoder:
        files["tokenizer_config.json"]["added_tokens_decoder"] = {
            ids.get(key, key): value for key, value in decoder.items()
        }
    for added in filter(None, [files.get("added_tokens.json")]):
        added.update({content: len(vocabulary) + i for i, content in enumerate(added)})
    return files


def tokenizers() -> dict[str, CLIPTokenizer]:
    """Every tokenizer that is compared, by the name that the test knows it by. Writes the settings that the
    fixtures do not have."""
    source = PIPELINES / "sd15" / "tokenizer"
    vocabulary = json.loads((source / "vocab.json").read_text())
    made = {"demo": CLIPTokenizer.from_pretrained(DEMO / "tokenizer")}
    for name in SETTINGS:
        folder = OUT / "tokenizers" / name
        shutil.rmtree(folder, ignore_errors=True)
        for file, content in settings_for(name, vocabulary).items():
            write_json(folder / file, content)
        with tempfile.TemporaryDirectory() as whole:
            whole = pathlib.Path(whole)
            for file in [source / "vocab.json", source / "merges.txt", *folder.iterdir()]:
                shutil.copy(file, whole)
            made[name] = CLIPTokenizer.from_pretrained(whole)
    # what transformers 5 writes: tokenizer.json in place of vocabulary and merges
    folder = OUT / "tokenizers" / "transformers5"
    shutil.rmtree(folder, ignore_errors=True)
    made["sd21"].save_pretrained(folder)
    made["transformers5"] = CLIPTokenizer.from_pretrained(folder)
    return made


# --- strings -------------------------------------------------------------------------------------------------------

BY_HAND = """
a photo of a cat
an astronaut riding a horse on mars
A cosmonaut on a horse (hd, realistic), it's 2024!!  Ünïcödé 你好
masterpiece, best quality, (ultra-detailed:1.2), <lora:foo:0.8>, [blurry]
I'm we've they'll don't she'd you're IT'S CAN'T o'clock rock'n'roll ''s '' 'tis
it’s don’t “quotes” ‘x’ —dash… ¿Qué? ¡Sí!
emoji 🤖🎨👩‍👩‍👧 👍🏽 🇩🇪 ☕️ test
é vs é, ﬁ ligature, Ⅷ ½ ² ①
<|startoftext|> hi <|endoftext|> there
<|STARTOFTEXT|><|EndOfText|>x<|endoftext|>y <|endoftext |> <| endoftext|>
wow! !wow !!! ! a!b !a! so!!so ！ ¡!
sks Sks SKS a photo of <cat-toy> and <Cat-Toy>, Skser maskS
नमस्ते दुनिया ภาษาไทย 한국어 日本語 العربية עברית Ελληνικά Кириллица
İstanbul ŞEHRİ ΣΊΣΥΦΟΣ ß ẞ ǅ ŉ Å K Ω
10,000.50$ 100% #tag @me a_b-c/d\\e C:\\path 3.14e-5 1st 2nd x² H₂O
8k uhd, dslr, f/1.8, 35mm, ISO100, --ar 16:9, artstation, octane render, trending on artstation
""".strip("\n").split("\n") + [
    "",
    " ",
    "  leading and   trailing  ",
    "a\u00a0b\u3000c\td\ne\r\nf\x0bg\x0ch\u2028i\u2029j\u0085k\u1680l\u2003m\u202fn\u205fo",
    "\u200bzero\u200dwidth\ufeff \u180e \u00ad \u2060",
    "\x00 \x01 \x1b[0m \x1c\x1d\x1e\x1f \x7f \x80 \x9f",
    "a\u0301e\u0301 \u1100\u1161\u11a8 \u0958 \u2126 \u212b \U0001d15e",
    "x" * 300,
    "word " * 120,
    "supercalifragilisticexpialidocious" * 9,
    "!" * 90,
    "a very long prompt, " * 11 + "a very",
    "你好世界" * 30,
    "👩‍👩‍👧" * 20,
    END * 80,
]

WORDS = """a an the of on in with and under over near house horse dog cat astronaut sun moon sea mountain portrait oil
painting watercolor pixel art style detailed intricate cinematic lighting golden hour bokeh red blue green yellow
sky forest city street night day rain snow woman man child robot dragon castle flower tree river beach sunset by
greg rutkowski Alphonse Mucha studio ghibli 4k 8K HDR masterpiece ultra-detailed low-poly don't it's children's
mid-century art-deco café naïve Señor über ångström 1girl 2boys 35mm f/1.4 1920s NASA iPhone""".split()
JOINS = [" "] * 12 + [", "] * 6 + [". ", "! ", "? ", ": ", "; ", " - ", "/", "\n", "  ", " (", ") ", " [", "] ", "|", "…"]
# first and last of blocks whose characters tokenizers treat differently
BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F),
    (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF),
    (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x23FF), (0x2460, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x4FFF),
    (0xAC00, 0xADFF), (0xE000, 0xE010), (0xF900, 0xFAFF), (0xFE00, 0xFFEF), (0x1D400, 0x1D7FF), (0x1F300, 0x1F6FF),
    (0x1F900, 0x1F9FF), (0x20000, 0x20100),
]  # fmt: skip
BITS = [START, END, "!", "'s", "'ll", "'T", "<cat-toy>", "Sks", "\u200d", "\ufe0f", "\u0301", "\u00a0", "\t", "  "]


def strings(count: int) -> list[str]:
    rng = random.Random(20_240_042)
    result = [line.replace("\\\\", "\\") for line in BY_HAND]
    while len(result) < count:
        kind = rng.random()
        if kind < 0.5:
            text = "".join(rng.choice(WORDS) + rng.choice(JOINS) for _ in range(rng.randint(1, 22)))
        elif kind < 0.6:
            # around the limit of 75, where cutting begins
            text = " ".join(rng.choice(WORDS[:40]) for _ in range(rng.randint(60, 80)))
        elif kind < 0.8:
            first, last = rng.choice(BLOCKS)
            text = "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 24)))
        else:
            pieces = [chr(rng.randint(*rng.choice(BLOCKS))) for _ in range(rng.randint(1, 16))]
            pieces += [rng.choice(BITS) for _ in range(rng.randint(0, 5))]
            pieces += [rng.choice(WORDS) for _ in range(rng.randint(0, 5))]
            rng.shuffle(pieces)
            text = "".join(pieces)
        result.append(text)
    return result


def write_tokens() -> None:
    """One line a string: the text, then for each tokenizer the ids without the padding, which the test adds back."""
    made = tokenizers()
    lines = []
    for text in strings(2_000):
        row = {"text": text}
        for name, tokenizer in made.items():
            limit = tokenizer.model_max_length
            ids = tokenizer(text, padding="max_length", truncation=True, max_length=limit).input_ids
            assert len(ids) == limit
            whole = tokenizer(text).input_ids
            ids = ids[: min(limit, len(whole))]
            row[name] = {"ids": ids, "used": len(whole) - 2}
        lines.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    OUT.mkdir(parents=True, exist_ok=True)
    content = ("\n".join(lines) + "\n").encode("utf-8")
    (OUT / "tokens.jsonl.gz").write_bytes(gzip.compress(content, 9, mtime=0))
    pads = {name: [tokenizer.pad_token_id, tokenizer.model_max_length] for name, tokenizer in made.items()}
    write_json(OUT / "tokenizers.json", pads)
    print(f"{len(lines)} strings, {len(made)} tokenizers")


# --- text encoders -------------------------------------------------------------------------------------------------

# sequences are stored thinned out; each position depends on all before it
ROWS = slice(None, None, 4)
PROMPT = "a photo of an astronaut riding a horse on mars, it's 4k!"
NEGATIVE = "blurry, low quality"
LONG = "a very long prompt, " * 11 + "which is cut in the middle of these words"


def text_encoder(folder: pathlib.Path, cls) -> torch.nn.Module:
    model = cls.from_pretrained(folder, dtype=torch.float32).eval()
    # diffusers 0.42 reads the final layer norm at the place where transformers 4 had it; a registered child would
    # be a cycle of modules
    if cls is CLIPTextModel and not hasattr(model, "text_model"):
        model.__dict__["text_model"] = model
    return model


def write_encoders() -> None:
    """Every hidden state and the pooled state, for the three kinds of text encoder and the embedded model's."""
    encoders = {
        "sd15": (PIPELINES / "sd15", "", CLIPTextModel),
        "sd2": (PIPELINES / "sd2", "", CLIPTextModel),
        "sdxl_2": (PIPELINES / "sdxl", "_2", CLIPTextModelWithProjection),
        "demo": (DEMO, "", CLIPTextModel),
    }
    tensors = {}
    for name, (folder, suffix, cls) in encoders.items():
        tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}")
        model = text_encoder(folder / f"text_encoder{suffix}", cls)
        ids = tokenizer(PROMPT, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        output = model(ids, output_hidden_states=True)
        tensors[f"{name}.hidden_states"] = torch.cat(output.hidden_states)[:, ROWS]
        tensors[f"{name}.last_hidden_state"] = output.last_hidden_state[:, ROWS]
        tensors[f"{name}.pooled"] = output.text_embeds if suffix else output.pooler_output
        # the fixtures say 2 as old files do, which means the largest id; new files name a token
        model.get_submodule("text_model" if suffix else "").eos_token_id = tokenizer.encode(",")[1]
        output = model(ids)
        tensors[f"{name}.pooled_at_comma"] = output.text_embeds if suffix else output.pooler_output
    write_tensors(OUT / "encoders.safetensors", tensors)


# --- prompts -------------------------------------------------------------------------------------------------------


def pipeline(name: str):
    """The text half of a fixture's pipeline, in f32."""
    folder = PIPELINES / name
    parts = {"text_encoder": text_encoder(folder / "text_encoder", CLIPTextModel)}
    parts["tokenizer"] = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    rest = {"vae": None, "unet": None, "scheduler": None}
    if name == "sdxl":
        parts["text_encoder_2"] = text_encoder(folder / "text_encoder_2", CLIPTextModelWithProjection)
        parts["tokenizer_2"] = CLIPTokenizer.from_pretrained(folder / "tokenizer_2")
        return diffusers.StableDiffusionXLPipeline(**parts, **rest, force_zeros_for_empty_prompt=True)
    off = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.StableDiffusionPipeline(**parts, **rest, **off)


# (prompt, negative prompt, clip skip) by the name that the test knows them by; None is what diffusers means by it
CASES = {
    "plain": (PROMPT, None, None),
    "negative": (PROMPT, NEGATIVE, None),
    "skip": (PROMPT, NEGATIVE, 1),
    "long": (LONG, LONG + "!", None),
    "empty": ("", None, None),
    "brackets": ("a (photo) of [a] house (at 16:9)", "((ugly))", None),
}


def write_prompts() -> None:
    tensors, cases = {}, []
    for name in ("sd15", "sd2", "sdxl", "lcm"):
        pipe = pipeline(name)
        # the fixtures' text encoders are too short for another skip in SDXL
        pipe_cases = {case: row for case, row in CASES.items() if not (name == "sdxl" and row[2])}
        for case, (prompt, negative, skip) in pipe_cases.items():
            options = {"num_images_per_prompt": 1, "do_classifier_free_guidance": True, "clip_skip": skip}
            result = pipe.encode_prompt(prompt, device="cpu", negative_prompt=negative, **options)
            names = ["prompt", "negative", "pooled", "negative_pooled"]
            for part, tensor in zip(names, result):
                tensors[f"{name}.{case}.{part}"] = tensor[:, ROWS] if tensor.dim() == 3 else tensor
            cases.append([name, case, prompt, negative, skip or 0])
        for case, segments in WEIGHTED.items():
            tensors |= {f"{name}.{case}.{part}": tensor for part, tensor in weighted(pipe, segments).items()}
            cases.append([name, case, case, None, 0])
    write_tensors(OUT / "prompts.safetensors", tensors)
    write_json(OUT / "prompts.json", cases)
    print(f"{len(cases)} prompts")


# --- emphasis ------------------------------------------------------------------------------------------------------

# What the web UI's parser makes of a prompt: its examples, and what follows from its rules.
WEIGHTED = {
    "a (cat:1.5) in the snow": [("a ", 1.0), ("cat", 1.5), (" in the snow", 1.0)],
    "(house:0.4), [(sun:1.3)] (moon)": [
        ("house", 0.4),
        (", ", 1.0),
        ("sun", 1.3 / 1.1),
        (" ", 1.0),
        ("moon", 1.1),
    ],
    "word " * 70 + "(snow, cut here:1.2)": [("word " * 70, 1.0), ("snow, cut here", 1.2)],
}


def emphasised(state: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The web UI's "Original" emphasis: multiply, then restore the mean."""
    weighted = state * weights[None, :, None]
    return weighted * (state.mean() / weighted.mean())


def weighted(pipe, segments: list[tuple[str, float]]) -> dict[str, torch.Tensor]:
    """The embeddings of a prompt in pieces, each with its weight; every piece is tokenized by itself."""
    states, result = [], {}
    pairs = [(pipe.tokenizer, pipe.text_encoder)]
    if hasattr(pipe, "tokenizer_2"):
        pairs.append((pipe.tokenizer_2, pipe.text_encoder_2))
    for tokenizer, encoder in pairs:
        ids, weights = [], []
        for text, weight in segments:
            tokens = tokenizer(text, add_special_tokens=False).input_ids
            ids += tokens
            weights += [weight] * len(tokens)
        ids, weights = ids[:75], weights[:75]
        padding = 77 - 2 - len(ids)
        ids = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding]
        weights = torch.tensor([1.0, *weights, 1.0, *[1.0] * padding])
        output = encoder(torch.tensor([ids]), output_hidden_states=True)
        if len(pairs) == 1:
            states.append(emphasised(output.last_hidden_state, weights))
        else:
            states.append(emphasised(output.hidden_states[-2], weights))
            result["pooled"] = getattr(output, "text_embeds", None)
    return {"prompt": torch.cat(states, -1)[:, ROWS]} | result


@torch.no_grad()
def main() -> None:
    write_tokens()
    write_encoders()
    write_prompts()
