"""The PyTorch side of `cargo xtask bench nn`: workloads behind a line protocol on standard input and output.

    list            -> ["gpt", ...]
    about           -> versions, build and threads of the framework
    setup NAME      -> {"flop_per_step": ..., "parameters": ..., "items_per_step": ..., "item": "token"}
    step N          -> {"seconds": [N of them], "loss": the last one}
    memory          -> peak resident bytes of this process
    quit

One worker serves one workload, so that its peak of memory is that workload's. Eager mode, as one writes it for a CPU:
fused attention, fused AdamW, `set_to_none`, channels-last convolutions (`--contiguous` for the other layout).
`--compile` wraps the losses in `torch.compile`, which needs a C++ compiler and Python's headers at run time and tens of
seconds before the first step; it is measured as a row of its own.
"""

import argparse
import functools
import json
import sys
import time

import torch

import control
import convolutions
import transformers
from workload import Workload


class Sgemm(Workload):
    """One product of 2048x2048 matrices."""

    SIDE = 2048

    def __init__(self, options):
        self.a, self.b = torch.rand(self.SIDE, self.SIDE), torch.rand(self.SIDE, self.SIDE)
        self.out = torch.empty(self.SIDE, self.SIDE)
        self.flop = 2 * self.SIDE**3

    @torch.inference_mode()
    def step(self):
        torch.mm(self.a, self.b, out=self.out)
        return self.out[0, 0].item()


WORKLOADS = {
    "sgemm": Sgemm,
    "gpt": transformers.GptTraining,
    "gpt-bf16": functools.partial(transformers.GptTraining, bf16=True),
    "decode": transformers.GptDecoding,
    "raster": transformers.RasterTraining,
    "next-scale": transformers.NextScaleTraining,
    "vqae": convolutions.VqAutoencoder,
    "vq-tokenizer": convolutions.VqTokenizer,
    "msvq-tokenizer": convolutions.MultiScaleTokenizer,
    "td3": control.Td3,
}


def about(options):
    return {
        "framework": f"PyTorch {torch.__version__}",
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
        "compile": options.compile,
        "channels_last": options.channels_last,
        "build": torch.__config__.show(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def peak_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def steps(workload, count):
    seconds, loss = [], None
    for _ in range(count):
        begun = time.perf_counter()
        loss = workload.step()
        seconds.append(time.perf_counter() - begun)
    return {"seconds": seconds, "loss": loss}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--contiguous", dest="channels_last", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    workload = None
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "quit":
            break
        if command == "list":
            reply = list(WORKLOADS)
        elif command == "about":
            reply = about(options)
        elif command == "memory":
            reply = peak_bytes()
        elif command == "setup" and argument in WORKLOADS:
            workload = WORKLOADS[argument](options)
            reply = {
                "flop_per_step": workload.flop,
                "parameters": workload.parameters,
                "items_per_step": workload.items,
                "item": workload.item,
            }
        elif command == "step" and workload is not None and argument.isdigit():
            reply = steps(workload, int(argument))
        else:
            reply = {"error": f"`{line.strip()}` is no command here; see the top of worker.py"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
