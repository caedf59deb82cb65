"""Streams: the journal followed as it grows, by watches and by durable consumers."""
