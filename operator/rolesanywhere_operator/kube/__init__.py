"""The only rooms that talk to the API server.

They know HTTP, lists and watches; what a binding means is none of their business.
"""
