"""A small classifier of drawn pictures, to score what a model generates."""

import pathlib
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import scenes

from . import log
from .data import Pictures, draw

COUNTS = 7  # 0 to 6
# Logits of the five questions: what is there (several answers), and place, time, style, count (one each).
LOGITS = [scenes.L_PLACE, len(scenes.PLACE_NAMES) + 1, len(scenes.TIME_NAMES) + 1, len(scenes.STYLES), COUNTS]
LABELS = [scenes.L_PLACE, scenes.L_TIME, scenes.L_STYLE, scenes.L_COUNT]


class Probe(nn.Module):
    """Images [b, 3, 128, 128] in 0..1 -> logits."""

    def __init__(self):
        super().__init__()
        widths = (32, 64, 128, 192, 192)
        layers = [nn.Conv2d(3, widths[0], 3, 1, 1), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for width, wider in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(width, wider, 3, 2, 1), nn.BatchNorm2d(wider), nn.ReLU()]
            layers += [nn.Conv2d(wider, wider, 3, 1, 1), nn.BatchNorm2d(wider), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(widths[-1] * 2, 256), nn.ReLU(), nn.Linear(256, sum(LOGITS)))

    def forward(self, images):
        y = self.features(F.avg_pool2d(images, 2) * 2 - 1)
        return self.head(torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1))


def loss_of(logits, labels):
    things, *choices = torch.split(logits, LOGITS, 1)
    there = labels[:, : scenes.L_PLACE].float()
    loss = F.binary_cross_entropy_with_logits(things, there, reduction="none").sum(1).mean()
    for choice, index in zip(choices, LABELS, strict=True):
        loss = loss + F.cross_entropy(choice, labels[:, index].long())
    return loss


def train(args):
    """Writes probe.pt."""
    device = torch.device(args.device)
    with Pictures(device, args.workers, args.tokenizer, args.shard, seed=91 + args.seed, labels=True) as pictures:
        torch.manual_seed(args.seed)
        cuda = device.type == "cuda"
        net = Probe().to(device)
        if cuda:
            net = net.to(memory_format=torch.channels_last)
        compiled = torch.compile(net, dynamic=False) if args.compile else net
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2, fused=cuda)
        pictures.start()
        start, step, loss = time.time(), 0, None
        while time.time() - start < args.seconds:
            chunks = [pictures.next() for _ in range(4)]
            images = torch.cat([draw(prims, gpar, 128) for prims, gpar, _, _ in chunks])
            labels = torch.cat([labels for *_, labels in chunks])
            for index in torch.randperm(len(images), device=device).split(args.batch):
                if len(index) < args.batch:
                    continue
                left = max(0.01, 1 - (time.time() - start) / args.seconds)
                for group in optimizer.param_groups:
                    group["lr"] = 2e-3 * min(1, (step + 1) / 100) * left
                x = images[index]
                x = x + torch.randn_like(x) * (torch.rand(len(x), 1, 1, 1, device=device) * 0.06)
                with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
                    logits = compiled(x)
                loss = loss_of(logits.float(), labels[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                step += 1
                if step % args.every == 0:
                    log(f"step {step}  loss {loss.item():.4f}")
        log(f"probe done after {step} steps, loss {'-' if loss is None else format(loss.item(), '.4f')}")
        state = {k: v.cpu().half() if v.is_floating_point() else v.cpu() for k, v in net.state_dict().items()}
        torch.save(state, pathlib.Path(args.out) / "probe.pt")
