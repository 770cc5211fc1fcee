"""The cluster itself keeps what Kubernetes promises, so that a case that fails is about us."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.cluster.kubectl import PATIENCE, KubectlFailed
from tests.e2e import pods
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.configuration import NETWORK
from tests.support.waiting import eventually

ASKED_SECONDS = 180
SERVER = """
import http.server, signal
signal.signal(signal.SIGTERM, lambda *_: exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"from the sidecar")
http.server.HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
ASK = """
import time, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080").read().decode(), flush=True)
time.sleep(3600)
"""


def test_a_native_sidecar_is_up_before_the_app_starts(
    cluster: Cluster, namespace: str, python_image: str
) -> None:
    sidecar = pods.python(
        "sidecar", python_image, SERVER, restartPolicy="Always",
        startupProbe={"httpGet": {"port": 8080}, "periodSeconds": 1},
    )  # fmt: skip
    app = pods.python("app", python_image, ASK)
    cluster.apply(json.dumps(pods.pod("web", app, initContainers=[sidecar])), namespace=namespace)

    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod/web", f"--namespace={namespace}", PATIENCE
    )

    eventually(
        "the app's first words",
        lambda: cluster.kubectl("logs", "web", "--container=app", f"--namespace={namespace}"),
    )
    said = cluster.kubectl("logs", "web", "--container=app", f"--namespace={namespace}")
    assert said == "from the sidecar\n"
    assert cluster.execute("web", "id", "-u", namespace=namespace, container="app") == "0\n"


def test_a_pod_reaches_another_by_the_name_of_its_service(
    cluster: Cluster, namespace: str, python_image: str
) -> None:
    web = pods.pod("web", pods.python("web", python_image, SERVER))
    caller = pods.pod("caller", pods.container("caller", python_image, "sleep", "3600"))
    cluster.apply(
        json.dumps(pods.items(web, pods.service("web", 8080), caller)), namespace=namespace
    )
    cluster.kubectl(
        "wait",
        "--for=condition=Ready",
        "pod/web",
        "pod/caller",
        f"--namespace={namespace}",
        PATIENCE,
    )
    url = f"http://web.{namespace}.svc:8080"
    program = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=2).read())"

    def ask() -> str:
        try:
            return cluster.execute("caller", "python3", "-c", program, namespace=namespace)
        except KubectlFailed:  # kube-proxy hears of a Ready pod a moment after everyone else.
            return ""

    assert eventually("the Service leads to the pod", ask) == "b'from the sidecar'\n"


def test_a_pod_reaches_a_server_of_the_tests_own_process(
    cluster: Cluster, namespace: str, python_image: str
) -> None:
    class Handler(BaseHTTPRequestHandler):
        timeout = ASKED_SECONDS

        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

    listener = cluster.sandbox.open_socket()
    listener.bind((NETWORK.address, 0))
    listener.listen()
    with HTTPServer(("", 0), Handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        server.timeout = ASKED_SECONDS
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://{NETWORK.address}:{listener.getsockname()[1]}"
        program = f"import urllib.request as u; print(u.urlopen({url!r}).status)"
        job = pods.pod("caller", pods.python("c", python_image, program), restartPolicy="Never")
        cluster.apply(json.dumps(job), namespace=namespace)
        thread.join()

    def said() -> str:
        phase = cluster.kubectl.get("pod/caller", f"--namespace={namespace}")["status"]["phase"]
        return "204\n" if phase == "Succeeded" else ""

    eventually("the pod has asked", said)
    assert cluster.kubectl("logs", "caller", f"--namespace={namespace}") == "204\n"
