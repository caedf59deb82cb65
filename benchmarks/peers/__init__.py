"""Holdfast beside other stores that agents keep state in. Run ``python -m benchmarks.peers``.

Every contender does the same work in one interleaved run, beside contenders of the same
durability: what a set that has returned survives says more about its time than any code does.
"""
