"""Kubeconfig files for one test cluster: who speaks to it, with which token.

Written as JSON, which is YAML too, so that every client reads them. Never holds a certificate.
"""

import json
from pathlib import Path


def write_kubeconfig(path: Path, *, url: str, ca_file: Path, token: str) -> Path:
    """A kubeconfig at ``path``, readable by its owner alone, for whoever ``token`` stands for."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [
            {"name": "test", "cluster": {"server": url, "certificate-authority": str(ca_file)}}
        ],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2))
    return path
