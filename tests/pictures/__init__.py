"""Pictures of the operator pages for the documents: ``make pictures``.

A scene is played on a real stack: six services under traffic, one that fails on some of what it
gets, one that is too slow for what comes, one instance that is killed. Then every page is
photographed, light and dark.
"""
