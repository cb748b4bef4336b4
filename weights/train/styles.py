"""The ten styles: image filters of a 128 x 128 RGB picture in 0..1, and the halving to 64 x 64.

Not here: what is drawn. A filter is `f(picture, rng) -> picture`; the random part (phase, grain, snow) is drawn
anew each time, so a style is never one fixed overlay. White background counts as background everywhere.
"""
import numpy as np
from scipy import ndimage

from art import SIZE
from common import STYLES

ROW, COLUMN = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def grey(x):
    return x @ np.array([0.299, 0.587, 0.114], np.float32)


def outline(x, blur=1.0):
    """Strength of the strongest channel's edge, 0..1."""
    soft = ndimage.gaussian_filter(x, (blur, blur, 0))
    steps = [np.hypot(ndimage.sobel(soft[..., c], 0), ndimage.sobel(soft[..., c], 1)) for c in range(3)]
    return np.clip(1.2 * np.max(steps, 0), 0, 1)


def background(x):
    """1 where the picture is white."""
    return (x.min(-1) > 0.93).astype(np.float32)


def mix(a, b, t):
    return a + (b - a) * t[..., None]


def gradient(v, *colours):
    """v in 0..1 looked up in evenly spaced colours (0..255)."""
    stops = np.array(colours, np.float32) / 255
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(v, at, stops[:, c]) for c in range(3)], -1).astype(np.float32)


def grain(rng, width):
    """Smooth noise in 0..1."""
    n = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)).astype(np.float32), width)
    return (n - n.min()) / (n.max() - n.min() + 1e-6)


def seed_images(x, rng):
    return x


def bricks(x, rng):
    """A wall: warm tint, mortar joints every 12 rows and 24 columns, courses shifted by half a brick."""
    course = ROW // 12
    joint = (ROW % 12 < 2) | ((COLUMN + (course % 2) * 12) % 24 < 2)
    y = x * np.array([0.62, 0.45, 0.37], np.float32) + np.array([0.27, 0.11, 0.08], np.float32)
    y = y * (0.9 + 0.2 * grain(rng, 1.0))[..., None]
    return np.where(joint[..., None], np.float32(0.82), y)


def glowing_sunset(x, rng):
    """Dusk from violet to gold behind a dimmed picture."""
    sky = gradient(ROW / SIZE, (60, 20, 110), (200, 50, 110), (255, 130, 50), (255, 210, 90))
    return mix(0.45 * x + 0.35 * sky, sky, background(x))


def ink_art(x, rng):
    """Black brush on cream paper: thresholded luminance and outlines."""
    tone = ndimage.gaussian_filter(grey(x), 1.2) + 0.25 * (grain(rng, 4) - 0.5)
    ink = 1 / (1 + np.exp(22 * (tone - 0.62)))
    paper = np.ones_like(x) * np.array([0.95, 0.92, 0.84], np.float32)
    return mix(paper, np.full_like(x, 0.05), np.clip(ink + 0.8 * outline(x), 0, 1))


def mosaic(x, rng):
    """Square tiles of 8 pixels, each of one slightly varied colour, dark joints."""
    n = SIZE // 8
    tile = x.reshape(n, 8, n, 8, 3).mean((1, 3)) * (0.9 + 0.2 * rng.random((n, n, 1), np.float32))
    y = tile.repeat(8, 0).repeat(8, 1)
    return np.where(((ROW % 8 < 1.5) | (COLUMN % 8 < 1.5))[..., None], np.float32(0.35), y)


def neon_lines(x, rng):
    """Glowing outlines in rainbow order along the diagonal, on near-black."""
    line = outline(x)
    hue = (ROW + COLUMN) / SIZE * 3.1
    colour = np.stack([0.5 + 0.5 * np.cos(hue + p) for p in (0.0, 2.1, 4.2)], -1)
    light = np.clip(1.5 * line, 0, 1) + 1.2 * ndimage.gaussian_filter(line, 2.5)
    return colour * light[..., None] + np.array([0.02, 0.0, 0.06], np.float32)


def on_fire(x, rng):
    """Darkness of the picture as heat, licked by noise that grows downwards."""
    heat = 0.85 * (1 - ndimage.gaussian_filter(grey(x), 0.8)) + 0.35 * grain(rng, 5) * ROW / SIZE + 0.25 * outline(x)
    return gradient(np.clip(heat, 0, 1), (15, 0, 0), (120, 5, 0), (230, 60, 0), (255, 170, 20), (255, 245, 170))


def pop_art(x, rng):
    """Three levels a channel, thick black outlines, yellow ground with red dots."""
    y = 1.3 * (np.round(2 * x) / 2) - 0.15
    dot = ((ROW % 8 - 4) ** 2 + (COLUMN % 8 - 4) ** 2 < 5)[..., None]
    yellow, red = np.array([1.0, 0.955, -0.02], np.float32), np.array([1.0, 0.11, 0.435], np.float32)
    y = np.where(background(x)[..., None] > 0, np.where(dot, red, yellow), y)
    return np.where(outline(x)[..., None] > 0.55, np.float32(0), y)


def rust(x, rng):
    """Luminance as corroded iron."""
    tone = 0.75 * grey(x) + 0.35 * (grain(rng, 1.5) - 0.35)
    return gradient(np.clip(tone, 0, 1), (30, 12, 8), (95, 40, 18), (165, 78, 30), (205, 125, 70), (150, 140, 125))


def sketch(x, rng):
    """Pencil on white: thick outlines, diagonal hatching where it is dark."""
    line = ndimage.grey_dilation(outline(x), size=(2, 2))
    hatch = 0.5 + 0.5 * np.sin(0.9 * (ROW + COLUMN) + 6 * rng.random())
    y = 1 - np.clip(1.3 * line, 0, 1) - 0.28 * (1 - grey(x)) * hatch
    return np.repeat(y[..., None], 3, -1)


def winter(x, rng):
    """Cold light, falling snow, snow on the ground."""
    y = 0.45 * x + 0.55 * gradient(grey(x), (20, 45, 90), (90, 140, 190), (200, 225, 245))
    y = y * (1 - 0.15 * background(x))[..., None]
    flakes = ndimage.grey_dilation((rng.random((SIZE, SIZE)) > 0.988).astype(np.float32), size=(3, 3))
    return mix(y, np.ones_like(x), np.clip(flakes + np.clip((ROW - 0.86 * SIZE) / 10, 0, 1), 0, 1))


FILTERS = [globals()[s.lower()] for s in STYLES]


def picture(x, style, rng):
    """The 64 x 64 uint8 picture of a canvas [SIZE,SIZE,3] in style number `style`."""
    y = np.clip(FILTERS[style](x, rng), 0, 1)
    half = y.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean((1, 3))
    return (255 * half + 0.5).astype(np.uint8)
