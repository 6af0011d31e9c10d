"""The last hour and the day, asked for and pushed."""


class RealtimeMethods:
    """The RPCs of what is going on."""
