"""What an organisation says of its parameters: previewed, applied to history, undone."""
