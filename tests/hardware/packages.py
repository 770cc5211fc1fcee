"""The Debian packages that stand in for hardware: a soft HSM, a soft TPM, and ways to them.

Names them and nothing more: `tests.support.debian` installs.
"""

from typing import Final

from tests.support import debian

# An HSM, and OpenSC's pkcs11-tool that makes its keys.
HSM: Final = ("softhsm2", "opensc")

# A TPM 2.0 with its resource manager, and the module and tool that make a token of it.
TPM: Final = (
    "swtpm",
    "dbus-daemon",
    "tpm2-abrmd",
    "libtss2-tcti-swtpm0",
    "libtss2-tcti-tabrmd0",
    "libtpm2-pkcs11-1",
    "libtpm2-pkcs11-tools",
    "tpm2-tools",
)

# p11-kit's server, the module that is its client, and what gives a client a mount of its folder.
SERVER: Final = ("p11-kit", "p11-kit-modules", "mount")

# A compiler and PKCS#11's header, for the module that fails when it is told to.
COMPILER: Final = ("gcc", "libc6-dev", "libp11-kit-dev")

# What guides ask for besides: they make keys and certificates, and edit JSON.
GUIDES: Final = ("gnutls-bin", "jq", "openssl")


def install() -> None:
    """Install all of them. Raises `ToolMissing`."""
    debian.packages(*HSM, *TPM, *SERVER, *COMPILER, *GUIDES)
