"""The way to IAM Roles Anywhere: CreateSession, and the connection that carries it.

Never holds a session: what comes back is handed on.
"""
