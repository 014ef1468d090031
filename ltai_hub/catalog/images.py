"""Images of local mode in one place: look (``image_state``), build (``build_image``), use (``image_python``)."""

from ltai_hub.catalog.build import build_image
from ltai_hub.catalog.image_state import ImagePhase, ImageState, first_images, image_log, image_packages, image_python, image_state

__all__ = [
    "ImagePhase",
    "ImageState",
    "build_image",
    "first_images",
    "image_log",
    "image_packages",
    "image_python",
    "image_state",
]
