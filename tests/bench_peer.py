"""bench_peer.py: saeuron and diffusers side by side, in one run, float32, the same number of threads.

    python tests/bench_peer.py [--saeuron ./saeuron] [--model weights/emojicanvas] [--threads 2] [--runs 5]

Runs `saeuron bench` and the same parts of diffusers in turn (ours, peer, ours, peer, ...) and prints the medians,
one line a row: NAME ours A peer B ratio R (LOW to HIGH), in seconds; R = B / A, so above 1 means saeuron is faster. Whole images
are left out where `saeuron bench` leaves them out. At Stable Diffusion's size: `make fullsize` writes a --model.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings


def ours(program, model, threads, parts):
    """Rows of `saeuron bench`: all, or those of parts."""
    rows = {}
    for only in [["--only", part] for part in parts] or [[]]:
        command = [program, "bench", "-m", model, "--threads", str(threads), "--runs", "1", "--json", *only]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.update((row["name"], row["value"]) for row in map(json.loads, out.splitlines()))
    return rows


class Peer:
    """The parts of StableDiffusionPipeline that bench.c times, on the same inputs' shapes."""

    def __init__(self, model, threads):
        import torch
        from diffusers import DDIMScheduler, StableDiffusionPipeline
        warnings.simplefilter("ignore")
        self.torch = torch
        torch.set_num_threads(threads)
        self.pipe = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
        self.pipe.scheduler = DDIMScheduler.from_config(self.pipe.scheduler.config)
        self.pipe.set_progress_bar_config(disable=True)
        defaults = {"steps": 50, "guidance": 7.5}
        if os.path.exists(model + "/concepts.json"):
            with open(model + "/concepts.json") as f:
                defaults = json.load(f)
        self.steps, self.guidance = defaults["steps"], defaults["guidance"]
        c = self.pipe.unet.config
        n = self.pipe.tokenizer.model_max_length
        self.latent = torch.randn(2, c.in_channels, c.sample_size, c.sample_size)
        self.text = torch.randn(2, n, c.cross_attention_dim)
        self.ids = torch.arange(n)[None] % self.pipe.text_encoder.config.vocab_size

    def parts(self):
        pipe = self.pipe
        return {
            "text_encoder": lambda: pipe.text_encoder(self.ids),
            "unet_step": lambda: pipe.unet(self.latent, 501, self.text),
            "unet_backward": self.there_and_back,
            "vae_decode": lambda: pipe.vae.decode(self.latent[:1]),
            "image": lambda: self.images(1),
            "images16": lambda: self.images(16),
        }

    def there_and_back(self):
        """A step, and its way back to latents and text states."""
        torch = self.torch
        with torch.enable_grad():
            x, text = (v.clone().requires_grad_() for v in (self.latent, self.text))
            self.pipe.unet.requires_grad_(False)
            y = self.pipe.unet(x, 501, text).sample
            torch.autograd.grad(y, (x, text), y.detach())

    def images(self, n):
        self.pipe(["An image of Cats in Sketch style."] + [""] * (n - 1), num_inference_steps=self.steps, guidance_scale=self.guidance,
                  generator=self.torch.Generator().manual_seed(0))

    def measure(self, names):
        """Seconds of each part that names holds."""
        result = {}
        with self.torch.no_grad():
            for name, run in self.parts().items():
                if name not in names:
                    continue
                run()
                start = time.perf_counter()
                run()
                result[name] = time.perf_counter() - start
                if result[name] < 0.1:
                    runs = int(0.1 / result[name]) + 1
                    start = time.perf_counter()
                    for _ in range(runs):
                        run()
                    result[name] = (time.perf_counter() - start) / runs
        return result


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--saeuron", default="./saeuron")
    p.add_argument("--model", default="weights/emojicanvas")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--parts", default="", help="only these rows of `saeuron bench`: unet_step,vae_decode")
    a = p.parse_args()
    peer = Peer(a.model, a.threads)
    parts = [part for part in a.parts.split(",") if part]
    mine, theirs = [], []
    for _ in range(a.runs):
        mine.append(ours(a.saeuron, a.model, a.threads, parts))
        theirs.append(peer.measure(mine[-1]))
        print(f"run {len(mine)} of {a.runs}", file=sys.stderr, flush=True)
    for name in theirs[0]:
        x, y = (statistics.median(r[name] for r in rows) for rows in (mine, theirs))
        ratios = sorted(b[name] / a[name] for a, b in zip(mine, theirs))
        share = statistics.median(r.get(name + "_share", 0) for r in mine)
        of_peak = f" {share:.1f} % of the FMA peak" if share else ""
        print(f"{name} ours {x:.4g} peer {y:.4g} ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}){of_peak}")
    if "unet_forget" in mine[0]:
        forget = statistics.median(r["unet_forget"] / r["unet_step"] for r in mine)
        print(f"unet_forget ours {statistics.median(r['unet_forget'] for r in mine):.4g} which is {100 * (forget - 1):+.1f} % of unet_step")
    if "tile_share" in mine[0]:
        share = statistics.median(r["tile_share"] for r in mine)
        print(f"tile_share ours {share:.1f} % of the FMA peak of {statistics.median(r['fma_peak'] for r in mine):.0f} GFLOP/s on one thread")


if __name__ == "__main__":
    main()
