"""The tour of `make demo`: what the system does, played step by step on a private copy of it.

A step is a module of `gateway_app.tour.steps` with one `Step`; `program.STEPS` lists them. What
plays them (`playing`, `command`, `stage`, `sandbox`, `screen`) also plays others: examples/shop.
"""
