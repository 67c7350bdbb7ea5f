"""What flows over the bus: samples from heartbeats, their sums, and how to read them."""
