"""Timelines: what one piece of work did, in order, with what led to what."""
