"""What the operator decides, as functions of their arguments.

Nothing here reads a file, a clock or the network; nothing here is a coroutine.
"""
