"""Which click an event goes back to, and which clicks an id may mean."""
