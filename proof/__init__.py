"""The proof suite: crashes, faults, anomalies and long runs, for anyone to rerun.

``make proof`` runs the quick form, ``make proof ARGS=--long`` the long one. A *case* is one claim;
a *trial* is one seeded attempt to refute it. ``docs/proof.md`` tells what was run and found.
"""
