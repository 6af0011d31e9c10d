"""Who is one person: edges between the ends that events name, and what follows from them.

Deterministic only: an edge says that one event named both of its ends. Nothing is guessed from addresses or browsers.
"""
