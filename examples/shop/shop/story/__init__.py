"""The story that `make shop` plays: what the shop does, and what happens to it."""
