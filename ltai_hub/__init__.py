"""LtAI: the multi-tenant AI development platform on JupyterHub (hub side)."""

__version__ = "0.1.0"
