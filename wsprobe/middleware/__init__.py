"""Recorders that run inside a process of somebody else: the standard library and their host only."""
