"""When a session is renewed, by whom, and what is kept of it.

Knows that sessions come from somewhere, and not from where.
"""
