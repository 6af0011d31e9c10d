"""What a command says when it cannot go on."""


class CommandError(Exception):
    """A command cannot go on. ``main`` prints its text, which says what to do about it, and exits with 1."""
