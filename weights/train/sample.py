"""Guided DDIM sampling of the model folder, many prompts a batch.

Not here: training; a hand in the hooks (hooks.py). Works on a diffusers folder (the exported fp16 weights, widened to
float32), because what is measured must be what ships. Noise of image j is elements [j*C*h*w, (j+1)*C*h*w) of the seed's torch.randn stream.
"""
import json

import common


class Model:
    """Text encoder, UNet, decoder and schedule of a folder, in float32."""

    def __init__(self, folder, device="cpu"):
        import torch
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
        self.torch, self.device = torch, torch.device(device)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")

        def net(kind, name):
            return kind.from_pretrained(folder / name, torch_dtype=torch.float32).float().to(self.device).eval()

        self.text, self.unet, self.vae = (net(CLIPTextModel, "text_encoder"), net(UNet2DConditionModel, "unet"),
                                          net(AutoencoderKL, "vae"))
        self.schedule = DDIMScheduler.from_pretrained(folder / "scheduler")
        for part in (self.text, self.unet, self.vae):
            part.requires_grad_(False)

    def embed(self, prompts):
        ids = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
        return self.text(ids.to(self.device)).last_hidden_state

    def noise(self, count, seed, first=0):
        """Noise of images first .. first+count-1; one stream, drawn from its start."""
        g = self.torch.Generator().manual_seed(seed)
        return self.torch.randn(first + count, 4, 16, 16, generator=g)[first:].to(self.device)

    def sample(self, prompts, noise, guidance, steps=common.STEPS):
        """Latents at the end."""
        torch = self.torch
        with torch.no_grad():
            text = torch.cat([self.embed([""]).expand(len(prompts), -1, -1), self.embed(prompts)])
            self.schedule.set_timesteps(steps)
            z = noise
            for t in self.schedule.timesteps:
                u, c = self.unet(torch.cat([z, z]), t, text, return_dict=False)[0].chunk(2)
                z = self.schedule.step(u + guidance * (c - u), t, z).prev_sample
            return z

    def decode(self, z):
        """uint8 pictures [B,64,64,3]."""
        with self.torch.no_grad():
            x = self.vae.decode(z / self.vae.config.scaling_factor).sample
        return (255 * (0.5 * x + 0.5).clamp(0, 1)).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def sheet(pictures, columns, gap=2):
    """Pictures side by side on white."""
    import numpy as np
    rows, s = -(-len(pictures) // columns), pictures.shape[1] + gap
    out = np.full((rows * s - gap, columns * s - gap, 3), 255, np.uint8)
    for i, p in enumerate(pictures):
        r, c = divmod(i, columns)
        out[r * s:r * s + p.shape[0], c * s:c * s + p.shape[1]] = p
    return out


def save_sheet(picture, path):
    """PNG of 32 levels a channel: half the bytes, and no palette to lose a hue in."""
    from PIL import Image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture & 0xF8 | picture >> 5).save(path, optimize=True)


def main():
    p = common.arguments(__doc__ + " As a command: the 20 x 11 grid of every object in every style, and its verdict.")
    p.add_argument("--model", type=common.pathlib.Path, default=common.MODEL)
    p.add_argument("--guidance", type=float, nargs="+", help="default: the model's")
    p.add_argument("--seed", type=int, default=common.SEED)
    p.add_argument("--steps", type=int, default=common.STEPS)
    p.add_argument("--batch", type=int, default=22)
    p.add_argument("--png", type=common.pathlib.Path, help="write the grid here")
    p.add_argument("--json", type=common.pathlib.Path, help="write the verdict here")
    a = p.parse_args()
    torch, device = common.prepare(a)
    import numpy as np

    import classifier
    model = Model(a.model, device)
    pairs = [(o, s) for o in range(len(common.OBJECTS)) for s in range(len(common.STYLES))]
    prompts = [common.caption(common.OBJECTS[o], common.STYLES[s]) for o, s in pairs]
    for guidance in a.guidance or [json.loads((a.model / "concepts.json").read_text())["guidance"]]:
        noise, pics = model.noise(len(prompts), a.seed), []
        for i in range(0, len(prompts), a.batch):
            part = slice(i, i + a.batch)
            pics.append(model.decode(model.sample(prompts[part], noise[part], guidance, a.steps)))
        pics = torch.from_numpy(np.concatenate(pics))
        verdict = classifier.verdict(a.model / "classifier", pics, pairs)
        verdict.update(guidance=guidance, seed=a.seed, steps=a.steps)
        print(json.dumps({k: verdict[k] for k in ("guidance", "objects_right", "styles_right", "of",
                                                  "per_object", "per_style", "worst")}), flush=True)
        if a.png:
            save_sheet(sheet(pics.numpy(), len(common.STYLES)), a.png)
        if a.json:
            a.json.write_text(json.dumps(verdict, indent=1) + "\n")


if __name__ == "__main__":
    main()
