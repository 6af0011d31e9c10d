"""The HTTP routes: what is captured, what is managed and queried, what tells about the gateway itself."""
