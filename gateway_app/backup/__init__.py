"""Backup and restore of an installation on SQLite files, its broker among them.

`files` says which they are, `taking` copies both as they are at one instant while the bus runs,
`manifest` is what a backup says of itself, and `restoring` puts one in the place of the present
files of an installation that is stopped. docs/production.md says what a restore may repeat.
"""
