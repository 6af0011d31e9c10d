"""Starts the stores of one machine from wheels, so that nobody has to set one up."""
