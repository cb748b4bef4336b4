"""bench_engines.py: one guided step of the UNet and one VAE decode, here and in other engines, from the same weights and inputs.

    python tests/bench_engines.py --model DIR [--threads 2] [--runs 5] [--engines NAME,...] [--parts unet_step,vae_decode]
                                  [--dir /tmp/saeuron-engines] [--saeuron ./saeuron]

DIR is a diffusers folder, EmojiCanvas or the one of Stable Diffusion's size that `make fullsize TEST=--keep` leaves. The engines:

    saeuron         `saeuron bench --only PART --runs 1`
    torch           diffusers in PyTorch, float32: the truth of the column diff
    torch-bf16      the same, weights and inputs in bfloat16
    onnxruntime     CPUExecutionProvider, float32; torch.onnx.export writes the graph once into --dir (at Stable Diffusion's size
                    3.6 GB of disk; an export there is used again while the model's files are unchanged)
    openvino        the same graph, INFERENCE_PRECISION_HINT f32
    stable-diffusion.cpp   float16 weights as they lie in the folder, only of the architectures in its source (see sdcpp)

Each engine computes each part in a process of its own, so memory is one engine's; a run is all engines in turn, one warm-up
each, then one timed call (as many as last a tenth of a second). A row is

    ENGINE PART seconds S ratio R (LOW to HIGH) rss MiB diff D

S the median of the runs; R the median of S over saeuron's in the same run, so above 1 means saeuron is faster; rss the largest
resident set of its processes, weights and the loading of them included, mapped files too; D the largest difference from torch's
output. The inputs of all but stable-diffusion.cpp are those of the first step of `saeuron generate --steps 1`: both halves of the guided batch, and for the VAE
the latents after it. An engine that cannot run is a row SKIPPED with its reason. Exit 1 when a float32 engine's D exceeds 0.001
of the output's largest magnitude (then it did not compute the same thing), 2 when nothing could be measured.

What an engine keeps between steps is its own: saeuron computes the keys and values of the text once a picture, the others at
every step. stable-diffusion.cpp has no call for a step or a decode: it draws pictures, timed from one of its progress reports to the
next, and from the last to the picture. So it has no D, and its rss is the whole pipeline's.

Development only. Needs tests/requirements.txt and, in an environment apart from it,

    pip install onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 openvino==2026.4.1
    pip install stable-diffusion-cpp-python==0.4.7      # no wheel: a long build of C++ with cmake
"""
import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

PARTS = ("unet_step", "vae_decode")
# What each engine imports, and what pip calls it.
ENGINES = {
    "saeuron": {},
    "torch": {"torch": "torch==2.13.0", "diffusers": "diffusers==0.42.1"},
    "torch-bf16": {"torch": "torch==2.13.0", "diffusers": "diffusers==0.42.1"},
    "onnxruntime": {"onnxruntime": "onnxruntime==1.32.0", "onnx": "onnx==1.23.2", "onnxscript": "onnxscript==0.7.2"},
    "openvino": {"openvino": "openvino==2026.4.1", "onnx": "onnx==1.23.2", "onnxscript": "onnxscript==0.7.2"},
    "stable-diffusion.cpp": {"stable_diffusion_cpp": "stable-diffusion-cpp-python==0.4.7"},
}
SAME = 1e-3  # of the largest magnitude: float32 engines differ by about 1e-6, another computation by about 1
PROMPT = "An image of Cats in Sketch style."


class Skip(Exception):
    """Why an engine has no row."""


# ---- the workers: each runs in a process of its own ----

def load_inputs(folder, part):
    """The part's inputs in the order of the module's forward, as NumPy arrays."""
    import numpy as np
    names = ("sample", "timestep", "encoder_hidden_states") if part == "unet_step" else ("latents",)
    return {name: np.load(f"{folder}/{name}.npy") for name in names}


def torch_module(model, part, dtype):
    """UNet2DConditionModel.forward or AutoencoderKL.decode, tensors in and one tensor out."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet", torch_dtype=dtype)

        def forward(self, sample, timestep, encoder_hidden_states):
            return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]

    class Decode(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=dtype)

        def forward(self, latents):
            return self.vae.decode(latents, return_dict=False)[0]

    return (Step() if part == "unet_step" else Decode()).eval()


def run_torch(a, inputs, dtype):
    import torch
    torch.set_num_threads(a.threads)
    module = torch_module(a.model, a.part, dtype)
    x = [torch.from_numpy(v) for v in inputs.values()]
    x = [v.to(dtype) if v.is_floating_point() else v for v in x]

    def run():
        with torch.inference_mode():
            return module(*x).float().numpy()
    return run


def run_float32(a, inputs):
    import torch
    return run_torch(a, inputs, torch.float32)


def run_bfloat16(a, inputs):
    import torch
    return run_torch(a, inputs, torch.bfloat16)


def export(a):
    """The part as ONNX, opset 18, weights in files beside it (a protobuf ends at 2 GB). Whole or not there."""
    import torch
    torch.set_num_threads(a.threads)
    x = load_inputs(a.inputs, a.part)
    module = torch_module(a.model, a.part, torch.float32)
    target = f"{a.dir}/{a.part}"
    work = tempfile.mkdtemp(dir=a.dir)
    try:
        with torch.no_grad():
            torch.onnx.export(module, tuple(map(torch.from_numpy, x.values())), work + "/model.onnx", dynamo=True, opset_version=18,
                              external_data=True, input_names=list(x), output_names=["out"], verbose=False)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run_onnxruntime(a, inputs):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads = a.threads
    o.inter_op_num_threads = 1
    o.log_severity_level = 3
    session = ort.InferenceSession(f"{a.dir}/{a.part}/model.onnx", o, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)[0]


def run_openvino(a, inputs):
    import openvino as ov
    core = ov.Core()
    compiled = core.compile_model(core.read_model(f"{a.dir}/{a.part}/model.onnx"), "CPU", {
        "INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_NUM_THREADS": a.threads,
        "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    x = [inputs[port.any_name] for port in compiled.inputs]
    return lambda: request.infer(x)[compiled.output(0)]


def run_sdcpp(a):
    """Seconds of the part in the second of two pictures; Euler's method, one evaluation of each half of the guided batch a step."""
    from stable_diffusion_cpp import StableDiffusion
    with open(a.model + "/unet/config.json") as f:
        side = 8 * json.load(f)["sample_size"]
    steps, reports = 2, []
    sd = StableDiffusion(model_path=a.model, n_threads=a.threads, vae_decode_only=True, verbose=False)
    for _ in range(2):
        reports.clear()
        pictures = sd.generate_image(prompt=PROMPT, width=side, height=side, cfg_scale=7.5, sample_method="euler", sample_steps=steps, seed=0,
                                     progress_callback=lambda step, n, _: reports.append((step, n, time.perf_counter())))
        end = time.perf_counter()
    if len(pictures) != 1 or [r[:2] for r in reports[-steps:]] != [(1, steps), (2, steps)]:
        raise Skip(f"no picture, or not the progress reports of {steps} steps, after which a part is timed")
    last = reports[-1][2]
    return last - reports[-2][2] if a.part == "unet_step" else end - last


def timed(run):
    """Seconds of a call after a warm-up, and its result."""
    run()
    start = time.perf_counter()
    out = run()
    seconds = time.perf_counter() - start
    if seconds < 0.1:
        n = int(0.1 / seconds) + 1
        start = time.perf_counter()
        for _ in range(n):
            run()
        seconds = (time.perf_counter() - start) / n
    return seconds, out


def inputs(a):
    """The timestep of a schedule of one step, which the dump does not hold, and the VAE's latents as decode wants them."""
    import numpy as np
    from diffusers import AutoencoderKL, DDIMScheduler
    s = DDIMScheduler.from_pretrained(a.model, subfolder="scheduler")
    s.set_timesteps(1)
    np.save(a.inputs + "/timestep.npy", s.timesteps[0].numpy())
    noise = np.load(a.inputs + "/dump/noise.npy")
    np.save(a.inputs + "/sample.npy", np.concatenate([noise, noise]))
    shutil.copy(a.inputs + "/dump/prompt_embeds.npy", a.inputs + "/encoder_hidden_states.npy")
    c = AutoencoderKL.load_config(a.model, subfolder="vae")
    latents = np.load(a.inputs + "/dump/step000.latents.npy")
    np.save(a.inputs + "/latents.npy", latents / np.float32(c.get("scaling_factor", 0.18215)))
    shutil.copy(a.inputs + "/dump/step000.unet.conv_out.npy", a.inputs + "/saeuron.unet_step.npy")
    shutil.copy(a.inputs + "/dump/vae.decoder.conv_out.npy", a.inputs + "/saeuron.vae_decode.npy")
    shutil.rmtree(a.inputs + "/dump")


def compare(a):
    """Largest difference of each engine's output from torch's, and torch's largest magnitude; null without an output."""
    import numpy as np
    result = {}
    for part in a.parts:
        truth = np.load(f"{a.inputs}/torch.{part}.npy").astype(np.float64)
        result[part] = {"": float(np.abs(truth).max())}
        for engine in a.engines:
            file = f"{a.inputs}/{engine}.{part}.npy"
            if os.path.exists(file):
                out = np.load(file)
                result[part][engine] = float(np.abs(out - truth).max()) if out.shape == truth.shape else float("inf")
    print(json.dumps(result))


def worker(a):
    warnings.simplefilter("ignore")
    if a.worker in ("inputs", "export", "compare"):
        return {"inputs": inputs, "export": export, "compare": compare}[a.worker](a)
    if a.worker == "stable-diffusion.cpp":
        return print(json.dumps({"seconds": run_sdcpp(a)}))
    import numpy as np
    make = {"torch": run_float32, "torch-bf16": run_bfloat16, "onnxruntime": run_onnxruntime, "openvino": run_openvino}[a.worker]
    seconds, out = timed(make(a, load_inputs(a.inputs, a.part)))
    np.save(f"{a.inputs}/{a.worker}.{a.part}.npy", out)
    print(json.dumps({"seconds": seconds}))


# ---- the parent: imports nothing large, for a child's ru_maxrss begins with what its parent had ----

def child(command, env):
    """Standard output and the largest resident set in MiB of a process that must succeed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        p = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if p.returncode:
            last = err.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise Skip(f"killed by signal {-p.returncode}: too little memory?" if p.returncode < 0 else last[0])
        return out.read().decode(), usage.ru_maxrss / 1024


def fingerprint(model):
    """Of the weights' and configs' names, sizes and times: an export belongs to one state of the model."""
    h = hashlib.sha256(os.path.realpath(model).encode())
    for part in ("unet", "vae"):
        for name in sorted(os.listdir(f"{model}/{part}")):
            s = os.stat(f"{model}/{part}/{name}")
            h.update(f"{part}/{name} {s.st_size} {s.st_mtime_ns} ".encode())
    return h.hexdigest()[:16]


def version(pip):
    name = pip.split("==")[0]
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"


def sdcpp(model):
    """stable-diffusion.cpp 0.4.7 reads a diffusers folder, but only these names in it and only these sizes: raises Skip otherwise."""
    with open(model + "/unet/config.json") as f:
        c = json.load(f)["block_out_channels"]
    if c != [320, 640, 1280, 1280]:
        raise Skip(f"its UNets are fixed in its source (src/unet.hpp: model_channels 320, channel_mult 1 2 4 4); this model has {c}")
    for name in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        if not os.path.exists(f"{model}/{name}.safetensors"):
            raise Skip(f"it reads {name}.safetensors and no other variant of it; {model} has none")


def ready(engine, a):
    """Raises Skip where engine cannot run on this model."""
    if engine == "stable-diffusion.cpp":
        sdcpp(a.model)
    missing = [pip for module, pip in ENGINES[engine].items() if importlib.util.find_spec(module) is None]
    if missing:
        long = " (no wheel: a long build of C++)" if engine == "stable-diffusion.cpp" else ""
        raise Skip("not installed: pip install " + " ".join(missing) + long)


def measure(engine, part, a, env):
    """One run: seconds and MiB."""
    if engine == "saeuron":
        out, rss = child([a.saeuron, "bench", "-m", a.model, "--threads", str(a.threads), "--runs", "1", "--json", "--only", part], env)
        rows = {r["name"]: r["value"] for r in map(json.loads, out.splitlines())}
        return rows[part], rss
    out, rss = child(self_as(engine, a, part), env)
    return json.loads(out.splitlines()[-1])["seconds"], rss


def self_as(name, a, part=PARTS[0]):
    return [sys.executable, os.path.abspath(__file__), "--worker", name, "--part", part, "--model", a.model, "--threads", str(a.threads),
            "--dir", a.dir, "--inputs", a.inputs, "--engines", ",".join(a.engines), "--parts", ",".join(a.parts)]


def show(text):
    print(text, flush=True)


def header(a, engines):
    with open("/proc/cpuinfo") as f:
        lines = f.read().splitlines()
    flags = set(next((x for x in lines if x.startswith("flags")), "").split())
    cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "unknown")
    has = [f"{name} {'yes' if name in flags else 'no'}" for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")]
    show(f"model {a.model}, {a.threads} threads, {a.runs} runs; {cpu}: {', '.join(has)}; load {os.getloadavg()[0]:.1f}")
    pips = dict.fromkeys(pip for e in engines for pip in ENGINES[e].values())
    show("with " + ", ".join(version(pip) for pip in pips))


def compare_all(a, env):
    out, _ = child(self_as("compare", a), env)
    return json.loads(out.splitlines()[-1])


def table(a, times, rss, skipped, diffs):
    """Prints the rows; returns how many engines did not compute what torch did."""
    wrong = 0
    for part in a.parts:
        show(f"{part}: torch's largest magnitude {diffs[part]['']:.4g}")
        for engine in a.engines:
            if (engine, part) in skipped:
                show(f"{engine} {part} SKIPPED: {skipped[engine, part]}")
                continue
            mine, theirs = times["saeuron", part], times[engine, part]
            ratios = sorted(y / x for x, y in zip(mine, theirs))
            d = diffs[part].get(engine)
            differs = engine != "torch-bf16" and d is not None and not d <= SAME * diffs[part][""]
            wrong += differs
            show(f"{engine} {part} seconds {statistics.median(theirs):.4g} ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
                 f"rss {max(rss[engine, part]):.0f} diff {'none' if d is None else format(d, '.3g')}{' NOT THE SAME COMPUTATION' if differs else ''}")
    return wrong


def prepare(a, env):
    """The inputs, and for those that read ONNX the graphs. Returns the engines' reasons to be skipped."""
    skipped = {}
    child([a.saeuron, "generate", "-q", "-m", a.model, "--threads", str(a.threads), "-p", PROMPT, "--steps", "1", "--cfg", "7.5", "--seed", "0",
           "--dump", a.inputs + "/dump", "-o", a.inputs + "/picture.png"], env)
    child(self_as("inputs", a), env)
    for engine in a.engines:
        for part in a.parts:
            try:
                ready(engine, a)
                if engine in ("onnxruntime", "openvino") and not os.path.exists(f"{a.dir}/{part}/model.onnx"):
                    show(f"writing {a.dir}/{part}/model.onnx")
                    child(self_as("export", a, part), env)
            except Skip as e:
                skipped[engine, part] = str(e)
    return skipped


def bench(a):
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads), MKL_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1")
    a.dir = f"{a.dir}/{fingerprint(a.model)}"
    os.makedirs(a.dir, exist_ok=True)
    header(a, a.engines)
    times, rss = {}, {}
    with tempfile.TemporaryDirectory(dir=a.dir) as a.inputs:
        skipped = prepare(a, env)
        for _ in range(a.runs):
            for part in a.parts:
                for engine in a.engines:
                    if (engine, part) in skipped:
                        continue
                    try:
                        seconds, mib = measure(engine, part, a, env)
                    except Skip as e:
                        if engine in ("saeuron", "torch"):
                            raise
                        skipped[engine, part] = str(e)
                        continue
                    times.setdefault((engine, part), []).append(seconds)
                    rss.setdefault((engine, part), []).append(mib)
        return 1 if table(a, times, rss, skipped, compare_all(a, env)) else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--saeuron", default="./saeuron")
    p.add_argument("--model", default="weights/emojicanvas")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--engines", default=",".join(ENGINES), help="saeuron and torch, which the others are compared with, always run")
    p.add_argument("--parts", default=",".join(PARTS))
    p.add_argument("--dir", default="/tmp/saeuron-engines", help="where the ONNX graphs are kept")
    for hidden in ("--worker", "--part", "--inputs"):
        p.add_argument(hidden, help=argparse.SUPPRESS)
    a = p.parse_args()
    a.engines, a.parts = a.engines.split(","), a.parts.split(",")
    for name, known in [(e, ENGINES) for e in a.engines] + [(x, PARTS) for x in a.parts]:
        if name not in known:
            p.error(f"{name} is none of {', '.join(known)}")
    if a.runs < 1 or a.threads < 1:
        p.error("--runs and --threads must be at least 1")
    if a.worker:
        return worker(a)
    a.engines = list(dict.fromkeys(["saeuron", "torch"] + a.engines))
    try:
        for engine in ("saeuron", "torch"):
            ready(engine, a)
        return bench(a)
    except (Skip, OSError) as e:
        print(f"bench_engines.py: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
