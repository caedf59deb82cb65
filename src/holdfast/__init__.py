"""Holdfast: the durable state layer for AI agents, workflows and sessions."""

__version__ = "0.1.0"
