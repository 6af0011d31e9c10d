"""Behaviour: funnels, retention, journeys and paths."""


class BehaviorMethods:
    """The RPCs of what visitors do one after the other."""
