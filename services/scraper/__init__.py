"""scraper-service: fetches free-zone pages from the web and hands them to document-service."""
