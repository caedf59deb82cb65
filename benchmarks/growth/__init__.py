"""What becomes slower, or larger, as a store grows. Run ``python -m benchmarks.growth``.

Each store is filled by one process and measured by another, so that memory is that of a process
which has only opened it.
"""
