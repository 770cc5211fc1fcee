"""Who we are: certificates and private keys, from bytes on disk to a pair that can sign.

Never asks the service whether it agrees.
"""
