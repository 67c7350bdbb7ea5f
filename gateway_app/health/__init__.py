"""Health rounds: services asked by message, instances over HTTP, and what follows from it."""
