"""The steps of the tour, one module each."""
