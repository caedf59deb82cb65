"""Benchmarks: Holdfast against the raw engines, as ratios. Run ``python -m benchmarks``.

A figure without its yardstick says more about the machine than about Holdfast, so every case does
the same work twice, on Holdfast and on the bare engine underneath, in one interleaved run.
"""
