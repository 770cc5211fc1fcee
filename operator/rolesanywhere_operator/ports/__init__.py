"""What it takes to answer on a port: HTTP/1.1, TLS, and connections that come and go.

Never decides what is answered: whoever opens a port brings a `messages.Site`.
"""
