"""What several commands and models need: files written whole or not at all, tensors on disk,
messages in one line.

May import: nothing of `nbsrc`.
A helper moves here when a second room needs it, not before.
"""
