"""document-service: keeps documents and tells everybody about new ones."""
