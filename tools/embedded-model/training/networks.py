"""The three networks and the noise schedule, as their exported configurations say."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from .tokenizer import MAX_LENGTH

# Latents are whitened so that Stable Diffusion's own factor is exact.
SCALING_FACTOR = 0.18215
STEPS = 1000

VAE = dict(
    in_channels=3,
    out_channels=3,
    down_block_types=["DownEncoderBlock2D"] * 3,
    up_block_types=["UpDecoderBlock2D"] * 3,
    block_out_channels=[32, 32, 48],
    layers_per_block=1,
    latent_channels=4,
    norm_num_groups=8,
    sample_size=128,
    act_fn="silu",
    scaling_factor=SCALING_FACTOR,
)
TEXT = dict(
    hidden_size=96,
    intermediate_size=256,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=MAX_LENGTH,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-5,
)
SCHEDULER = dict(
    num_train_timesteps=STEPS,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
    clip_sample=False,
    set_alpha_to_one=True,
    steps_offset=1,
)
# Channels of the UNet's levels; all but the first have attention. "tiny" is for trying the code out.
UNETS = {"small": (64, 64, 96), "tiny": (16, 16, 32)}


def unet_config(kind):
    return dict(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=list(UNETS[kind]),
        layers_per_block=1,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        cross_attention_dim=TEXT["hidden_size"],
        attention_head_dim=4,
        norm_num_groups=16,
        act_fn="silu",
        center_input_sample=False,
        flip_sin_to_cos=True,
        freq_shift=0,
    )


def make_unet(kind):
    return UNet2DConditionModel(**unet_config(kind))


def make_vae():
    return AutoencoderKL(**VAE)


def encode(vae, images):
    """Images [b, 3, h, w] in -1..1 -> latents [b, 4, h/4, w/4] of unit variance."""
    return vae.quant_conv(vae.encoder(images))[:, :4] * SCALING_FACTOR


def decode(vae, latents):
    return vae.decoder(vae.post_quant_conv(latents / SCALING_FACTOR))


def alphas_cumprod():
    """Of the schedule, with zero terminal SNR, in f64."""
    betas = torch.linspace(SCHEDULER["beta_start"] ** 0.5, SCHEDULER["beta_end"] ** 0.5, STEPS, dtype=torch.float64)
    return torch.cumprod(1 - rescale_zero_terminal_snr(betas**2), 0).clamp(0, 1)


def parameter_count(module):
    return sum(p.numel() for p in module.parameters())


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        b, length, width = x.shape
        q, k, v = (
            proj(x).view(b, length, self.heads, width // self.heads).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(y.transpose(1, 2).reshape(b, length, width))


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.self_attn, self.layer_norm1 = Attention(width, heads), nn.LayerNorm(width)
        self.mlp, self.layer_norm2 = Mlp(width, inner), nn.LayerNorm(width)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(vocab, width), nn.Embedding(MAX_LENGTH, width)
        for embedding in (self.token_embedding, self.position_embedding):
            nn.init.normal_(embedding.weight, std=0.05)

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding.weight


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        shape = TEXT["hidden_size"], TEXT["num_attention_heads"], TEXT["intermediate_size"]
        self.layers = nn.ModuleList([Layer(*shape) for _ in range(TEXT["num_hidden_layers"])])


class TextModel(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.embeddings = Embeddings(vocab, TEXT["hidden_size"])
        self.encoder = Encoder()
        self.final_layer_norm = nn.LayerNorm(TEXT["hidden_size"])


class TextEncoder(nn.Module):
    """transformers' CLIPTextModel, with the names that its checkpoints on the Hub have; only the last hidden state."""

    def __init__(self, vocab):
        super().__init__()
        self.text_model = TextModel(vocab)

    def forward(self, ids):
        x = self.text_model.embeddings(ids)
        for layer in self.text_model.encoder.layers:
            x = layer(x)
        return self.text_model.final_layer_norm(x)
