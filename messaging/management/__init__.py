"""Commands for every Django project that uses the bus."""
