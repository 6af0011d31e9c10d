"""Between the contract's messages and ours: nothing below has seen a ``_pb2``."""
