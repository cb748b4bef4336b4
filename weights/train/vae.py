"""The autoencoder: AutoencoderKL, 64 x 64 RGB to 4 x 16 x 16 latents, 0.7 M parameters.

Not here: the data (dataset.py), the scaling factor's use (unet.py). Reads WORK/set.npz, writes WORK/vae
(diffusers' folder, float32) and the checkpoint WORK/vae.pt, from which a stopped run goes on.
Loss: L1 + L1 of the pixel differences (edges) + a tiny KL, so that pictures stay sharp.
"""
import json

import numpy as np

import common

SHAPE = dict(in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 3,
             up_block_types=["UpDecoderBlock2D"] * 3, block_out_channels=(20, 40, 64), layers_per_block=1,
             latent_channels=4, norm_num_groups=4, sample_size=64, mid_block_add_attention=False)


def edges(y, x):
    """Mean absolute difference of the horizontal and vertical pixel differences."""
    return sum((y.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (2, 3))


def main():
    p = common.arguments(__doc__)
    p.add_argument("--seconds", type=float, default=1200, help="training time in all")
    p.add_argument("--until", help="stop at this time of day (HH:MM) instead")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=1e-3, help="of the decoder; falls linearly to 0")
    p.add_argument("--encoder-lr", type=float, default=3e-4, help="a smaller one keeps an older UNet's latents useful")
    p.add_argument("--kl", type=float, default=3e-4)
    p.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    a = p.parse_args()
    torch, device = common.prepare(a)
    from diffusers import AutoencoderKL

    x_all = np.load(a.work / "set.npz")["x"]
    vae = AutoencoderKL.from_pretrained(a.start / "vae") if a.start else AutoencoderKL(**SHAPE)
    vae = vae.float().to(device).train()
    decoder = list(vae.decoder.parameters()) + list(vae.post_quant_conv.parameters())
    encoder = list(vae.encoder.parameters()) + list(vae.quant_conv.parameters())
    opt = torch.optim.AdamW([dict(params=decoder, base=a.lr), dict(params=encoder, base=a.encoder_lr)],
                            lr=a.lr, weight_decay=1e-4)
    step, used, check = 0, 0.0, a.work / "vae.pt"
    if check.exists():
        c = torch.load(check, map_location=device)
        vae.load_state_dict(c["vae"])
        opt.load_state_dict(c["opt"])
        step, used = c["step"], c["used"]
        print("resumed at step", step, flush=True)
    clock, saved = common.Clock(a.seconds, used, a.until), used
    rng = np.random.default_rng([7, step])
    torch.manual_seed(step)

    def save():
        common.save_atomically(torch, check, dict(vae=vae.state_dict(), opt=opt.state_dict(),
                                                  step=step, used=clock.elapsed()))
        part = a.work / "vae.part"
        vae.save_pretrained(part)
        common.replace_folder(part, a.work / "vae")
        (a.work / "vae.json").write_text(json.dumps(dict(step=step, pictures=step * a.batch,
                                                         seconds=round(clock.elapsed()))) + "\n")

    while clock.share() < 1:
        for g in opt.param_groups:
            g["lr"] = g["base"] * min(1, (step + 1) / 100) * (1 - clock.share()) + 1e-6
        x = torch.from_numpy(x_all[rng.integers(0, len(x_all), a.batch)]).to(device)
        x = x.float().permute(0, 3, 1, 2).contiguous() / 127.5 - 1
        with torch.autocast(device.type, dtype=torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample.float()
        l1 = (y - x).abs().mean()
        kl = posterior.kl().mean() / (4 * 16 * 16)
        loss = l1 + 0.6 * edges(y, x) + a.kl * kl
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        opt.step()
        step += 1
        if step % 100 == 0:
            mse = ((y - x) ** 2).mean().item()
            print(f"step {step} {clock.elapsed():.0f} s l1 {l1.item():.4f} mse {mse:.5f} kl {kl.item():.3f}",
                  flush=True)
        if clock.elapsed() - saved > a.save_every:
            save()
            saved = clock.elapsed()
    save()
    print("done", step, "steps,", step * a.batch, "pictures", flush=True)


if __name__ == "__main__":
    main()
