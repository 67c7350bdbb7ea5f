"""A shop of five services that talk over the bus; README.md tells its story."""
