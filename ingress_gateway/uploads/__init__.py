"""Conversions from a file: received to disk, looked through, and recorded row by row."""
