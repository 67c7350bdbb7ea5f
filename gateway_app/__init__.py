"""The gateway: service registry, health records, dead letters, admin, and HTTP into the bus."""
