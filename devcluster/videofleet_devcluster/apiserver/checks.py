"""Rules of built-in kinds and of metadata that no schema states: names, immutability, selectors that must match.

Only those whose breach would pass here and fail on Kubernetes for what this product writes.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from videofleet_devcluster.apiserver import structure
from videofleet_devcluster.apiserver.cel_rules import compile_faults
from videofleet_devcluster.apiserver.errors import Cause
from videofleet_devcluster.objects import Object

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_VALUE: Final = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_ENDS: Final = "and must start and end with an alphanumeric character (e.g. "
_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    f"{_ENDS}'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    f"{_ENDS}'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_LABEL_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    f"{_ENDS}'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_LABEL_VALUE}')"
)
_LABEL_KINDS: Final = ("Namespace", "Service")  # their names are single DNS labels
_FREE_KINDS: Final = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")  # path segments, e.g. system:node
_FREE_POD_FIELDS: Final = frozenset(
    {"tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates", "nodeName"}
)
_POD_TEXT: Final = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def metadata_faults(kind: str, metadata: Object) -> Iterator[Cause]:
    """Names and labels that Kubernetes would not take."""
    name, is_label = metadata["name"], kind in _LABEL_KINDS
    pattern, text, longest = (_LABEL, _LABEL_TEXT, 63) if is_label else (_SUBDOMAIN, _SUBDOMAIN_TEXT, 253)
    if kind not in _FREE_KINDS and not re.fullmatch(pattern, name):
        yield _invalid("metadata.name", name, text)
    if len(name) > longest:
        yield _invalid("metadata.name", name, f"must be no more than {longest} bytes")
    for value in (metadata.get("labels") or {}).values():
        if not isinstance(value, str) or not re.fullmatch(_LABEL_VALUE, value):
            yield _invalid("metadata.labels", value, _LABEL_VALUE_TEXT)
        elif len(value) > 63:
            yield _invalid("metadata.labels", value, "must be no more than 63 bytes")


def built_in_faults(kind: str, obj: Object, old: Object | None) -> Iterator[Cause]:
    yield from _BY_KIND[kind](obj, old) if kind in _BY_KIND else ()


def _workload(obj: Object, old: Object | None) -> Iterator[Cause]:
    spec = obj["spec"]
    labels = spec["template"].get("metadata", {}).get("labels") or {}
    wanted = spec["selector"].get("matchLabels") or {}
    if not wanted and not spec["selector"].get("matchExpressions"):
        yield _invalid("spec.selector", spec["selector"], "empty selector is invalid for deployment")
    if any(labels.get(name) != value for name, value in wanted.items()):
        yield _invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    if old is not None and old["spec"]["selector"] != spec["selector"]:
        yield _invalid("spec.selector", spec["selector"], "field is immutable")
    yield from _pod_spec(spec["template"]["spec"], "spec.template.spec")


def _pod(obj: Object, old: Object | None) -> Iterator[Cause]:
    def fixed(pod: Object) -> Object:
        """What may not change any more."""
        spec = {name: value for name, value in pod["spec"].items() if name not in _FREE_POD_FIELDS}
        return spec | {"containers": [container | {"image": ""} for container in spec["containers"]]}

    yield from _pod_spec(obj["spec"], "spec")
    if old is not None and fixed(old) != fixed(obj):
        yield Cause("FieldValueForbidden", _POD_TEXT, "spec")


def _pod_spec(spec: Object, path: str) -> Iterator[Cause]:
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field, ())):
            where = f"{path}.{field}[{index}]"
            if not container.get("image"):
                yield Cause("FieldValueRequired", "Required value", f"{where}.image")
            for number, mount in enumerate(container.get("volumeMounts", ())):
                if mount["name"] not in volumes:
                    text = f'Not found: "{mount["name"]}"'
                    yield Cause("FieldValueNotFound", text, f"{where}.volumeMounts[{number}].name")
    if not spec.get("containers"):
        yield Cause("FieldValueRequired", "Required value", f"{path}.containers")


def _immutable_data(obj: Object, old: Object | None) -> Iterator[Cause]:
    if old is None or not old.get("immutable"):
        return
    for field in ("immutable", "data", "binaryData"):
        if obj.get(field) != old.get(field):
            yield Cause("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", field)


def _service(obj: Object, old: Object | None) -> Iterator[Cause]:
    before, after = (old or {}).get("spec", {}).get("clusterIP"), obj["spec"].get("clusterIP")
    if before not in (None, after) and obj["spec"].get("type") != "ExternalName":
        yield _invalid("spec.clusterIPs[0]", [after], "may not change once set")


def _definition(obj: Object, old: Object | None) -> Iterator[Cause]:
    spec, name = obj["spec"], obj["metadata"]["name"]
    if name != f"{spec['names']['plural']}.{spec['group']}":
        yield _invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if sum(bool(version.get("storage")) for version in spec["versions"]) != 1:
        yield _invalid("spec.versions", None, "must have exactly one version marked as storage version")
    for index, version in enumerate(spec["versions"]):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        where = f"spec.versions[{index}].schema.openAPIV3Schema"
        if schema is None:
            yield Cause("FieldValueRequired", "Required value: schemas are required", where)
        for place, part, what in structure.parts(schema, where):  # every value has a type, unless it may be anything
            free = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"
            if not part.get("type") and not any(part.get(name) for name in free):
                text = f"Required value: must not be empty for specified {what}"
                yield Cause("FieldValueRequired", text, f"{place}.type")
        yield from compile_faults(schema, where)


def _immutable(field: str, text: str) -> Callable[[Object, Object | None], Iterator[Cause]]:
    def check(obj: Object, old: Object | None) -> Iterator[Cause]:
        if old is not None and obj.get(field) != old.get(field):
            yield _invalid(field, obj.get(field), text)

    return check


def _invalid(path: str, value: Any, what: str) -> Cause:
    told = json.dumps(value, separators=(",", ":"))
    return Cause("FieldValueInvalid", f"Invalid value: {told}: {what}", path)


_binding: Final = _immutable("roleRef", "cannot change roleRef")
_BY_KIND: Final[dict[str, Callable[[Object, Object | None], Iterator[Cause]]]] = {
    "ClusterRoleBinding": _binding,
    "ConfigMap": _immutable_data,
    "ControllerRevision": _immutable("data", "field is immutable"),
    "CustomResourceDefinition": _definition,
    "Deployment": _workload,
    "Pod": _pod,
    "ReplicaSet": _workload,
    "RoleBinding": _binding,
    "Secret": _immutable_data,
    "Service": _service,
}
