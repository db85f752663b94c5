"""The CustomResourceDefinition itself: names, printer columns, status subresource, derived schemas."""

from typing import Any

from videofleet_operator.crd.rules import VALIDATIONS
from videofleet_operator.crd.schema import structural_schema
from videofleet_operator.crd.spec import NAME_RULE, VideoGeneratorSpec
from videofleet_operator.crd.status import FleetStatus

GROUP = "videofleet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "VideoGenerator"
PLURAL = "videogenerators"
PAUSED_ANNOTATION = f"{GROUP}/paused"
ROLLOUT_ANNOTATION = f"{GROUP}/rollout"


def crd_manifest() -> dict[str, Any]:
    """`crds/videogenerators.yaml` as a dict."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["vg"],
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": openapi_schema()},
                }
            ],
        },
    }


def openapi_schema() -> dict[str, Any]:
    """The schema of the whole object."""
    return {
        "description": "A fleet of text-to-video workers that serve one model.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(VideoGeneratorSpec),
            "status": structural_schema(FleetStatus),
        },
        VALIDATIONS: [NAME_RULE.as_validation()],
    }


def _columns() -> list[dict[str, Any]]:
    def column(name: str, kind: str, path: str) -> dict[str, Any]:
        return {"name": name, "type": kind, "jsonPath": path}

    return [
        column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'),
        column("Replicas", "integer", ".status.readyReplicas"),
        column("Queue", "integer", ".status.queue.waiting"),
        column("Wait", "string", ".status.queue.wait"),
        column("Revision", "string", ".status.revisions.stable"),
        column("Tier", "string", ".status.fallback.tier"),
        column("Rollout", "string", ".status.rollout.phase"),
        column("Weight", "string", ".status.rollout.weight"),
        column("Age", "date", ".metadata.creationTimestamp"),
    ]
