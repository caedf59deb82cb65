"""Streams: following the journal as it grows, once (`watch`) or for good (consumers)."""
