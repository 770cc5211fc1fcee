# Three images from one file; plain enough for docker, podman and buildah.
#
#   docker build --target sidecar         -t rolesanywhere-sidecar .
#   docker build --target sidecar-pkcs11  -t rolesanywhere-sidecar-pkcs11 .
#   docker build --target operator        -t rolesanywhere-operator .
#
# BASE_IMAGE is any image with Python 3.11 or newer as python3, with its venv module; for
# sidecar-pkcs11, whose modules are Debian's packages, one of Debian. The last stages run nothing but
# Python: what builds and installs stays behind in the stages before.

ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS installer
RUN python3 -m venv /installer
WORKDIR /build
# No compiler is here on purpose: a requirement without a wheel fails the build instead of hiding.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all:

FROM installer AS sidecar-app
COPY requirements/sidecar.txt .
RUN /installer/bin/pip install --no-compile --no-deps --require-hashes --target /app --requirement sidecar.txt
COPY sidecar/rolesanywhere_contract /app/rolesanywhere_contract
COPY sidecar/rolesanywhere_sidecar /app/rolesanywhere_sidecar
# Compiled here, because a container with a read-only root could never keep what it compiled.
RUN python3 -m compileall -q /app && rm -rf /app/bin

FROM installer AS sidecar-pkcs11-app
COPY requirements/pkcs11.txt .
RUN /installer/bin/pip install --no-compile --no-deps --require-hashes --target /app --requirement pkcs11.txt
COPY sidecar/rolesanywhere_contract /app/rolesanywhere_contract
COPY sidecar/rolesanywhere_sidecar /app/rolesanywhere_sidecar
RUN python3 -m compileall -q /app && rm -rf /app/bin

FROM installer AS operator-app
COPY requirements/operator.txt .
RUN /installer/bin/pip install --no-compile --no-deps --require-hashes --target /app --requirement operator.txt
# Of the Kubernetes client we have the connection, and nothing loads its classes for every kind of
# object, which are two thirds of all that is installed here.
RUN cd /app/kubernetes && rm -r client/api/[!_]* client/models/[!_]* aio/client/api/[!_]* aio/client/models/[!_]* \
    && find . -name '*_test.py' -delete
COPY sidecar/rolesanywhere_contract /app/rolesanywhere_contract
COPY operator/rolesanywhere_operator /app/rolesanywhere_operator
RUN python3 -m compileall -q /app && rm -rf /app/bin
# A newer client that loads one of them after all fails here, and not in a cluster.
RUN PYTHONPATH=/app python3 -c "import rolesanywhere_operator.controller.app, rolesanywhere_operator.webhook.app, rolesanywhere_operator.cli.commands"

FROM ${BASE_IMAGE} AS runtime
# Python images bring pip along, or the means to make it; nothing here may install at run time.
RUN python3 -c "import importlib.util as util, shutil; [shutil.rmtree(spec.submodule_search_locations[0]) for spec in map(util.find_spec, ('pip', 'setuptools', 'ensurepip')) if spec]" \
    && rm -rf /usr/local/bin/pip* /usr/share/python-wheels
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /app

FROM runtime AS operator
COPY --from=operator-app /app /app
ENTRYPOINT ["python3", "-m", "rolesanywhere_operator"]

FROM runtime AS sidecar
COPY --from=sidecar-app /app /app
ENTRYPOINT ["python3", "-m", "rolesanywhere_sidecar"]
CMD ["serve"]

# The same, and what keys in hardware take: p11-kit's client, proxy and server, tpm2-pkcs11 with its
# ways to a TPM, and OpenSC for smart cards. /usr/lib/pkcs11 is their folder whatever the processor.
# udev comes along for the device's group on a host; no container has one, and it is a third of all.
# Its files go and its record stays: images that are built on this one install packages of their own.
FROM runtime AS sidecar-pkcs11
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends p11-kit p11-kit-modules libtpm2-pkcs11-1 libtss2-tcti-device0 libtss2-tcti-tabrmd0 opensc-pkcs11 \
    && ln -s "$(dirname /usr/lib/*/pkcs11/p11-kit-client.so)" /usr/lib/pkcs11 \
    && rm -rf /etc/udev /lib/udev /bin/udevadm /bin/systemd-hwdb \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
USER 65532:65532
COPY --from=sidecar-pkcs11-app /app /app
ENTRYPOINT ["python3", "-m", "rolesanywhere_sidecar"]
CMD ["serve"]
