"""``ltai start --demo``: a small school to try everything with."""

from ltai_hub.demo.school import DemoAccount, make_demo_school

__all__ = ["DemoAccount", "make_demo_school"]
