"""Hosts in URLs: what is one, and which of them is this machine itself.

Never resolves a name.
"""

import ipaddress


def is_host(text: str) -> bool:
    """Whether ``text`` is an IPv6 address in brackets (RFC 3986, 3.2.2), or has no brackets."""
    if not text.startswith("["):
        return True
    try:
        return ipaddress.ip_address(text.strip("[]")).version == 6
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether ``host``, an address without brackets or a name, can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # Names below localhost should be loopback too (RFC 6761, 6.3); not every resolver knows.
        return host == "localhost"
