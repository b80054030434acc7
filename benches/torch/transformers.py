"""Transformer workloads: GPT (training and decoding), the raster and the next-scale model of visual autoregression."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import data
from workload import Training, Workload, adamw


def transformer_flop(matrix_parameters, layers, width, tokens_per_row, rows):
    """FLOP of one training step: two for a multiplication with its addition, the whole square of the attention
    counted also where a mask hides half of it, backward twice as much as forward."""
    forward_token = 2 * matrix_parameters + 4 * layers * tokens_per_row * width
    return 3 * forward_token * tokens_per_row * rows


def initialise(model, layers):
    """Embeddings and head from N(0, 0.02^2), every other matrix from N(0, 1 / inputs), those into the residual stream
    smaller by sqrt(2 layers), biases zero."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) or name == "head":
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Linear):
            into_stream = name.endswith((".out", ".down"))
            nn.init.normal_(module.weight, std=(module.in_features * (2 * layers if into_stream else 1)) ** -0.5)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


# --- GPT ---


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def split(self, x):
        rows, time, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(rows, time, 3, self.heads, width // self.heads).unbind(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def join(self, x, attended):
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    def forward(self, x):
        q, k, v = self.split(x)
        return self.join(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))

    def cached(self, x, cache, past):
        """One token for each row; `cache` is `[2, rows, heads, capacity, head width]`."""
        q, k, v = self.split(x)
        cache[0, :, :, past : past + 1] = k
        cache[1, :, :, past : past + 1] = v
        seen = cache[:, :, :, : past + 1]
        return self.join(x, F.scaled_dot_product_attention(q, seen[0], seen[1]))


class Gpt(nn.Module):
    VOCABULARY, WIDTH, LAYERS, HEADS, TIME = 65, 192, 6, 6, 128

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(self.VOCABULARY, self.WIDTH)
        self.position = nn.Embedding(self.TIME, self.WIDTH)
        self.blocks = nn.ModuleList(GptBlock(self.WIDTH, self.HEADS) for _ in range(self.LAYERS))
        self.norm = nn.LayerNorm(self.WIDTH)
        self.head = nn.Linear(self.WIDTH, self.VOCABULARY, bias=False)
        initialise(self, self.LAYERS)

    def forward(self, tokens):
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def cached(self, token, cache, past):
        x = self.token(token) + self.position.weight[past]
        for block, layer in zip(self.blocks, cache):
            x = block.cached(x, layer, past)
        return self.head(self.norm(x))

    @classmethod
    def matrix_parameters(cls):
        return 12 * cls.LAYERS * cls.WIDTH**2 + cls.WIDTH * cls.VOCABULARY


class GptTraining(Training):
    """A small GPT: d 192, 6 layers, 6 heads, 128 tokens, batch 16."""

    ROWS = 16

    def __init__(self, options, bf16=False):
        self.bf16 = bf16
        model = Gpt()
        tokens = data.walk(11, Gpt.VOCABULARY, data.BATCHES * self.ROWS, Gpt.TIME + 1)
        self.batches = torch.from_numpy(tokens).view(data.BATCHES, self.ROWS, -1)
        super().__init__(model, adamw(model, 1e-3), options)
        self.items, self.item = self.ROWS * Gpt.TIME, "token"
        self.flop = transformer_flop(Gpt.matrix_parameters(), Gpt.LAYERS, Gpt.WIDTH, Gpt.TIME, self.ROWS)

    def loss(self, index):
        batch = self.batches[index]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.model(batch[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())


class GptDecoding(Workload):
    """127 tokens one after the other, greedily, batch 1, with a KV cache."""

    TOKENS = 127

    def __init__(self, options):
        self.model = Gpt().eval()
        self.cache = torch.zeros(Gpt.LAYERS, 2, 1, Gpt.HEADS, Gpt.TIME, Gpt.WIDTH // Gpt.HEADS)
        self.items, self.item = self.TOKENS, "token"
        seen = self.TOKENS * (self.TOKENS + 1) // 2
        self.flop = 2 * Gpt.matrix_parameters() * self.TOKENS + 4 * Gpt.LAYERS * Gpt.WIDTH * seen
        self.parameters = sum(p.numel() for p in self.model.parameters())

    @torch.inference_mode()
    def step(self):
        token = torch.ones(1, 1, dtype=torch.long)
        for past in range(self.TOKENS):
            logits = self.model.cached(token, self.cache, past)
            token = logits[:, -1].argmax(-1, keepdim=True)
        return logits.square().mean().sqrt().item()


# --- raster: AR-L ---


class RasterBlock(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        rows, time, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(rows, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    """Rotary positions (Su et al., 2021) on pairs `(i, i + half)`."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Raster(nn.Module):
    """AR-L: next token over 8x8 codes; the class token first, 2-D rotary positions for the codes."""

    CODES, CLASSES, WIDTH, LAYERS, HEADS, SIDE = 512, 11, 160, 6, 5, 8
    HIDDEN = 432  # 8/3 of the width, rounded to a multiple of 16
    TIME = SIDE * SIDE  # the class and all codes but the last

    def __init__(self):
        super().__init__()
        self.code = nn.Embedding(self.CODES, self.WIDTH)
        self.label = nn.Embedding(self.CLASSES, self.WIDTH)
        self.blocks = nn.ModuleList(RasterBlock(self.WIDTH, self.HEADS, self.HIDDEN) for _ in range(self.LAYERS))
        self.norm = nn.RMSNorm(self.WIDTH, eps=1e-5)
        self.head = nn.Linear(self.WIDTH, self.CODES, bias=False)
        initialise(self, self.LAYERS)
        quarter = self.WIDTH // self.HEADS // 4
        frequency = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
        place = torch.arange(self.TIME - 1)
        row, column = place // self.SIDE, place % self.SIDE
        angle = torch.cat((row[:, None] * frequency, column[:, None] * frequency), dim=1)
        angle = torch.cat((torch.zeros(1, 2 * quarter, dtype=torch.float64), angle)).float()
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, label, codes):
        x = torch.cat((self.label(label)[:, None], self.code(codes)), dim=1)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


class RasterTraining(Training):
    """The raster transformer of visual autoregression: d 160, 6 layers, 5 heads, class + 63 of 64 codes, batch 32."""

    ROWS = 32

    def __init__(self, options):
        model = Raster()
        codes = data.walk(21, Raster.CODES, data.BATCHES * self.ROWS, Raster.TIME)
        self.codes = torch.from_numpy(codes).view(data.BATCHES, self.ROWS, -1)
        self.labels = torch.from_numpy(data.integers(23, 10, data.BATCHES, self.ROWS))
        super().__init__(model, adamw(model, 1.5e-3), options)
        self.items, self.item = self.ROWS * Raster.TIME, "token"
        width = Raster.WIDTH
        matrices = Raster.LAYERS * (4 * width**2 + 3 * width * Raster.HIDDEN) + width * Raster.CODES
        self.flop = transformer_flop(matrices, Raster.LAYERS, width, Raster.TIME, self.ROWS)

    def loss(self, index):
        logits = self.model(self.labels[index], self.codes[index][:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), self.codes[index].flatten())


# --- next-scale: VAR-L ---


class NextScaleBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.modulation = nn.Parameter(torch.zeros(6 * width))
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), math.log(4.0)))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, condition, mask):
        rows, time, width = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = (condition + self.modulation)[:, None].chunk(6, dim=-1)
        h = F.layer_norm(x, (width,), eps=1e-6) * (1 + scale1) + shift1
        q, k, v = self.qkv(h).view(rows, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q = F.normalize(q, dim=-1) * self.temperature.exp()
        attended = F.scaled_dot_product_attention(q, F.normalize(k, dim=-1), v, attn_mask=mask, scale=1.0)
        x = x + gate1 * self.out(attended.transpose(1, 2).flatten(2))
        h = F.layer_norm(x, (width,), eps=1e-6) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(h), approximate="tanh"))


class NextScale(nn.Module):
    """VAR-L: whole scales of 1, 2, 3, 5 and 8 codes squared, each predicted from the ones before."""

    SCALES = (1, 2, 3, 5, 8)
    CODES, CHANNELS, CLASSES, WIDTH, LAYERS, HEADS = 256, 16, 11, 128, 8, 4
    TIME = sum(s * s for s in SCALES)

    def __init__(self):
        super().__init__()
        self.label = nn.Embedding(self.CLASSES, self.WIDTH)
        self.project = nn.Linear(self.CHANNELS, self.WIDTH)
        self.position = nn.Embedding(self.TIME, self.WIDTH)
        self.level = nn.Embedding(len(self.SCALES), self.WIDTH)
        self.condition = nn.Linear(self.WIDTH, 6 * self.WIDTH, bias=False)
        self.blocks = nn.ModuleList(NextScaleBlock(self.WIDTH, self.HEADS) for _ in range(self.LAYERS))
        self.head = nn.Linear(self.WIDTH, self.CODES)
        initialise(self, self.LAYERS)
        with torch.no_grad():
            for block in self.blocks:  # gates start open, so that every branch works from the first step
                block.modulation.view(6, -1)[2] = 1.0
                block.modulation.view(6, -1)[5] = 1.0
        level = np.repeat(np.arange(len(self.SCALES)), [s * s for s in self.SCALES])
        self.register_buffer("levels", torch.from_numpy(level))
        self.register_buffer("mask", self.levels[:, None] >= self.levels[None, :])

    def forward(self, label, features):
        label = self.label(label)
        x = torch.cat((label[:, None], self.project(features)), dim=1)
        x = x + self.position.weight + self.level(self.levels)
        condition = self.condition(F.silu(label))
        for block in self.blocks:
            x = block(x, condition, self.mask)
        return self.head(F.layer_norm(x, (self.WIDTH,), eps=1e-6))


class NextScaleTraining(Training):
    """The next-scale transformer of visual autoregression: d 128, 8 layers, 4 heads, 103 tokens, batch 32."""

    ROWS = 32

    def __init__(self, options):
        model = NextScale()
        count = data.BATCHES * self.ROWS
        features = 2 * data.uniform(31, count, NextScale.TIME - 1, NextScale.CHANNELS) - 1
        self.features = torch.from_numpy(features).view(data.BATCHES, self.ROWS, NextScale.TIME - 1, -1)
        codes = data.walk(32, NextScale.CODES, count, NextScale.TIME)
        self.codes = torch.from_numpy(codes).view(data.BATCHES, self.ROWS, -1)
        self.labels = torch.from_numpy(data.integers(34, 10, data.BATCHES, self.ROWS))
        super().__init__(model, adamw(model, 1.5e-3), options)
        self.items, self.item = self.ROWS * NextScale.TIME, "token"
        width = NextScale.WIDTH
        matrices = 12 * NextScale.LAYERS * width**2 + width * (NextScale.CODES + NextScale.CHANNELS)
        self.flop = transformer_flop(matrices, NextScale.LAYERS, width, NextScale.TIME, self.ROWS)

    def loss(self, index):
        logits = self.model(self.labels[index], self.features[index])
        return F.cross_entropy(logits.flatten(0, 1), self.codes[index].flatten())
