"""The contracts of what runs: read from the registry, compared, and published.

`running` reads them, `conflicts` holds each against the others, `published` are the documents
that programs fetch; `asyncapi` writes the one for AsyncAPI's tools.
"""
