"""The reinforcement-learning workload: one TD3 update (Fujimoto, van Hoof & Meger, 2018)."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

import data
from workload import Workload

OBSERVATION, ACTION, HIDDEN, ROWS = 17, 6, 256, 256


def mlp(inputs, outputs):
    """Weights from N(0, 1 / inputs), biases zero."""
    layers = [nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, outputs)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


class Td3(Workload):
    """Twin critics every step, actor and soft target updates every second step; batch 256, hidden 256 x 2."""

    def __init__(self, options):
        count = data.BATCHES * ROWS
        shape = (data.BATCHES, ROWS, -1)

        def batches(values):
            return torch.from_numpy(values).view(shape)

        self.observation = batches(2 * data.uniform(41, count, OBSERVATION) - 1)
        self.action = batches(2 * data.uniform(42, count, ACTION) - 1)
        self.following = batches(2 * data.uniform(43, count, OBSERVATION) - 1)
        self.reward = batches(data.uniform(44, count, 1))
        self.going_on = batches((data.uniform(45, count, 1) >= 0.02).astype("float32"))
        self.actor = mlp(OBSERVATION, ACTION)
        self.critics = nn.ModuleList(mlp(OBSERVATION + ACTION, 1) for _ in range(2))
        self.target_actor, self.target_critics = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        for p in [*self.target_actor.parameters(), *self.target_critics.parameters()]:
            p.requires_grad_(False)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr=3e-4, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.critics.parameters(), lr=3e-4, fused=True)
        self.pairs = [
            list(net.parameters())
            for net in (self.target_actor, self.target_critics, self.actor, self.critics)
        ]
        self.parameters = sum(p.numel() for p in [*self.actor.parameters(), *self.critics.parameters()])
        self.items, self.item = ROWS, "transition"
        self.taken = 0
        if options.compile:
            self.critic_loss = torch.compile(self.critic_loss)
            self.actor_loss = torch.compile(self.actor_loss)
        self.flop = flop()

    def critic_loss(self, index):
        with torch.no_grad():
            noise = (0.2 * torch.randn_like(self.action[index])).clamp(-0.5, 0.5)
            following = self.following[index]
            action = (torch.tanh(self.target_actor(following)) + noise).clamp(-1, 1)
            both = torch.cat((following, action), dim=1)
            value = torch.minimum(self.target_critics[0](both), self.target_critics[1](both))
            target = self.reward[index] + 0.99 * self.going_on[index] * value
        both = torch.cat((self.observation[index], self.action[index]), dim=1)
        return F.mse_loss(self.critics[0](both), target) + F.mse_loss(self.critics[1](both), target)

    def actor_loss(self, index):
        observation = self.observation[index]
        both = torch.cat((observation, torch.tanh(self.actor(observation))), dim=1)
        return -self.critics[0](both).mean()

    def step(self):
        index = self.taken % data.BATCHES
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss = self.critic_loss(index)
        loss.backward()
        self.critic_optimiser.step()
        self.taken += 1
        if self.taken % 2 == 0:
            self.critics.requires_grad_(False)
            self.actor_optimiser.zero_grad(set_to_none=True)
            self.actor_loss(index).backward()
            self.actor_optimiser.step()
            self.critics.requires_grad_(True)
            self.follow()
        return loss.item()

    @torch.no_grad()
    def follow(self):
        target_actor, target_critics, actor, critics = self.pairs
        torch._foreach_lerp_(target_actor + target_critics, actor + critics, 0.005)


def flop():
    """The mean of two steps, counted as for the transformers: backward twice forward, where gradients are taken."""
    actor = 2 * (OBSERVATION * HIDDEN + HIDDEN * HIDDEN + HIDDEN * ACTION)
    critic = 2 * ((OBSERVATION + ACTION) * HIDDEN + HIDDEN * HIDDEN + HIDDEN)
    critics_step = actor + 2 * critic + 3 * 2 * critic  # targets, then both critics with their gradients
    actor_step = 3 * actor + 2 * critic  # through one critic: forward, and the gradient of its inputs only
    return ROWS * (2 * critics_step + actor_step) // 2
