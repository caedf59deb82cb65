"""Observation: counting, timing, tracing and logging what the store does."""
