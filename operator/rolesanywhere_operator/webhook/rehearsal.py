"""A handshake in memory, before the API server is shown a pair of certificate and key.

What would fail there fails here: a certificate whose time is over or has not come, a key that is
not its own, one that may not serve. Who issued it is not looked at: that is the API server's.
Never opens a socket.
"""

import ssl
from typing import Final

# A TLS 1.3 handshake takes two flights; the rest is for what may come.
_FLIGHTS: Final = 8


def rehearse(server: ssl.SSLContext, certificate: str) -> None:
    """Have a client that trusts the PEM ``certificate`` itself meet ``server``.

    Raises ``ssl.SSLError``, whose text says what was wrong, or ``ValueError`` for what is no PEM.
    """
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        _client(certificate).wrap_bio(theirs, ours, server_side=False),
        server.wrap_bio(ours, theirs, server_side=True),
    )
    done: set[ssl.SSLObject] = set()
    for _ in range(_FLIGHTS):
        for end in ends:
            if end not in done and _is_through(end):
                done.add(end)
        if len(done) == len(ends):
            return
    raise ssl.SSLError("the handshake does not come to its end")


def _client(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    # The leaf itself is trusted, whoever issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _is_through(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
