"""The case ``model``: random operations on a store, beside a plain model of it."""
