"""The image a job or an endpoint runs in is built on first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ltai_hub.backends.base import RunsContainers
from ltai_hub.catalog.image_state import ImagePhase, ImageState
from ltai_hub.catalog.images import build_image, image_state
from ltai_hub.domain.catalog import Catalog, Image
from ltai_hub.errors import BadWorkload, NotFound, Problem
from ltai_hub.service import Platform


def check_catalog(catalog: Catalog, flavor: str, image: str) -> None:
    """It may have waited while rows were taken out. Raises BadWorkload."""
    try:
        catalog.get_flavor(flavor)
        catalog.get_image(image)
    except NotFound as problem:
        raise BadWorkload(f"{problem.message}; it was taken out of the catalogue") from problem


def state_of(platform: Platform, image: Image) -> ImageState:
    """A container is as good as ready: the node that needs it pulls it."""
    if isinstance(platform.backend, RunsContainers):
        return ImageState(ImagePhase.READY, 1.0)
    return image_state(platform.settings.folder, image)


async def ensure_image(platform: Platform, name: str, say: Callable[[str], None]) -> None:
    """Returns at once when it is ready or the nodes pull it; else builds it and ``say``s, in a thread, how far it is.

    Raises BadWorkload with uv's words.
    """
    image = platform.catalog.get_image(name)
    folder = platform.settings.folder
    if state_of(platform, image).state is ImagePhase.READY:
        return

    loop = asyncio.get_running_loop()

    def tell(state: ImageState) -> None:
        loop.run_in_executor(None, say, f"the image {name} is being built, {state.progress:.0%}: {state.message}".rstrip(": "))

    await asyncio.to_thread(say, f"the image {name} is being built")
    try:
        await build_image(folder, image, tell)
    except Problem as problem:
        raise BadWorkload(f"the image {name} could not be built: {problem.message}") from problem
