"""saeuron.h from Python, by ctypes and the standard library alone: a picture, its progress, and a stop when asked.

    python3 example.py MODEL OUT.ppm [--forget A] [--prompt TEXT] [--stop-after STEPS] [--library libsaeuron.so]

The two structures below are saeuron.h's, field for field: when a field is added there, it must be added here, since the
library reads the whole structure. Not here: a wrapper of everything; steering, taps and text are called the same way."""
import argparse
import ctypes as c
import ctypes.util
import sys

SAEURON_OK, SAEURON_ECANCEL = 0, 7

PROGRESS = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_size_t, c.c_size_t)


class Error(c.Structure):
    _fields_ = [("code", c.c_int), ("text", c.c_char * 480)]


class Host(c.Structure):
    _fields_ = [("user", c.c_void_p), ("alloc", c.c_void_p), ("free", c.c_void_p), ("map", c.c_void_p), ("unmap", c.c_void_p),
                ("progress", PROGRESS), ("threads", c.c_int), ("isa", c.c_char_p), ("pack", c.c_size_t)]


class ForgetOptions(c.Structure):
    _fields_ = [("name", c.c_char_p), ("top", c.c_size_t), ("percentile", c.c_double), ("strength", c.c_double), ("has_strength", c.c_int),
                ("min_density", c.c_double), ("min_lift", c.c_double), ("has_window", c.c_int), ("first_step", c.c_size_t), ("end_step", c.c_size_t),
                ("has_half", c.c_int), ("half", c.c_int), ("hook", c.c_char_p)]


class GenerateOptions(c.Structure):
    _fields_ = [("prompts", c.POINTER(c.c_char_p)), ("count", c.c_size_t), ("negative_prompt", c.c_char_p), ("seed", c.c_uint64),
                ("noise_index", c.c_uint64), ("noise", c.c_void_p), ("steps", c.c_size_t), ("guidance", c.c_double), ("has_guidance", c.c_int),
                ("height", c.c_size_t), ("width", c.c_size_t), ("batch", c.c_size_t), ("residual", c.c_int), ("shared", c.c_int), ("map_steps", c.c_int),
                ("tap", c.c_void_p), ("tap_user", c.c_void_p), ("latents", c.c_void_p), ("prompt_embeds", c.c_void_p),
                ("negative_prompt_embeds", c.c_void_p)]


def main():
    p = argparse.ArgumentParser(description="Draws a picture with libsaeuron.")
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--prompt", default="An image of Flame in Mosaic style.")
    p.add_argument("--forget")
    p.add_argument("--stop-after", type=int, metavar="STEPS", help="cancel after so many steps")
    p.add_argument("--library", default=ctypes.util.find_library("saeuron") or "libsaeuron.so")
    a = p.parse_args()
    sae = c.CDLL(a.library)
    sae.saeuron_close.argtypes, sae.saeuron_close.restype = [c.c_void_p], None  # c_void_p: without argtypes a pointer is cut to an int

    def progress(user, stage, done, total):
        print(f"{stage.decode()} {done}/{total}", file=sys.stderr)
        return int(a.stop_after is not None and done >= a.stop_after)

    host = Host(progress=PROGRESS(progress))  # kept alive here: the library calls it until saeuron_close
    prompts = (c.c_char_p * 1)(a.prompt.encode())
    options = GenerateOptions(prompts=prompts, count=1)
    context, err, width, height = c.c_void_p(), Error(), c.c_size_t(), c.c_size_t()
    code = sae.saeuron_open(c.byref(context), c.byref(host), a.model.encode(), c.byref(err))
    if code == SAEURON_OK and a.forget:
        code = sae.saeuron_forget(context, c.byref(ForgetOptions(name=a.forget.encode())), c.byref(err))
    if code == SAEURON_OK:
        code = sae.saeuron_image_size(context, c.byref(options), c.byref(width), c.byref(height), c.byref(err))
    if code == SAEURON_OK:
        rgb = (c.c_ubyte * (width.value * height.value * 3))()
        code = sae.saeuron_generate(context, c.byref(options), rgb, c.byref(err))
    sae.saeuron_close(context)
    if code != SAEURON_OK:
        print(f"example.py: {err.text.decode()}", file=sys.stderr)
        return 3 if code == SAEURON_ECANCEL else 1
    with open(a.out, "wb") as f:
        f.write(b"P6\n%d %d\n255\n" % (width.value, height.value) + bytes(rgb))
    print(a.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
