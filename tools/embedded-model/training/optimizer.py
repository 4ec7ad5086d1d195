"""Muon for hidden matrices and convolutions, AdamW for everything else (Keller Jordan, "Muon", 2024)."""

import torch

ADAM_ONLY = ("embedding", "conv_in", "conv_out", "time_emb")


def orthogonalize(gradients):
    """Newton-Schulz orthogonalisation of a stack of matrices."""
    x = gradients.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if tall else x


class Muon:
    def __init__(self, named_parameters, lr, weight_decay=0.01, fused=False):
        self.lr, self.weight_decay = lr, weight_decay
        named = list(named_parameters)
        self.params = [p for _, p in named]
        hidden = {n for n, p in named if p.ndim >= 2 and not any(part in n for part in ADAM_ONLY)}
        others = [p for n, p in named if n not in hidden]
        self.adam = torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=fused)
        # Matrices of one shape are stepped together.
        self.groups = {}
        for name, p in named:
            if name in hidden:
                self.groups.setdefault((p.shape[0], p[0].numel()), []).append(p)
        self.momenta = {k: torch.zeros(len(v), *k, device=v[0].device) for k, v in self.groups.items()}

    @torch.no_grad()
    def step(self, factor):
        """One step with `factor` of the learning rate."""
        for group in self.adam.param_groups:
            group["lr"] = self.lr * factor
        self.adam.step()
        lr = 20 * self.lr * factor
        for (rows, columns), params in self.groups.items():
            gradients = torch.stack([p.grad.reshape(rows, columns) for p in params])
            momentum = self.momenta[rows, columns]
            momentum.lerp_(gradients, 0.05)
            update = orthogonalize(gradients.lerp(momentum, 0.95)).float() * (lr * max(1, rows / columns) ** 0.5)
            torch._foreach_mul_([p.data for p in params], 1 - lr * self.weight_decay)
            updates = [x.view_as(p) for x, p in zip(update, params, strict=True)]
            torch._foreach_sub_([p.data for p in params], updates)

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def state_dict(self):
        return {"adam": self.adam.state_dict(), "momenta": self.momenta}

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        for shape, momentum in self.momenta.items():
            momentum.copy_(state["momenta"][shape])
