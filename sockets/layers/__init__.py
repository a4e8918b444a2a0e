"""Channel layers: wake-ups between the code that publishes and the sessions of a node.

A layer is never the guarantee (that is the stream); it may lose a message and say so.
"""
