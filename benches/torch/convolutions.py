"""Convolutional workloads: a VQ autoencoder, and the two tokenizers of visual autoregression."""

import torch
import torch.nn as nn
import torch.nn.functional as F

import data
from workload import Training, adamw


def convolution(inputs, outputs, kernel=3, stride=1):
    """A convolution that keeps the size (divided by the stride); weights from N(0, 1 / fan in), biases zero."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=(inputs * kernel**2) ** -0.5)
    nn.init.zeros_(layer.bias)
    return layer


class Upsample(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="nearest")


class Residual(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, around a skip."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels), nn.SiLU(), convolution(channels, channels),
            nn.GroupNorm(8, channels), nn.SiLU(), convolution(channels, channels),
        )  # fmt: skip

    def forward(self, x):
        return x + self.body(x)


def convolution_flop(model, size):
    """FLOP of one forward pass of one image of `size` pixels squared through a stack of layers."""
    total = 0
    for layer in model:
        if isinstance(layer, Residual):
            total += convolution_flop(layer.body, size)
        elif isinstance(layer, Upsample):
            size *= 2
        elif isinstance(layer, nn.Conv2d):
            size //= layer.stride[0]
            total += 2 * layer.weight.numel() * size * size
    return total


class Autoencoder(nn.Module):
    """Encoder, quantizer, decoder; the loss is the reconstruction's plus the quantizer's."""

    def __init__(self, encoder, quantizer, decoder, reconstruction):
        super().__init__()
        self.encoder, self.quantizer, self.decoder = encoder, quantizer, decoder
        self.reconstruction = reconstruction

    def forward(self, images):
        quantized, loss = self.quantizer(self.encoder(images))
        return self.reconstruction(self.decoder(quantized), images) + loss


class AutoencoderTraining(Training):
    def __init__(self, model, images, rows, quantizer_flop, options, rate=1e-3):
        size = images.shape[-1]
        images = torch.from_numpy(images)
        if options.channels_last:
            model = model.to(memory_format=torch.channels_last)
            images = images.to(memory_format=torch.channels_last)
        self.batches = images.split(rows)
        super().__init__(model, adamw(model, rate, decay=1e-4), options)
        self.items, self.item = rows, "image"
        forward = convolution_flop(model.encoder, size) + convolution_flop(model.decoder, size // 4)
        self.flop = rows * (3 * forward + quantizer_flop)

    def loss(self, index):
        return self.model(self.batches[index])


# --- the plain VQ autoencoder ---


class Vq(nn.Module):
    """The nearest code, straight-through (van den Oord et al., 2017); codebook loss and 0.25 commitment."""

    def __init__(self, codes, width):
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(codes, width) * width**-0.5)

    def forward(self, z):
        flat = z.permute(0, 2, 3, 1)
        index = nearest(flat.detach().flatten(0, 2), self.codebook.detach())
        code = self.codebook[index].view_as(flat)
        loss = F.mse_loss(code, flat.detach()) + 0.25 * F.mse_loss(flat, code.detach())
        return (flat + (code - flat).detach()).permute(0, 3, 1, 2), loss


def nearest(z, codebook):
    """Index of the nearest code of each row: `argmin |e|^2 - 2 z.e`."""
    return torch.addmm(codebook.square().sum(1), z, codebook.t(), alpha=-2).argmin(1)


class VqAutoencoder(AutoencoderTraining):
    """28x28 images, batch 64, 7x7 codes of 32 numbers out of 256."""

    ROWS = 64

    def __init__(self, options):
        encoder = nn.Sequential(
            convolution(1, 32, stride=2), nn.SiLU(), convolution(32, 64, stride=2), Residual(64), convolution(64, 32, 1)
        )
        decoder = nn.Sequential(
            convolution(32, 64), Residual(64), Upsample(), convolution(64, 32), nn.SiLU(), Upsample(), convolution(32, 1)
        )
        model = Autoencoder(encoder, Vq(256, 32), decoder, F.mse_loss)
        images = data.rectangles(51, data.BATCHES * self.ROWS, 28)
        super().__init__(model, images, self.ROWS, 2 * 49 * 256 * 32, options)


# --- the tokenizers of visual autoregression ---


def encoder(latent):
    return nn.Sequential(
        convolution(1, 16), Residual(16), convolution(16, 32, stride=2), Residual(32),
        convolution(32, 64, stride=2), Residual(64), nn.GroupNorm(8, 64), nn.SiLU(), convolution(64, latent, 1),
    )  # fmt: skip


def decoder(latent):
    return nn.Sequential(
        convolution(latent, 64), Residual(64), Upsample(), convolution(64, 32), Residual(32),
        Upsample(), convolution(32, 16), Residual(16), nn.GroupNorm(8, 16), nn.SiLU(), convolution(16, 1),
    )  # fmt: skip


class EmaCodebook(nn.Module):
    """Codes that follow the mean of what is assigned to them, as moving averages (decay 0.99)."""

    def __init__(self, codes, width):
        super().__init__()
        codebook = torch.randn(codes, width) * width**-0.5
        self.register_buffer("codebook", codebook)
        self.register_buffer("count", torch.ones(codes))
        self.register_buffer("total", codebook.clone())

    @torch.no_grad()
    def follow(self, z, index):
        self.count.mul_(0.99).add_(torch.bincount(index, minlength=len(self.count)), alpha=0.01)
        self.total.mul_(0.99).index_add_(0, index, z, alpha=0.01)
        self.codebook.copy_(self.total / self.count.clamp(min=1e-3)[:, None])


class CosineVq(EmaCodebook):
    """Nearest by cosine: both sides on the unit sphere; codebook by EMA, renormalised."""

    def __init__(self, codes, width):
        super().__init__(codes, width)
        self.codebook.copy_(F.normalize(self.codebook, dim=1))
        self.total.copy_(self.codebook)

    def forward(self, z):
        flat = F.normalize(z.permute(0, 2, 3, 1), dim=-1)
        vectors = flat.detach().flatten(0, 2)
        index = (vectors @ self.codebook.t()).argmax(1)
        code = self.codebook[index].view_as(flat)
        self.follow(vectors, index)
        self.codebook.copy_(F.normalize(self.codebook, dim=1))
        loss = 0.25 * F.mse_loss(flat, code)
        return (flat + (code - flat).detach()).permute(0, 3, 1, 2), loss


class VqTokenizer(AutoencoderTraining):
    """32x32 images, batch 32, 8x8 codes of 8 numbers out of 512, L1 + commitment (no perceptual term)."""

    ROWS = 32

    def __init__(self, options):
        model = Autoencoder(encoder(8), CosineVq(512, 8), decoder(8), F.l1_loss)
        images = data.rectangles(61, data.BATCHES * self.ROWS, 32)
        super().__init__(model, images, self.ROWS, 2 * 64 * 512 * 8, options)


class MultiScaleVq(EmaCodebook):
    """Residual quantization over scales of 1, 2, 3, 5, 8 codes squared (Tian et al., 2024), one shared codebook."""

    SCALES = (1, 2, 3, 5, 8)
    SIDE = 8

    def __init__(self, codes, width):
        super().__init__(codes, width)
        self.phi = nn.ModuleList(convolution(width, width) for _ in range(2))

    def forward(self, f):
        target = f.detach()
        reached = torch.zeros_like(target)
        commitment = 0.0
        for k, scale in enumerate(self.SCALES):
            residual = target - reached.detach()
            z = F.adaptive_avg_pool2d(residual, scale).permute(0, 2, 3, 1)
            flat = z.flatten(0, 2)
            index = nearest(flat, self.codebook)
            h = self.codebook[index].view_as(z).permute(0, 3, 1, 2)
            self.follow(flat, index)
            if scale != self.SIDE:
                h = F.interpolate(h, size=(self.SIDE, self.SIDE), mode="bicubic")
            reached = reached + 0.5 * h + 0.5 * self.phi[k // 3](h)
            commitment = commitment + F.mse_loss(f, reached.detach())
        return reached + (f - target), 0.25 * commitment


class MultiScaleTokenizer(AutoencoderTraining):
    """32x32 images, batch 32, 103 codes of 16 numbers out of 256 over five scales, L1 + commitment."""

    ROWS = 32

    def __init__(self, options):
        model = Autoencoder(encoder(16), MultiScaleVq(256, 16), decoder(16), F.l1_loss)
        images = data.rectangles(71, data.BATCHES * self.ROWS, 32)
        look_up = 2 * 103 * 256 * 16
        phi = 3 * 5 * 2 * 64 * 9 * 16 * 16
        super().__init__(model, images, self.ROWS, look_up + phi, options)
