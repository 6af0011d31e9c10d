"""Conversions credited to touches: of one visitor, of all, and step by step."""
