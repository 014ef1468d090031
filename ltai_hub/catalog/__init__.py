"""The catalogue: ``spawner_profiles/*.yaml`` → domain objects, and images built from its rows."""

from ltai_hub.catalog.load import check, load_catalog
from ltai_hub.catalog.mistakes import Mistake

__all__ = ["Mistake", "check", "load_catalog"]
