"""HTTP into the bus: matching, requests, problem responses, probes."""
