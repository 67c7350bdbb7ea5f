"""What services accept and send, as contracts that can be compared.

A `Contract` is what one version of a service says: the JSON Schemas of what it accepts, answers
and sends. `checking` holds a new one against those that run, `differences` shows what changed
between two, and `inclusion` decides whether a receiver takes all that a sender may send: it reads
schemas by `schema_words`, takes the sender's apart into `plain` alternatives, and compares them
(`scalars`, `containers`). `sources` fetches contracts from a module, a file or a gateway.
"""
