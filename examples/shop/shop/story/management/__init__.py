"""Commands of the story."""
