"""`spec.scaling`: how many workers."""

from pydantic import Field

from videofleet_operator.crd.values import SpecModel


class Scaling(SpecModel):
    """How many workers."""

    min_replicas: int = Field(
        default=0, ge=0, le=1000, description="Workers wanted; one at least, until scaling exists."
    )
