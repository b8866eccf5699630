"""Event files in, one frame out: JSON, JSON Lines and Parquet become a Polars frame, nested columns
flat ones.

May import: `nbsrc.support`, nothing else of `nbsrc`.
A new format of files is a module beside `parquet`; what its values become is decided in `kinds`.
"""
