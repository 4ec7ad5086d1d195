"""UNet and text encoder together: v-prediction, zero terminal SNR, latents of three sizes."""

import json
import math
import os
import pathlib
import random
import time

import numpy as np
import torch
import torch.nn as nn

import scenes

from . import log
from .data import Pictures, draw, fixed_pictures
from .networks import STEPS, TextEncoder, alphas_cumprod, decode, encode, make_unet, make_vae, parameter_count
from .optimizer import Muon
from .tokenizer import MAX_LENGTH, Tokenizer

# Prompts that are drawn at every checkpoint.
SHOWN = [
    "a large red circle above two small blue squares",
    "three green stars on a purple background",
    "a house with a red roof under a yellow sun",
    "mountains at night with a moon and stars",
    "a sailboat on the sea at sunset",
    "a green tree in the snow",
    "a smiling face",
    "a rocket on mars",
    "an astronaut riding a horse",
    "a black cat in the park",
    "a pixel art robot in the city",
    "a watercolor of a pink flower in a meadow",
    "a line drawing of a dinosaur",
    "neon sign of a blue whale",
    "a yellow castle on a hill at sunset",
    "a small orange square to the left of a large purple circle",
    "two hot air balloons",
    "a penguin and a snowman in winter",
    "an orange fish under water",
    "a lighthouse on an island at night",
    "a red car in the desert",
    "cartoon dog on the beach",
    "a ufo over a forest at night",
    "an astronaut on the moon, the earth in the sky",
]

BASE = 128  # pixels of most pictures; others, larger, come in the second half of the training


class VPrediction(nn.Module):
    """Squared error of the predicted v, for each picture."""

    def __init__(self, unet, text_encoder):
        super().__init__()
        self.unet, self.te = unet, text_encoder
        alphas = alphas_cumprod().float()
        self.register_buffer("signal", alphas.sqrt(), persistent=False)
        self.register_buffer("noise", (1 - alphas).sqrt(), persistent=False)

    def forward(self, latents, ids, t, noise):
        a, s = self.signal[t][:, None, None, None], self.noise[t][:, None, None, None]
        predicted = self.unet(a * latents + s * noise, t, self.te(ids), return_dict=False)[0]
        return (predicted.float() - (a * noise - s * latents)).square().mean((1, 2, 3))


@torch.no_grad()
def ddim(net, ids, empty, size, steps=16, guidance=4.0, seed=1):
    """Latents by DDIM with trailing spacing: what the exported scheduler does."""
    device, n = ids.device, len(ids)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    alphas = alphas_cumprod().to(device)
    x = torch.randn(n, 4, size // 4, size // 4, generator=torch.Generator().manual_seed(seed)).to(device)
    with autocast:
        context = torch.cat([net.te(empty[None].expand(n, -1)), net.te(ids)])
    timesteps = np.round(np.arange(STEPS, 0, -STEPS / steps)).astype(int) - 1
    for i, t in enumerate(timesteps):
        a = alphas[t]
        following = alphas[timesteps[i + 1]] if i + 1 < steps else torch.ones_like(a)
        with autocast:
            times = torch.full((2 * n,), int(t), device=device)
            v = net.unet(torch.cat([x, x]), times, context, return_dict=False)[0].float()
        v = v[:n] + guidance * (v[n:] - v[:n])
        signal, noise = a.sqrt().float(), (1 - a).sqrt().float()
        clean, epsilon = signal * x - noise * v, signal * v + noise * x
        x = following.sqrt().float() * clean + (1 - following).sqrt().float() * epsilon
    return x


class LatentPool:
    """Latents and token ids of one picture size, filled as training goes on; training draws from it at random."""

    def __init__(self, size, capacity, device):
        self.size, self.capacity, self.n = size, capacity, 0
        self.latents = torch.empty(capacity, 4, size // 4, size // 4, dtype=torch.float16, device=device)
        self.ids = torch.empty(capacity, MAX_LENGTH, dtype=torch.int16, device=device)

    @torch.no_grad()
    def feed(self, pictures, vae):
        """Adds a chunk of pictures, unless the pool is full."""
        if self.n >= self.capacity:
            return
        prims, gpar, ids, _ = pictures.next()
        pieces = {128: 1, 192: 2, 256: 4}.get(self.size, 1)
        piece = len(prims) // pieces
        for p, g, i in zip(prims.split(piece), gpar.split(piece), ids.split(piece), strict=True):
            x = draw(p, g, self.size) * 2 - 1
            if x.device.type == "cuda":
                x = x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
            n = min(len(p), self.capacity - self.n)
            self.latents[self.n : self.n + n] = encode(vae, x)[:n]
            self.ids[self.n : self.n + n] = i[:n]
            self.n += n

    def sample(self, n):
        index = torch.randint(0, self.n, (n,), device=self.latents.device)
        return self.latents[index].float(), self.ids[index].long()


class Trainer:
    def __init__(self, args, device, pictures):
        self.args, self.device, self.pictures = args, device, pictures
        self.cuda = device.type == "cuda"
        self.out = pathlib.Path(args.out)
        torch.manual_seed(args.seed)
        self.tokenizer = Tokenizer(args.tokenizer)
        self.vae, encoder = self._load_vae(), self._load_vae()
        unet = make_unet(args.unet).to(device)
        if self.cuda:
            unet = unet.to(memory_format=torch.channels_last)
            encoder = encoder.to(torch.bfloat16).to(memory_format=torch.channels_last)
        self.encoder = encoder
        self.net = VPrediction(unet, TextEncoder(len(self.tokenizer.vocab)).to(device)).to(device)
        log(
            f"UNet {parameter_count(unet) / 1e6:.3f} M parameters, text encoder {parameter_count(self.net.te) / 1e6:.3f} M"
        )
        self.optimizer = Muon(self.net.named_parameters(), args.lr, fused=self.cuda)
        self.average = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.step, self.elapsed = 0, 0.0
        if (self.out / "checkpoint.pt").exists():
            self._load()
            log(f"goes on from step {self.step}, {self.elapsed:.0f} s")
        self.compiled = torch.compile(self.net, dynamic=False) if args.compile else self.net
        self.empty = torch.tensor(self.tokenizer(""), device=device)
        self.sizes = [int(size) for size in args.sizes.split(",")]
        capacity = {128: args.pool, 192: args.pool // 8, 256: args.pool // 16}
        self.pools = {size: LatentPool(size, capacity[size], device) for size in self.sizes}

    def _load_vae(self):
        vae = make_vae()
        vae.load_state_dict(torch.load(self.args.vae, map_location="cpu")["vae"])
        return vae.to(self.device).eval().requires_grad_(False)

    def prepare(self):
        """Makes the validation set, and enough pictures to begin with."""
        self.pictures.start()
        prims, gpar, ids = fixed_pictures(self.args.tokenizer, self.args.validation, 777)
        with torch.no_grad():
            latents = [
                encode(self.vae, draw(p.to(self.device), g.to(self.device), BASE) * 2 - 1)
                for p, g in zip(prims.split(64), gpar.split(64), strict=True)
            ]
        latents = torch.cat(latents)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5)).to(self.device)
        # Eight noise levels.
        times = (torch.arange(len(latents), device=self.device) % 8) * 125 + 62
        self.validation = latents, ids.to(self.device), times, noise
        log(f"standard deviation of the validation set's latents {latents.std().item():.3f}")
        base = self.pools[BASE]
        while base.n < min(self.args.prefill, base.capacity):
            base.feed(self.pictures, self.encoder)
        log(f"{base.n} pictures to begin with")

    def run(self):
        args, losses = self.args, []
        start, shown, seen, saved = None, time.time(), 0, time.time()
        first = self.step
        before = self.elapsed
        while self.elapsed < args.seconds:
            done = self.elapsed / args.seconds
            size = self._choose_size(done)
            loss, batch = self._train_step(size, self._rate(done))
            seen += batch
            if size == BASE:
                losses.append(loss)
            if start is None and self.step - first >= 3:  # compiling is not training
                start, shown, seen = time.time(), time.time(), 0
            if start is not None:
                self.elapsed = before + time.time() - start
            if self.step % args.every == 0:
                mean = torch.stack(losses).mean().item() if losses else math.nan
                rate = seen / max(1e-6, time.time() - shown)
                pools = [pool.n for pool in self.pools.values()]
                log(f"step {self.step}  {self.elapsed:.0f} s  loss {mean:.4f}  {rate:.0f} img/s  pools {pools}")
                if not math.isfinite(mean) and (self.out / "checkpoint.pt").exists():
                    log("the loss is not finite: back to the checkpoint, with half the rate")
                    step, elapsed = self.step, self.elapsed
                    self._load()
                    self.step, self.elapsed = step, elapsed
                    self.optimizer.lr *= 0.5
                losses, shown, seen = [], time.time(), 0
            if self.step % args.validate_every == 0:
                self._validate()
            if args.checkpoint_every and time.time() - saved > args.checkpoint_every:
                self._save()
                saved = time.time()
        figures = self._validate()
        self._save()
        (self.out / "diffusion.json").write_text(json.dumps(figures))

    @staticmethod
    def _rate(done):
        """Flat, then linear to nothing over the last 45 %."""
        return 1 if done < 0.55 else max(0.004, (1 - done) / 0.45)

    def _choose_size(self, done):
        chance = random.random()
        if done >= self.args.large_from:
            if 192 in self.sizes and chance < 0.12:
                return 192
            if 256 in self.sizes and 0.12 <= chance < 0.18:
                return 256
        return BASE

    def _train_step(self, size, rate):
        """Returns the loss, still on the device, and how many pictures went into it."""
        pool = self.pools[size]
        batch = max(1, int(self.args.batch * (BASE / size) ** 2) // 16 * 16)
        self.pools[BASE].feed(self.pictures, self.encoder)
        if size != BASE:
            pool.feed(self.pictures, self.encoder)
            while pool.n < min(batch * 4, pool.capacity):
                pool.feed(self.pictures, self.encoder)
        latents, ids = pool.sample(batch)
        dropped = torch.rand(batch, device=self.device) < self.args.drop
        ids = torch.where(dropped[:, None], self.empty[None], ids)
        # Stratified: a batch covers all noise levels evenly.
        spread = torch.randperm(batch, device=self.device) + torch.rand(batch, device=self.device)
        t = (spread * (STEPS / batch)).long().clamp(0, STEPS - 1)
        noise = torch.randn_like(latents)
        if self.cuda:
            latents = latents.contiguous(memory_format=torch.channels_last)
            noise = noise.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
            loss = self.compiled(latents, ids, t, noise).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.optimizer.params, 1.0)
        self.optimizer.step(min(1, (self.step + 1) / 200) * rate)
        self.optimizer.zero_grad()
        with torch.no_grad():
            keep = min(self.args.ema, (1 + self.step) / (10 + self.step))
            names, params = zip(*self.net.named_parameters(), strict=True)
            torch._foreach_lerp_([self.average[n] for n in names], [p.data for p in params], 1 - keep)
        self.step += 1
        return loss.detach(), batch

    def _with_average(self, function):
        """Runs a function with the averaged weights in place of the trained ones."""
        names, params = zip(*self.net.named_parameters(), strict=True)
        data = [p.data for p in params]
        backup = [p.clone() for p in data]
        torch._foreach_copy_(data, [self.average[n] for n in names])
        result = function()
        torch._foreach_copy_(data, backup)
        return result

    def _validate(self):
        """Mean loss with the captions and without: the difference is what the prompt is worth."""
        latents, ids, t, noise = self.validation
        none = self.empty[None].expand(len(ids), -1)

        def losses(ids):
            parts = (x.split(256) for x in (latents, ids, t, noise))
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
                return torch.cat([self.net(*part) for part in zip(*parts, strict=True)]).mean().item()

        with_prompt, without = self._with_average(lambda: (losses(ids), losses(none)))
        log(f"validation {with_prompt:.4f}, without prompt {without:.4f}")
        return dict(step=self.step, elapsed=self.elapsed, loss=with_prompt, loss_without_prompt=without)

    def _save(self):
        """Writes checkpoint.pt, which a later run goes on from, average.pt for `export`, and pictures to look at."""
        meta = dict(step=self.step, elapsed=self.elapsed, unet=self.args.unet)
        average = {k: v.half().cpu() for k, v in self.average.items()}
        state = dict(net=self.net.state_dict(), average=self.average, optimizer=self.optimizer.state_dict(), meta=meta)
        for name, content in {"average.pt": dict(weights=average, meta=meta), "checkpoint.pt": state}.items():
            torch.save(content, self.out / f"{name}.new")
            os.replace(self.out / f"{name}.new", self.out / name)
        for size in self.sizes:
            self._with_average(lambda size=size: self._show(size))
        log("checkpoint")

    @torch.no_grad()
    def _show(self, size):
        prompts = SHOWN if size == BASE else SHOWN[:8]
        ids = torch.tensor([self.tokenizer(prompt) for prompt in prompts], device=self.device)
        latents = ddim(self.net, ids, self.empty, size)
        images = torch.cat([decode(self.vae, z) for z in latents.split(8)])
        scenes.sheet((images + 1) / 2, 8, self.out / f"show{size}.png")

    def _load(self):
        state = torch.load(self.out / "checkpoint.pt", map_location=self.device)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        self.step, self.elapsed = state["meta"]["step"], state["meta"]["elapsed"]


def train(args):
    device = torch.device(args.device)
    with Pictures(device, args.workers, args.tokenizer, args.shard, seed=31 + args.seed) as pictures:
        trainer = Trainer(args, device, pictures)
        trainer.prepare()
        trainer.run()
