"""The Lease of an election in the Kubernetes API: read it, replace it by version.

Needs the verbs ``get``, ``update`` and ``create`` on this one name: a PUT of a Lease that does not
exist creates it, and then the API server asks for ``create`` with the name, which a POST never has.
Never retries and never decides.
"""

from rolesanywhere_operator.kube.client import Json, Kube
from rolesanywhere_operator.kube.elector import LeaseConflict
from rolesanywhere_operator.kube.errors import Conflict, NotFound
from rolesanywhere_operator.kube.lease import Record


class KubernetesLease:
    """The Lease ``namespace``/``name``, as a `rolesanywhere_operator.kube.elector.LeaseStore`."""

    def __init__(self, kube: Kube, *, namespace: str, name: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"

    async def read(self) -> Record | None:
        """Raises `KubeError` for every answer but 200 and 404."""
        try:
            return record_of(await self._kube.get(self._path))
        except NotFound:
            return None

    async def write(self, record: Record) -> Record:
        """Raises `LeaseConflict`, or `KubeError` for every other refusal."""
        body = manifest(record, namespace=self._namespace, name=self._name)
        try:
            return record_of(await self._kube.request("PUT", self._path, body=body))
        except Conflict as raced:
            raise LeaseConflict(raced.problem) from raced


def record_of(lease: Json) -> Record:
    """What ``lease`` says; a field that nobody has set is as if it said nothing."""
    spec = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        duration=spec.get("leaseDurationSeconds") or 0,
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
        transitions=spec.get("leaseTransitions") or 0,
        version=lease["metadata"]["resourceVersion"],
    )


def manifest(record: Record, *, namespace: str, name: str) -> Json:
    """``record`` as the object to PUT, with the version that it replaces."""
    metadata = {"name": name, "namespace": namespace}
    if record.version:
        metadata["resourceVersion"] = record.version
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration,
            "acquireTime": record.acquired,
            "renewTime": record.renewed,
            "leaseTransitions": record.transitions,
        },
    }
