"""The Celery side: what `celery -A services.user worker` runs."""
