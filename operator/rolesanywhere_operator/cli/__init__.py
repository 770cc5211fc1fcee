"""Commands that answer a question and end: what they read, what they say, how they exit.

They decide nothing: the answers are `domain`'s, the webhook's own.
"""
