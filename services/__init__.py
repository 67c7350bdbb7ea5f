"""Example services: small, real, and worth copying. They know the bus, and nothing else."""
