"""What the operator and the sidecar agree on, and nothing else.

================  ====================================================================
``names``         every spelling that both sides (or a user's YAML) share
``arns``          trust anchor, profile and role ARNs, parsed once; service endpoints
``environment``   how a program's settings are read, and every mistake told at once
``settings``      the sidecar's settings and their round trip through the environment
``certselector``  which certificate a user means, of several in files
``pkcs11uri``     which token, certificate and key a user means, and where its PIN is
``hosts``         which host of a URL is one, and which is this machine
``logs``          JSON lines, the same from every program
``errors``        the root of every error that we raise
================  ====================================================================

Standard library only, no I/O: environment, time and files belong to the callers.
"""
