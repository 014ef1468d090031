"""The image a job or an endpoint runs in is built on first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ltai_hub.catalog.image_state import ImagePhase, ImageState
from ltai_hub.catalog.images import build_image, image_state
from ltai_hub.errors import BadWorkload, Problem
from ltai_hub.service import Platform


async def ensure_image(platform: Platform, name: str, say: Callable[[str], None]) -> None:
    """Returns at once when it is ready; else builds it and ``say``s, in a thread, how far it is. Raises BadWorkload with uv's words."""
    image = platform.catalog.get_image(name)
    folder = platform.settings.folder
    if image_state(folder, image).state is ImagePhase.READY:
        return

    loop = asyncio.get_running_loop()

    def tell(state: ImageState) -> None:
        loop.run_in_executor(None, say, f"the image {name} is being built, {state.progress:.0%}: {state.message}".rstrip(": "))

    await asyncio.to_thread(say, f"the image {name} is being built")
    try:
        await build_image(folder, image, tell)
    except Problem as problem:
        raise BadWorkload(f"the image {name} could not be built: {problem.message}") from problem
