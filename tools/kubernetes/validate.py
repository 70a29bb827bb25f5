#!/usr/bin/env python3
"""Checks the manifests of docs/kubernetes against the published types of Kubernetes 1.30.

    tools/kubernetes/validate.py [FILE..]     # by default docs/kubernetes/*.yaml

The types are those of the official client, which are generated from the OpenAPI document; it comes
from the Python package index, once, into target/kubernetes. Of an MPIJob, which is no type of
Kubernetes itself, the fields around its pods are those of the MPI Operator's v2beta1. A field that no type has, a value of
another type, a required field that is missing, and exit codes that two rules of a Job name are
errors. Says SKIPPED, with the reason, where the package cannot be had.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "target/kubernetes"
PACKAGE = "kubernetes==30.1.0"
PLAIN = {"str": str, "int": int, "bool": bool, "float": float, "object": object}
# Fields of kubeflow.org/v2beta1, and which of them must be there.
MPI_JOB = {
    "MPIJob": ({"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta",
                "spec": "MPIJobSpec"}, {"apiVersion", "kind", "metadata", "spec"}),
    "MPIJobSpec": ({"slotsPerWorker": "int", "runLauncherAsWorker": "bool",
                    "runPolicy": "MPIRunPolicy", "sshAuthMountPath": "str",
                    "launcherCreationPolicy": "str", "mpiImplementation": "str",
                    "mpiReplicaSpecs": "MPIReplicaSpecs"}, {"mpiReplicaSpecs"}),
    "MPIRunPolicy": ({"cleanPodPolicy": "str", "ttlSecondsAfterFinished": "int",
                      "activeDeadlineSeconds": "int", "backoffLimit": "int", "suspend": "bool",
                      "schedulingPolicy": "object", "managedBy": "str"}, set()),
    "MPIReplicaSpecs": ({"Launcher": "MPIReplicaSpec", "Worker": "MPIReplicaSpec"}, {"Launcher"}),
    "MPIReplicaSpec": ({"replicas": "int", "restartPolicy": "str",
                        "template": "V1PodTemplateSpec"}, {"template"}),
}


def install():
    if not (FOLDER / ".complete").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--root-user-action=ignore", "--target", str(FOLDER), PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            reason = result.stderr.strip().splitlines()
            print("SKIPPED: no types from the package index:", reason[-1] if reason else "")
            sys.exit()
        (FOLDER / ".complete").touch()
    sys.path.insert(0, str(FOLDER))


def check(kind, value, at, errors):
    """Adds what `value` has other than its type; returns it as the client's object."""
    if found := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            return errors.append(f"{at}: expected a list, found {value!r}")
        return [check(found[1], item, f"{at}[{i}]", errors) for i, item in enumerate(value)]
    if found := re.fullmatch(r"dict\(str, (.*)\)", kind):
        if not isinstance(value, dict):
            return errors.append(f"{at}: expected a map, found {value!r}")
        return {key: check(found[1], item, f"{at}.{key}", errors) for key, item in value.items()}
    if plain := PLAIN.get(kind):
        is_bool = isinstance(value, bool)
        if not isinstance(value, plain) or (is_bool and plain is not bool):
            errors.append(f"{at}: expected {kind}, found {value!r}")
        return value
    if kind in MPI_JOB:
        fields, required = MPI_JOB[kind]
        for key in sorted(required - set(value)):
            errors.append(f"{at}: no {key}")
        for key, item in value.items():
            if key in fields:
                check(fields[key], item, f"{at}.{key}", errors)
            else:
                errors.append(f"{at}.{key}: no field of {kind}")
        return value
    from kubernetes import client

    model = getattr(client, kind)
    if not isinstance(value, dict):
        return errors.append(f"{at}: expected {kind}, found {value!r}")
    names = {json: name for name, json in model.attribute_map.items()}
    known = {}
    for key, item in value.items():
        if key not in names:
            errors.append(f"{at}.{key}: no field of {kind}")
            continue
        known[names[key]] = check(model.openapi_types[names[key]], item, f"{at}.{key}", errors)
    try:
        return model(**known)
    except ValueError as error:
        errors.append(f"{at}: {error}")


def rules(manifest, errors):
    """Exit codes have one rule each."""
    policy = manifest.get("spec", {}).get("podFailurePolicy", {})
    codes = [code for rule in policy.get("rules", []) for code in
             rule.get("onExitCodes", {}).get("values", [])]
    errors += [f"exit code {code} has two rules" for code in set(codes) if codes.count(code) > 1]


def main():
    install()
    import yaml

    files = sys.argv[1:] or sorted((ROOT / "docs/kubernetes").glob("*.yaml"))
    failed = False
    for file in map(pathlib.Path, files):
        for manifest in yaml.safe_load_all(file.read_text()):
            errors = []
            kind = manifest["kind"]
            check(kind if kind in MPI_JOB else f"V1{kind}", manifest, manifest["kind"], errors)
            rules(manifest, errors)
            print(f"{file.name}, {manifest['kind']}:", "; ".join(errors) or "as published")
            failed |= bool(errors)
    sys.exit(failed)


if __name__ == "__main__":
    main()
