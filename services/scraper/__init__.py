"""Example service: scraper."""
