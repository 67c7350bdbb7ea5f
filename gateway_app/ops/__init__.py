"""The operator pages under ``/ops/``: what is shown, how it is kept current, and who may act.

`pages` lists them. Each is made of regions; a region has a function that reads what it shows and a
template that shows it, and is the unit of what is sent again when it changes.
"""
