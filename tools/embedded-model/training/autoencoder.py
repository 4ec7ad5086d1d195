"""The KL-VAE: a factor of 4 between pixels and latents, 4 latent channels."""

import json
import math
import pathlib
import random
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import scenes

from . import log
from .data import Pictures, draw, fixed_pictures
from .networks import SCALING_FACTOR, decode, encode, make_vae, parameter_count
from .optimizer import Muon


class Reconstruction(nn.Module):
    """Encoder -> latents, normalised over the batch for each channel, + noise -> decoder -> losses.

    A linear read-out of RGB keeps the latents picture-like (cheap previews, easier diffusion); decoding latents of
    half the size to the picture of half the size keeps them scale-equivariant (EQ-VAE, arXiv 2502.09509).
    """

    def __init__(self, vae):
        super().__init__()
        self.vae = vae
        self.read_out = nn.Conv2d(4, 3, 1)

    def mean(self, images):
        return self.vae.quant_conv(self.vae.encoder(images))[:, :4]

    def decode(self, latents):
        return self.vae.decoder(self.vae.post_quant_conv(latents))

    @staticmethod
    def difference(y, x):
        """L1 of pixels, of gradients and of two coarser scales, and a little L2."""
        d = y - x
        edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
        half = F.avg_pool2d(d, 2)
        coarse = half.abs().mean() + F.avg_pool2d(half, 2).abs().mean()
        return d.abs().mean() + 0.5 * edges + 0.5 * coarse + 2 * (d * d).mean()

    def forward(self, images, noise, level):
        mean = self.mean(images).float()
        var = mean.var((0, 2, 3), keepdim=True)
        latents = (mean - mean.mean((0, 2, 3), keepdim=True)) * torch.rsqrt(var + 1e-5)
        loss = self.difference(self.decode(latents + noise * level).float(), images)
        rgb = F.l1_loss(self.read_out(latents).float(), F.avg_pool2d(images, 4))
        n = images.shape[0] // 4
        half = self.decode(F.avg_pool2d(latents[:n], 2)).float()
        equivariance = (half - F.avg_pool2d(images[:n], 2)).abs().mean()
        # The raw scale is a free choice; the last term keeps it bounded.
        total = loss + 0.15 * rgb + 0.15 * equivariance + 1e-3 * (var.log() ** 2).mean()
        return total, loss.detach(), rgb.detach(), equivariance.detach()


def train(args):
    """Writes vae.pt (weights and latent -> RGB factors), vae.json (figures) and vae.png (reconstructions)."""
    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    with Pictures(device, args.workers, args.tokenizer, args.shard, seed=11 + args.seed) as pictures:
        net, validation, source, steps = _train(args, device, pictures)
        _finish(args, net, validation, source, steps)


def _train(args, device, pictures):
    cuda = device.type == "cuda"
    vae = make_vae().to(device)
    if cuda:
        vae = vae.to(memory_format=torch.channels_last)
    net = Reconstruction(vae).to(device)
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    log(f"VAE {parameter_count(vae) / 1e6:.3f} M parameters, decoder {parameter_count(vae.decoder) / 1e6:.3f} M")
    optimizer = Muon(net.named_parameters(), args.lr, weight_decay=0.0, fused=cuda)
    compiled = torch.compile(net, dynamic=False) if args.compile else net
    pictures.start()
    prims, gpar, _ = fixed_pictures(args.tokenizer, args.validation, 4242)
    validation = torch.cat(
        [draw(p.to(device), g.to(device), 128) for p, g in zip(prims.split(64), gpar.split(64), strict=True)]
    )
    source = Crops(pictures, args.batch, cuda)

    start, step, images = None, 0, 0
    while start is None or time.time() - start < args.seconds:
        for x in source.batches():
            done = 0 if start is None else min(1.0, (time.time() - start) / args.seconds)
            # A short warm-up, flat for a third, then linear to nothing.
            factor = min(1, (step + 1) / 150) * (1 if done < 0.3 else max(0.002, (1 - done) / 0.7))
            noise = torch.randn(x.shape[0], 4, x.shape[2] // 4, x.shape[3] // 4, device=device)
            level = torch.rand(x.shape[0], 1, 1, 1, device=device) * 0.16
            with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
                losses = compiled(x, noise, level)
            losses[0].backward()
            nn.utils.clip_grad_norm_(optimizer.params, 1.0)
            optimizer.step(factor)
            optimizer.zero_grad()
            with torch.no_grad():
                weights, keep = net.state_dict(), min(0.998, (1 + step) / (10 + step))
                torch._foreach_lerp_(list(average.values()), [weights[k] for k in average], 1 - keep)
            step += 1
            images += x.shape[0]
            if start is None and step >= 2:  # compiling is not training
                start, images = time.time(), 0
            if step % args.every == 0:
                _, loss, rgb, equivariance = (loss.item() for loss in losses)
                rate = images / max(1e-6, time.time() - (start or 0))
                log(f"step {step}  loss {loss:.4f}  rgb {rgb:.4f}  eq {equivariance:.4f}  {rate:.0f} img/s")
    net.load_state_dict(average)
    return net.eval(), validation * 2 - 1, source, step


class Crops:
    """Pictures of 128 pixels, a quarter of the chunks cut out of ones of 256; images in -1..1."""

    def __init__(self, pictures, batch, channels_last):
        self.pictures, self.batch, self.channels_last = pictures, batch, channels_last
        self.pool = []

    def draw(self, large=False):
        prims, gpar, _, _ = self.pictures.next()
        if large:
            n = prims.shape[0] // 4
            x = draw(prims[:n], gpar[:n], 256)
            i, j = random.randrange(0, 129, 4), random.randrange(0, 129, 4)
            x = x[:, :, i : i + 128, j : j + 128]
        else:
            x = draw(prims, gpar, 128)
        x = x * 2 - 1
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def batches(self):
        """Two batches out of a small pool, so that each mixes short and long lists of primitives."""
        while sum(len(x) for x in self.pool) < 4 * self.batch:
            self.pool.append(self.draw(random.random() < 0.25))
        pool = torch.cat(self.pool)
        pool = pool[torch.randperm(len(pool), device=pool.device)]
        self.pool = [pool[2 * self.batch :]]
        for x in pool[: 2 * self.batch].split(self.batch):
            yield x.contiguous(memory_format=torch.channels_last) if self.channels_last else x


@torch.no_grad()
def _finish(args, net, validation, source, steps):
    out, vae = pathlib.Path(args.out), net.vae
    means = torch.cat(
        [net.mean(x).float() for _ in range(max(1, args.statistics // 1024)) for x in source.draw().split(256)]
    )
    whiten(vae, means.mean((0, 2, 3)), means.std((0, 2, 3)))
    latents = torch.cat([encode(vae, x) for x in validation.split(64)])
    decoded = torch.cat([decode(vae, z) for z in latents.split(64)])
    noisy = torch.cat([decode(vae, z + 0.1 * torch.randn_like(z)) for z in latents.split(64)])
    factors, error = fit_rgb(latents, validation)
    figures = dict(
        psnr=psnr(decoded, validation),
        psnr_noise=psnr(noisy, validation),
        rgb_rmse=error,
        steps=steps,
        parameters=parameter_count(vae),
    )
    log("VAE done:", figures)
    n = min(24, len(validation))
    scenes.sheet((torch.cat([validation[:n], decoded[:n]]) + 1) / 2, 12, out / "vae.png")
    weights = {k: v.detach().cpu().contiguous() for k, v in vae.state_dict().items()}
    torch.save({"vae": weights, "rgb": factors.cpu()}, out / "vae.pt")
    (out / "vae.json").write_text(json.dumps(figures))


def whiten(vae, mean, std):
    """Folds into the 1x1 convolutions what makes SCALING_FACTOR * posterior mean of zero mean and unit variance."""
    raw = 1 / SCALING_FACTOR
    weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
    weight[:4] *= (raw / std)[:, None, None, None]
    bias[:4] = (bias[:4] - mean) * raw / std
    # A narrow posterior, the same everywhere.
    weight[4:] = 0
    bias[4:] = 2 * math.log(0.03 * raw)
    vae.post_quant_conv.weight.div_(raw)


def psnr(y, x):
    """In dB, for images in -1..1."""
    return (10 * torch.log10(4 / ((y.clamp(-1, 1) - x) ** 2).mean((1, 2, 3)))).mean().item()


def fit_rgb(latents, images):
    """Least squares: [5, 3] factors of (latent, 1) for the RGB of the 4x4 pixels under it, and the error that stays."""
    rows = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    a = torch.cat([rows, torch.ones_like(rows[:, :1])], 1).double()
    b = F.avg_pool2d(images, 4).permute(0, 2, 3, 1).reshape(-1, 3).double()
    factors = torch.linalg.solve(a.T @ a, a.T @ b)
    return factors.float(), (a @ factors - b).pow(2).mean().sqrt().item()
