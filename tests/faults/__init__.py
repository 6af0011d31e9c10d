"""Kills and breaks a real mesh under load, and compares what clients were told with what the store holds.

``ledger`` is the clients' memory, ``client`` sends and fills it, ``store`` reads the events back from the engine,
``verdict`` compares the two, ``mutants`` are builds with a broken promise that the comparison must convict.
"""
