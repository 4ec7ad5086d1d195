"""CLIP's byte-pair tokenizer with a vocabulary of the captions' own words."""

import collections
import json
import math
import pathlib
import random
import re

import scenes

MAX_LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"
PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")


def bytes_to_unicode():
    """Every byte as a printable character, as GPT-2 and CLIP do it."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    codes = {byte: byte for byte in printable}
    codes.update((byte, 256 + i) for i, byte in enumerate(b for b in range(256) if b not in codes))
    return {byte: chr(code) for byte, code in codes.items()}


def join(symbols, first, second):
    """Replaces every `first, second` by their concatenation."""
    i, joined = 0, []
    while i < len(symbols):
        if symbols[i : i + 2] == [first, second]:
            joined.append(first + second)
            i += 2
        else:
            joined.append(symbols[i])
            i += 1
    return joined


def train(out, captions=60000, min_count=14):
    """Writes vocab.json and merges.txt: merges until every frequent word of the captions is one token."""
    rng = random.Random(123)
    counts = collections.Counter()
    for _ in range(captions):
        counts.update(PATTERN.findall(scenes.sample(rng)[0].lower()))
    syllables = set(scenes.SYL)
    words = {w: n for w, n in counts.items() if n >= min_count and w not in syllables and len(w) > 1}
    spelled = {w: list(w[:-1]) + [w[-1] + "</w>"] for w in words}
    merges = []
    while True:
        pairs = collections.Counter()
        for word, symbols in spelled.items():
            weight = 1 + math.log(words[word])
            for pair in zip(symbols, symbols[1:], strict=False):
                pairs[pair] += weight
        if not pairs:
            break
        pair = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(pair)
        spelled = {word: join(symbols, *pair) for word, symbols in spelled.items()}
    letters = list(bytes_to_unicode().values())
    vocab = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges] + [START, END]
    assert len(set(vocab)) == len(vocab)
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    ids = {token: i for i, token in enumerate(vocab)}
    (out / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = "".join(f"{a} {b}\n" for a, b in merges)
    (out / "merges.txt").write_text("#version: 0.2\n" + lines, encoding="utf-8")
    print(f"{len(words)} words, {len(merges)} merges, {len(vocab)} tokens")


class Tokenizer:
    """What transformers' CLIPTokenizer does with these files, faster: it runs in the worker processes."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
        self.rank = {tuple(line.split()): i for i, line in enumerate(lines) if line}
        self.letters = bytes_to_unicode()
        self.start, self.end = self.vocab[START], self.vocab[END]
        self.cache = {}

    def word(self, word):
        """Ids of a word."""
        if word in self.cache:
            return self.cache[word]
        symbols = [self.letters[byte] for byte in word.encode("utf-8")]
        symbols[-1] += "</w>"
        while len(symbols) > 1:
            pair = min(zip(symbols, symbols[1:], strict=False), key=lambda p: self.rank.get(p, math.inf))
            if pair not in self.rank:
                break
            symbols = join(symbols, *pair)
        ids = [self.vocab[symbol] for symbol in symbols]
        if len(self.cache) < 50000:
            self.cache[word] = ids
        return ids

    def __call__(self, text):
        """77 ids: start, the text's, end, and more ends as padding."""
        ids = [self.start]
        for word in PATTERN.findall(text.lower()):
            ids += self.word(word)
        ids = ids[: MAX_LENGTH - 1]
        return ids + [self.end] * (MAX_LENGTH - len(ids))
