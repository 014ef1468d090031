"""A picture → the array a model's signature asks for: grey or colour, resized, flattened; values 0–255."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from ltai_lab.serving.errors import Refused
from ltai_lab.serving.inputs import Array, InputSpec, conform

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class Layout:
    """How pixels lie in one row of the model's input; height and width None keep the picture's own."""

    height: int | None
    width: int | None
    channels: int
    order: str  # "flat" | "HW" | "HWC" | "CHW"


def image_to_rows(spec: InputSpec, content: bytes) -> Array:
    """One row. Raises Refused when it is no picture or the model takes none."""
    layout = make_layout(row_shape(spec))
    pixels = _pixels(_open(content), layout)
    if layout.order == "flat":
        pixels = pixels.reshape(-1)
    elif layout.order == "CHW":
        pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], layout.channels).transpose(2, 0, 1)
    elif layout.order == "HWC":
        pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], layout.channels)
    return conform(spec, pixels[np.newaxis])


def row_shape(spec: InputSpec) -> tuple[int, ...]:
    """Shape of one row of a model that takes one array. Raises Refused."""
    if len(spec.tensors) == 1 and not spec.named:
        return spec.tensors[0].shape[1:]
    if spec.dtype is not None and spec.columns:
        return (len(spec.columns),)
    if spec.width is not None and not (spec.columns or spec.tensors):
        return (spec.width,)
    raise Refused("a picture cannot be turned into this model's input: its signature is not one array of pixels")


def make_layout(shape: tuple[int, ...]) -> Layout:
    """(64,) → 8×8 grey, flat; (28, 28, 1), (3, 224, 224) … as they say. Raises Refused."""
    if len(shape) == 1:
        return _flat_layout(shape[0])
    if len(shape) == 2:
        return Layout(_size(shape[0]), _size(shape[1]), 1, "HW")
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return Layout(_size(shape[0]), _size(shape[1]), shape[2], "HWC")
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return Layout(_size(shape[1]), _size(shape[2]), shape[0], "CHW")
    raise Refused(f"a picture does not fit a model whose rows have the shape {list(shape)}")


def _flat_layout(length: int) -> Layout:
    for channels in (1, 3):
        side = math.isqrt(max(length, 0) // channels)
        if side > 1 and side * side * channels == length:
            return Layout(side, side, channels, "flat")
    raise Refused(f"a picture does not fit a model with {length} columns: that is no square of grey or RGB pixels")


def _size(length: int) -> int | None:
    return None if length == -1 else length


def _open(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise Refused(f"the picture has {image.width}×{image.height} pixels; at most {MOST_PIXELS // 1_000_000} million are taken")
        image.load()
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise Refused("the file is no picture that can be read (PNG, JPEG, WebP, BMP, GIF, TIFF)") from None


def _pixels(image: Image.Image, layout: Layout) -> Array:
    image = _eight_bits(image)
    if layout.channels != 4 and (image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info):
        # What a viewer shows: transparent places are white paper.
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[layout.channels])
    size = (layout.width or image.width, layout.height or image.height)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its brightness; Pillow's own conversion would clip it at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, dtype=np.float64)
    scale = 257.0 if values.max(initial=0) > 255 else 1.0
    return Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8), mode=None)
