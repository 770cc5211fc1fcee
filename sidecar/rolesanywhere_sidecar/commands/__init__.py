"""The commands beside ``serve``, and the command line that all of them share.

Each command is a module with a ``main`` that returns an exit code. What keeps a session fresh and
serves it is elsewhere: ``app`` joins that.
"""
