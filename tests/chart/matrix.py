"""Values that somebody may want otherwise: one set for each thing, and all of them together."""

from typing import Any, Final

CA: Final = "-----BEGIN CERTIFICATE-----\nbm90IHJlYWxseQ==\n-----END CERTIFICATE-----\n"

EVERY_MONITOR: Final[dict[str, Any]] = {
    name: {"enabled": True, "labels": {"release": "prometheus"}, "annotations": {"a": "b"}}
    for name in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")
}

SCHEDULING: Final[dict[str, Any]] = {
    "nodeSelector": {"role": "infra"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "zone"}],
    "priorityClassName": "important",
    "annotations": {"reloader": "yes"},
    "podAnnotations": {"scrape": "yes"},
    "podLabels": {"team": "platform", "app.kubernetes.io/name": "not mine"},
    "serviceAccount": {"annotations": {"note": "x"}, "labels": {"team": "platform"}},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "strategy": {"type": "Recreate"},
    "livenessProbe": {"timeoutSeconds": 7},
    "podDisruptionBudget": {"enabled": True, "minAvailable": "50%"},
    "resources": {"requests": {"cpu": 1}, "limits": None},
}

MATRIX: Final[dict[str, dict[str, Any]]] = {
    "as it comes": {},
    "one of each": {"webhook": {"replicas": 1}, "controller": {"replicas": 1}},
    "another name": {"nameOverride": "ira", "commonLabels": {"team": "platform"}},
    "a whole name": {"fullnameOverride": "credentials"},
    "no schema": {"crds": {"install": False}},
    "a mirror": {"images": {"registry": "mirror.example:5000/aws", "pullSecrets": ["mirror"]}},
    "digests": {"images": {"digests": {"operator": f"sha256:{'a' * 64}"}}},
    "from a parent chart": {"global": {"imageRegistry": "r.example", "imagePullSecrets": ["r"]}},
    "a certificate of one's own": {
        "webhook": {"certificate": {"source": "secret", "secretName": "s", "caBundle": CA}}
    },
    "cert-manager's certificate": {"webhook": {"certificate": {"source": "certManager"}}},
    "other sidecars": {
        "sidecar": {"resources": {"limits": {"memory": "256Mi", "cpu": 1}}, "logLevel": "warning"}
    },
    "sidecars behind a proxy": {
        "sidecar": {
            "proxy": {
                "url": "http://proxy.example:3128",
                "noProxy": [".corp.example", "10.0.0.0/8"],
            },
            "caBundle": {"configMap": {"name": "corp-authorities", "key": "bundle.pem"}},
        }
    },
    "another trust domain": {"trustDomain": "prod.example"},
    "the webhook elsewhere": {"webhook": SCHEDULING},
    "the controller elsewhere": {"controller": SCHEDULING},
    "the node's network": {"webhook": {"hostNetwork": True, "port": 10443, "probePort": 10081}},
    "somebody else's accounts": {
        "rbac": {"create": False},
        "webhook": {"serviceAccount": {"create": False, "name": "theirs"}},
        "controller": {"serviceAccount": {"create": False, "name": "theirs-too"}},
    },
    "selectors": {
        "webhook": {
            "namespaceSelector": {"matchLabels": {"team": "a"}},
            "objectSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]},
            "failurePolicy": "Ignore",
            "configurationAnnotations": {"note": "x"},
        }
    },
    "a policy of the network": {
        "networkPolicy": {
            "enabled": True,
            "webhookFrom": [{"ipBlock": {"cidr": "192.0.2.0/28"}}],
            "metricsFrom": [{"namespaceSelector": {}}],
            "apiServerTo": [{"ipBlock": {"cidr": "192.0.2.0/28"}}],
            "apiServerPorts": [6443],
            "dnsTo": [{"namespaceSelector": {}}],
            "extraIngress": [{"ports": [{"port": 1}]}],
            "extraEgress": [{"ports": [{"port": 2}]}],
        }
    },
    "monitored": {"monitoring": EVERY_MONITOR},
    "folders of nodes": {"pkcs11": {"hostPaths": ["/opt/vendor", "/run/p11-kit"]}},
    "a p11-kit server": {
        "pkcs11Server": {
            "enabled": True,
            "namespace": "hsm",
            "token": "pkcs11:serial=0102;model=x",
            "deviceResource": "example.com/tpm",
            "store": "/var/lib/tpm2-pkcs11",
            "hostPaths": ["/opt/vendor"],
            "supplementalGroups": [109],
            "tolerations": [{"operator": "Exists"}],
            "podLabels": {"team": "platform"},
        }
    },
    "no policy on bindings": {"bindings": {"requireAssume": False}},
}


def everything() -> dict[str, Any]:
    """All of them together; of two that say the same, the later one."""
    merged: dict[str, Any] = {}
    for values in MATRIX.values():
        for name, given in values.items():
            merged[name] = merged.get(name, {}) | given if isinstance(given, dict) else given
    return merged
