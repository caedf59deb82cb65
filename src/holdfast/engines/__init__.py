"""Engines: ordered stores of bytes behind one contract (`holdfast.engines.base`).

They do not import each other, and know nothing of scopes, records or revisions.
"""
