"""bench_sae.py: training an SAE, `saeuron train` and the released trainer's step side by side, in one run, float32.

    python tests/bench_sae.py [--saeuron ./saeuron] [--threads 2] [--runs 3] [--kinds batch_topk,topk] [--dir build/bench-sae]

At the paper's size, 1280 x 20,480, k = 32, 4,096 tokens a step, on the same made-up activations; BatchTopK, then TopK. In
turn (ours, peer, ours, peer, ...). Ours is the difference of two whole runs of the program, of one and of three epochs of two steps, so
that start and end drop out; the peer's are its steps without the first.

    NAME ours A peer B ratio R (LOW to HIGH); processor: ours A peer B ratio R (LOW to HIGH)

tokens/s, medians, and R = A / B of each pair; the second half by the seconds of the processors in place of the clock's (tokens for each
second of one core), which neighbours on a busy machine change less. And the largest memory that a run of ours took beside what is promised: parameters, gradients and Adam's two moments, and
1.2 GB. --assert makes the bars of this project (6 times, 4 times, that memory) a verdict. Nothing is downloaded.

The peer is what the released SaeTrainer does a step on a CPU, in plain PyTorch: dense encoder, torch.topk, decoder by
scatter and a dense product (what sparsify falls back to without triton, which needs a GPU), autograd, clipping, Adam (fused),
counters and the measures that it computes in every step. tests/golden/make.py proves the same step against its own classes."""
import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import time

import numpy as np
import torch

D, N, K, M, MAP = 1280, 20480, 32, 4096, 256
BATCHES, EPOCHS = 2, 2  # steps of an epoch; epochs that are timed
BARS = {"batch_topk": 6.0, "topk": 4.0}
MEMORY = 4 * 4 * (2 * N * D + N + D) + 1.2e9


def activations(steps):
    """[steps * M,D] float16: a mean, some of 512 directions, noise."""
    draw = np.random.Generator(np.random.Philox(1))
    atoms, mean, out = draw.standard_normal((512, D), np.float32), draw.standard_normal(D, np.float32), []
    for _ in range(steps):
        weight = np.where(draw.random((M, 512), np.float32) < 0.02, draw.random((M, 512), np.float32), np.float32(0))
        out.append((mean + weight @ atoms + np.float32(0.2) * draw.standard_normal((M, D), np.float32)).astype(np.float16))
    return np.concatenate(out)


def save(path, x):
    """The file that `saeuron collect` would have written of maps of 256 tokens."""
    maps = x.reshape(-1, MAP, D)
    metadata = {"format": "saeuron-activations-1", "hook": "up_blocks.1.attentions.1", "model": "0000000000000000", "seed": "0", "cfg": "9", "steps": "50",
                "timesteps": "981", "size": "512x512", "negative_prompt": "", "every": "50", "diff": "0", "first_prompt": "0", "prompts": str(len(maps)),
                "all_prompts": str(len(maps)), "prompts_digest": "0000000000000000", "shard": "0/1"}
    header = {"__metadata__": metadata, "activations": {"dtype": "F16", "shape": list(maps.shape), "data_offsets": [0, maps.nbytes]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + maps.tobytes())


class Peer:
    """The released step. x [M,D]."""

    def __init__(self, batch_topk, steps):
        torch.manual_seed(1)
        self.batch_topk, self.steps, self.done = batch_topk, steps, 0
        self.encoder = torch.nn.Linear(D, N)
        torch.nn.init.zeros_(self.encoder.bias)
        self.W_dec = torch.nn.Parameter(self.encoder.weight.detach().clone())
        self.b_dec = torch.nn.Parameter(torch.zeros(D))
        self.parameters = [*self.encoder.parameters(), self.W_dec, self.b_dec]
        self.adam = torch.optim.Adam(self.parameters, lr=4e-4, eps=6.25e-10, fused=True)
        self.rate = torch.optim.lr_scheduler.LambdaLR(self.adam, lambda s: max(0.0, (steps - s) / steps))
        self.since = torch.zeros(N, dtype=torch.long)
        self.fired = torch.zeros(N, dtype=torch.bool)

    def forward(self, x):
        z = torch.relu(self.encoder(x - self.b_dec))
        if self.batch_topk:
            flat = z.flatten()
            top, indices = flat.topk(K * len(x), sorted=False)
            f = torch.zeros_like(flat).scatter(-1, indices, top).reshape(z.shape)
            indices = indices % N
        else:
            top, indices = z.topk(K, sorted=False)
            f = top.new_zeros(z.shape).scatter_(-1, indices, top)
        y = f @ self.W_dec + self.b_dec
        e = y - x
        variance = (x - x.mean(0)).pow(2).sum()
        l0 = (z > 0).float().sum(-1).mean()
        explained = 1 - (y - x).pow(2).sum(-1) / (x - x.mean(0)).pow(2).sum(-1)
        return e.pow(2).sum() / variance, indices, (l0, explained.mean().item(), explained.std().item())

    def step(self, x):
        with torch.no_grad():
            self.W_dec /= self.W_dec.norm(dim=1, keepdim=True) + torch.finfo(torch.float32).eps
        assert not (self.since > 10_000_000).any()
        fvu, indices, _ = self.forward(x)
        fvu.backward()
        self.fired[indices.flatten()] = True
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        with torch.no_grad():
            grad = self.W_dec.grad
            parallel = torch.einsum("nd,nd->n", grad, self.W_dec)
            grad -= torch.einsum("n,nd->nd", parallel, self.W_dec)
        self.adam.step()
        self.adam.zero_grad()
        self.rate.step()
        self.since += M
        self.since[self.fired] = 0
        self.fired.zero_()


def peer(x, kind):
    """Tokens a second of a few steps, by the clock and of one core."""
    p, seconds, work = Peer(kind == "batch_topk", 1 + BATCHES), [], []
    for s in (0, *range(BATCHES)):
        batch = torch.from_numpy(x[s * M:(s + 1) * M].astype(np.float32))
        start, before = time.perf_counter(), time.process_time()
        p.step(batch)
        seconds.append(time.perf_counter() - start)
        work.append(time.process_time() - before)
    return M * BATCHES / sum(seconds[1:]), M * BATCHES / sum(work[1:])


# A process of its own between this one and the command: what a fork had resident counts for what it then executes.
WATCH = """import json, resource, subprocess, sys, time
start = time.perf_counter()
p = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([p.returncode, p.stdout, time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))"""


def run(command):
    """Seconds, the processor's seconds and the largest resident set of a command."""
    code, said, *used = json.loads(subprocess.run([sys.executable, "-S", "-c", WATCH, *command], check=True, capture_output=True, text=True).stdout)
    if code:
        raise SystemExit(f"{' '.join(command)}: {said.strip()}")
    return used


def train(a, kind, data, epochs):
    """One `saeuron train`, as run() has it."""
    out = os.path.join(a.dir, "sae")
    shutil.rmtree(out, ignore_errors=True)
    return run([a.saeuron, "train", "-q", "--data", data, "-o", out, "--threads", str(a.threads), "--epochs", str(epochs), "--topk",
                "batch" if kind == "batch_topk" else "token"])


def ours(a, kind, data):
    """Tokens a second by the clock, of one core, and bytes: some epochs less one, so that start and end drop out."""
    once, more = train(a, kind, data, 1), train(a, kind, data, 1 + EPOCHS)
    tokens = EPOCHS * BATCHES * M
    return tokens / (more[0] - once[0]), tokens / (more[1] - once[1]), max(once[2], more[2])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--saeuron", default="./saeuron")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--kinds", default="batch_topk,topk")
    p.add_argument("--dir", default="build/bench-sae")
    p.add_argument("--assert", dest="strict", action="store_true")
    a = p.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    torch.set_num_threads(a.threads)
    os.makedirs(a.dir, exist_ok=True)
    x, data, missed = activations(BATCHES), os.path.join(a.dir, "activations.safetensors"), 0
    save(data, x)
    for kind in a.kinds.split(","):
        mine, theirs = [], []
        for i in range(a.runs):
            mine.append(ours(a, kind, data))
            theirs.append(peer(x, kind))
            print(f"{kind}: run {i + 1} of {a.runs}: ours {mine[-1][0]:.0f}, {mine[-1][1]:.0f} a core's second; peer {theirs[-1][0]:.0f}, {theirs[-1][1]:.0f}", file=sys.stderr, flush=True)
        memory, text = max(m[2] for m in mine), []
        for way in (0, 1):
            ratios = sorted(m[way] / t[way] for m, t in zip(mine, theirs))
            text.append(f"ours {statistics.median(m[way] for m in mine):.0f} peer {statistics.median(t[way] for t in theirs):.0f} ratio {statistics.median(ratios):.2f} "
                        f"({ratios[0]:.2f} to {ratios[-1]:.2f})")
            missed += way == 0 and statistics.median(ratios) < BARS[kind]
        missed += memory > MEMORY
        print(f"{kind} {text[0]}; processor: {text[1]}; bar {BARS[kind]:.0f}; memory {memory / 1e9:.2f} GB, bar {MEMORY / 1e9:.2f}", flush=True)
    shutil.rmtree(a.dir)
    return 1 if missed and a.strict else 0


if __name__ == "__main__":
    sys.exit(main())
