"""Bindings in, sidecars out: the admission webhook and the controller of Roles Anywhere bindings.

Never holds a key, a Secret or a credential: those meet in the sidecar alone.
"""
