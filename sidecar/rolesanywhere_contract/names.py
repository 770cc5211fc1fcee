"""Every spelling that both sides, or a user's YAML, share.

Never computes: a name that depends on something belongs to who knows that something.
"""

from typing import Final

# The custom resource.
GROUP: Final = "rolesanywhere.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "RolesAnywhereBinding"
PLURAL: Final = "rolesanywherebindings"

# What a pod's author writes.
INJECT_ANNOTATION: Final = f"{GROUP}/inject"
BINDING_ANNOTATION: Final = f"{GROUP}/binding"
CONTAINERS_ANNOTATION: Final = f"{GROUP}/containers"
SKIP_CONTAINERS_ANNOTATION: Final = f"{GROUP}/skip-containers"

# What we write on an injected pod. Neither is trusted for security.
BINDING_LABEL: Final = f"{GROUP}/binding"
INJECTED_ANNOTATION: Final = f"{GROUP}/injected"

# What we add to an injected pod.
SIDECAR_CONTAINER: Final = "rolesanywhere-sidecar"
IDENTITY_VOLUME: Final = "rolesanywhere-identity"
EMPTY_VOLUME: Final = "rolesanywhere-empty"
TOKEN_VOLUME: Final = "rolesanywhere-token"  # noqa: S105 - the name of a volume
# What a key in hardware takes besides; all volumes that begin so are the sidecar's alone.
PKCS11_VOLUMES: Final = "rolesanywhere-pkcs11-"
PKCS11_DIRECTORY: Final = "/var/run/rolesanywhere-pkcs11"
PKCS11_STATE_DIRECTORY: Final = f"{PKCS11_DIRECTORY}/state"
PIN_LATCH_PATH: Final = f"{PKCS11_STATE_DIRECTORY}/refused-pins"
# tpm2-pkcs11's own variables: where its store is, and where it may lock it.
TPM_STORE: Final = "TPM2_PKCS11_STORE"
TPM_LOCKS: Final = "PKCS11_SQL_LOCK"
# The authorities that the endpoint's TLS is to chain to; the sidecar's alone.
CA_BUNDLE_VOLUME: Final = "rolesanywhere-ca-bundle"
CA_BUNDLE_DIRECTORY: Final = "/var/run/rolesanywhere-ca-bundle"
CA_BUNDLE_FILE: Final = "ca.crt"
CA_BUNDLE_PATH: Final = f"{CA_BUNDLE_DIRECTORY}/{CA_BUNDLE_FILE}"
IDENTITY_DIRECTORY: Final = "/var/run/secrets/rolesanywhere-identity"
TOKEN_DIRECTORY: Final = "/var/run/secrets/rolesanywhere"  # noqa: S105 - a folder
TOKEN_PATH: Final = f"{TOKEN_DIRECTORY}/token"
SESSION_PATH: Final = f"{TOKEN_DIRECTORY}/session"

# Where the sidecar listens: credentials on loopback, probes (no secrets) on the pod's address.
CREDENTIALS_PORT: Final = 9911
PROBE_PORT: Final = 9912
CREDENTIALS_PATH: Final = "/v1/credentials"
LIVENESS_PATH: Final = "/livez"
READINESS_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"

# The sidecar's settings in its environment are this prefix and the setting's name.
ENVIRONMENT_PREFIX: Final = "ROLESANYWHERE_"
