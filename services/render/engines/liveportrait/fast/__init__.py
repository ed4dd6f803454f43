"""The exact fast path: the same functions as the plain networks, rewritten for speed.

`frames.FastFrames` is what an engine uses.
"""
