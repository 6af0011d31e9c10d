"""What organisations say about their parameters."""


class MappingMethods:
    """The RPCs of mappings."""
