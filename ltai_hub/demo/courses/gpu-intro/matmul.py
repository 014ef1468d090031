"""Multiply matrices for some seconds and say how fast it went: ``python matmul.py --seconds 10``."""

from __future__ import annotations

import argparse
import os
import time

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description="Multiply matrices for some seconds.")
    parser.add_argument("--size", type=int, default=512, help="rows and columns (default 512)")
    parser.add_argument("--seconds", type=float, default=5, help="how long (default 5)")
    options = parser.parse_args()
    print(f"devices: {os.environ.get('CUDA_VISIBLE_DEVICES') or 'none'}", flush=True)
    matrix = np.random.default_rng(7).random((options.size, options.size), dtype=np.float32)
    began, last, products = time.monotonic(), time.monotonic(), 0
    while time.monotonic() - began < options.seconds:
        matrix @ matrix
        products += 1
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            print(f"{last - began:5.1f} s  {products} products", flush=True)
    speed = products * 2 * options.size**3 / (time.monotonic() - began) / 1e9
    print(f"{speed:.1f} GFLOP/s", flush=True)


if __name__ == "__main__":
    main()
