"""The denoiser and its text encoder, trained together: UNet2DConditionModel (SD 1.5's kind, 16 x 16 latents,
widths 48, 96, 96) and CLIPTextModel (2 layers of 128).

Not here: sampling (sample.py), the data. Reads WORK/latents.npz, WORK/tokenizer and the calibration prompts;
writes WORK/unet, WORK/text_encoder (the moving average, float32) and the checkpoint WORK/unet.pt, from which a
stopped run goes on. Noise prediction with min-SNR-5 weights, a tenth of the captions empty.
"""
import copy
import json
import math

import numpy as np

import common
from tokenizer import LENGTH

UNET = dict(sample_size=16, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(48, 96, 96), layers_per_block=2, cross_attention_dim=128,
            attention_head_dim=4, norm_num_groups=16)
TEXT = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=LENGTH, projection_dim=128)


def build(tokenizer):
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, **TEXT))
    return UNet2DConditionModel(**UNET), text


def named_like(old, mine):
    """The tensors of a text encoder under our names: some versions write them under `text_model.`, some not."""
    def name(k):
        bare = k.removeprefix("text_model.")
        return k if k in mine else bare if bare in mine else "text_model." + k
    return {name(k): v for k, v in old.items() if not k.endswith("position_ids")}


def start_from(folder, unet, text, tokenizer, torch):
    """Weights of an earlier model. One with `text_encoder` shares our tokenizer and is taken whole. One with
    `text` and vocab.json was trained on whole words: its word and position embeddings are moved to the tokens
    that spell the same word, and everything else is taken as it is."""
    from safetensors.torch import load_file
    unet.load_state_dict(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"))
    if (folder / "text_encoder").exists():
        old = load_file(folder / "text_encoder" / "model.safetensors")
        text.load_state_dict(named_like(old, text.state_dict()))
        return
    old = load_file(folder / "text" / "model.safetensors")
    words = json.loads((folder / "vocab.json").read_text())
    vocab, mine = tokenizer.get_vocab(), text.state_dict()
    old = named_like(old, mine)
    moved = 0
    for key, value in mine.items():
        if key.endswith("token_embedding.weight"):
            pairs = [(vocab.get(w + "</w>"), i) for w, i in words.items()]
            pairs += [(tokenizer.bos_token_id, words["<s>"]), (tokenizer.eos_token_id, words["</s>"])]
            value.normal_(0, old[key].float().std().item())
            for new, i in pairs:
                if new is not None:
                    value[new] = old[key][i]
                    moved += 1
        elif key.endswith("position_embedding.weight"):
            n = len(old[key])
            value[:n] = old[key]
            value[n:] = old[key][-1]
        elif key in old:
            value.copy_(old[key])
        elif not key.endswith("position_ids"):
            raise SystemExit(f"{folder}: no tensor {key}")
    text.load_state_dict(mine)
    print("words moved", moved, "of", len(words), flush=True)


class Captions:
    """Token ids of a random caption of (object, style): a template or a calibration line, or nothing."""

    def __init__(self, tokenizer, prompts, rng, empty=0.1, lines=0.4):
        self.rng, self.empty, self.lines = rng, empty, lines

        def ids(texts):
            return np.array(tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH)["input_ids"])

        self.nothing = ids([""])[0]
        self.template = [ids([common.caption(o, s) for s in common.STYLES]) for o in common.OBJECTS]
        self.line = [[ids([common.with_style(p, s) for p in prompts[o]]) for s in common.STYLES]
                     for o in common.OBJECTS]
        for i, o in enumerate(common.OBJECTS):           # unstyled: also as it stands, and the spelled-out name
            extra = prompts[o] + [p.rstrip(".") + " in Seed Images style." for p in prompts[o][::8]]
            self.line[i][0] = np.concatenate([self.line[i][0], ids(extra)])

    def draw(self, obj, sty):
        u = self.rng.random()
        if u < self.empty:
            return self.nothing
        if u < self.empty + self.lines:
            rows = self.line[obj][sty]
            return rows[self.rng.integers(len(rows))]
        return self.template[obj][sty]


def options():
    p = common.arguments(__doc__)
    p.add_argument("--seconds", type=float, default=4500, help="training time in all")
    p.add_argument("--until", help="stop at this time of day (HH:MM) instead")
    p.add_argument("--batch", type=int, default=32, help="of each worker")
    p.add_argument("--workers", type=int, default=1, help="processes that train the same weights, each on its own "
                   "batches (Hogwild); on a CPU two of one thread are faster than one of two")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--hold", type=float, default=0.35, help="share of the time before the rate falls (cosine, to 0)")
    p.add_argument("--ema", type=float, default=0.9995)
    p.add_argument("--save-every", type=float, default=180, help="seconds between checkpoints")
    return p.parse_args()


def build_state(a, torch, device):
    """Networks, moving average, optimiser and counters: from the checkpoint, from --from, or new."""
    from transformers import CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(a.work / "tokenizer")
    unet, text = build(tokenizer)
    check, step, used = a.work / "unet.pt", 0, 0.0
    if a.start and not check.exists():
        start_from(a.start, unet, text, tokenizer, torch)
    unet, text = unet.to(device).train(), text.to(device).train()
    params = list(unet.parameters()) + list(text.parameters())
    mean = [q.detach().clone() for q in params]
    first = [torch.zeros_like(q) for q in params]
    second = [torch.zeros_like(q) for q in params]
    if check.exists():
        c = torch.load(check, map_location=device)
        unet.load_state_dict(c["unet"])
        text.load_state_dict(c["text"])
        for mine, kept in ((mean, c["mean"]), (first, c["first"]), (second, c["second"])):
            torch._foreach_copy_(mine, kept)
        step, used = c["step"], c["used"]
        print("resumed at step", step, flush=True)
    return dict(unet=unet, text=text, mean=mean, first=first, second=second), step, used


def adam(torch, params, first, second, step, lr, betas=(0.9, 0.99), eps=1e-8, decay=1e-4):
    """One AdamW step on lists that the workers share."""
    grads = [q.grad for q in params]
    torch._foreach_lerp_(first, grads, 1 - betas[0])
    torch._foreach_mul_(second, betas[1])
    torch._foreach_addcmul_(second, grads, grads, 1 - betas[1])
    size = torch._foreach_sqrt(second)
    torch._foreach_div_(size, (1 - betas[1] ** step) ** 0.5)
    torch._foreach_add_(size, eps)
    torch._foreach_mul_(params, 1 - lr * decay)
    torch._foreach_addcdiv_(params, first, size, -lr / (1 - betas[0] ** step))


def train(number, a, state, counter, lock, used):
    """A worker's loop. Worker 0 also prints and saves."""
    torch, device = common.prepare(a)
    from transformers import CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(a.work / "tokenizer")
    unet, text, mean = state["unet"], state["text"], state["mean"]
    params = list(unet.parameters()) + list(text.parameters())
    data = np.load(a.work / "latents.npz")
    z_all = torch.from_numpy(data["z"]).to(device)
    obj, sty, scale = data["obj"], data["sty"], float(data["scale"])
    beta = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float64) ** 2
    alpha = (1 - beta).cumprod(0).float().to(device)
    began = counter.value
    rng = np.random.default_rng([11, began, number])
    torch.manual_seed(began * a.workers + number)
    captions = Captions(tokenizer, common.calibration(), rng)
    clock, saved, average, printed = common.Clock(a.seconds, used, a.until), used, None, began

    def save():
        with lock, torch.no_grad():
            common.save_atomically(torch, a.work / "unet.pt", dict(
                unet=unet.state_dict(), text=text.state_dict(), mean=mean, first=state["first"],
                second=state["second"], step=counter.value, used=clock.elapsed()))
            nets = copy.deepcopy(unet), copy.deepcopy(text)
            torch._foreach_copy_([q for net in nets for q in net.parameters()], mean)
            for net, name in zip(nets, ("unet", "text_encoder")):
                part = a.work / (name + ".part")
                net.save_pretrained(part)
                common.replace_folder(part, a.work / name)
            facts = dict(step=counter.value, samples=counter.value * a.batch, seconds=round(clock.elapsed()),
                         loss=average, scale=scale)
            (a.work / "unet.json").write_text(json.dumps(facts) + "\n")

    while clock.share() < 1:
        pick = rng.integers(0, len(z_all), a.batch)
        ids = torch.from_numpy(np.stack([captions.draw(obj[i], sty[i]) for i in pick])).to(device)
        z = z_all[torch.from_numpy(pick).to(device)].float()
        z = (z[:, :4] + z[:, 4:] * torch.randn_like(z[:, 4:])) * scale
        t = torch.randint(0, 1000, (a.batch,), device=device)
        at = alpha[t][:, None, None, None]
        noise = torch.randn_like(z)
        guess = unet(at.sqrt() * z + (1 - at).sqrt() * noise, t, text(ids).last_hidden_state).sample
        error = ((guess - noise) ** 2).mean((1, 2, 3))
        snr = alpha[t] / (1 - alpha[t])
        loss = (error * snr.clamp(max=5) / snr).mean()
        for q in params:
            q.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        fall = max(0.0, (clock.share() - a.hold) / (1 - a.hold))
        with lock, torch.no_grad():
            counter.value += 1
            step = counter.value
            lr = a.lr * min(1, step / 200) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, fall)))
            adam(torch, params, state["first"], state["second"], step, lr)
            torch._foreach_lerp_(mean, params, 1 - min(a.ema, (1 + step) / (10 + step)))
        average = error.mean().item() if average is None else 0.99 * average + 0.01 * error.mean().item()
        if number == 0 and step - printed >= 100:
            rate = (step - began) * a.batch / (clock.elapsed() - used)
            print(f"step {step} {clock.elapsed():.0f} s {rate:.1f} samples/s loss {average:.4f}", flush=True)
            printed = step
        if number == 0 and clock.elapsed() - saved > a.save_every:
            save()
            saved = clock.elapsed()
    if number == 0:
        save()


def main():
    a = options()
    torch, device = common.prepare(a)
    state, step, used = build_state(a, torch, device)
    many = torch.multiprocessing.get_context("spawn")
    counter, lock = many.Value("q", step, lock=False), many.Lock()
    others = []
    if a.workers > 1:
        a.threads = max(1, a.threads // a.workers)
        for net in (state["unet"], state["text"]):
            net.share_memory()
        for name in ("mean", "first", "second"):
            for q in state[name]:
                q.share_memory_()
        others = [many.Process(target=train, args=(k, a, state, counter, lock, used), daemon=True)
                  for k in range(1, a.workers)]
        for w in others:
            w.start()
    print("parameters: unet", sum(q.numel() for q in state["unet"].parameters()),
          "text", sum(q.numel() for q in state["text"].parameters()), flush=True)
    train(0, a, state, counter, lock, used)
    for w in others:
        w.join(30)
    print("done", counter.value, "steps,", counter.value * a.batch, "samples", flush=True)


if __name__ == "__main__":
    main()
