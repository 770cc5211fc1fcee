"""What is asked on the sidecar's ports, and what is answered: from a connection's bytes to an SDK's
document, and back.

Never asks AWS for anything, and never waits for it.
"""
