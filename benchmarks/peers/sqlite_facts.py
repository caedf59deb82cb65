"""What SQLite's numbers for ``PRAGMA synchronous`` mean."""

SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
