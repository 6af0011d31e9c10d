"""Realistic traffic for the demo organisation: who visits (``visits``) and how it is sent (``send``)."""
