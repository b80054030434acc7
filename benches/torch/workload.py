"""What every workload of the PyTorch worker shares."""

import torch

import data


class Workload:
    """`flop` and `items` of one step, `parameters` of the model, and `step()`, which gives the loss."""

    flop = 0
    parameters = 0
    items, item = 1, "step"

    def step(self):
        raise NotImplementedError


class Training(Workload):
    """Zero gradients, forward, loss, backward, optimiser."""

    def __init__(self, model, optimiser, options):
        self.model, self.optimiser = model, optimiser
        self.parameters = sum(p.numel() for p in model.parameters())
        self.taken = 0
        if options.compile:
            self.loss = torch.compile(self.loss)

    def loss(self, index):
        raise NotImplementedError

    def step(self):
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(self.taken % data.BATCHES)
        loss.backward()
        self.optimiser.step()
        self.taken += 1
        return loss.item()


def adamw(model, rate, decay=0.05):
    """AdamW in one fused kernel; only matrices (and kernels) decay."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)
