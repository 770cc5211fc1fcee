"""Identities in tokens: certificates and keys that a PKCS#11 URI names.

Only the child process loads a module, and nothing else here imports ``pkcs11``.
"""
