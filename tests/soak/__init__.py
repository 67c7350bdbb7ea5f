"""A soak: mixed traffic for as long as wanted, with faults of every kind in turn.

`__main__` runs it, `traffic` and `service` are the two ends of the messages, `faults` is what
happens to them, `evidence` what is found afterwards and `verdict` what is made of it.
"""
