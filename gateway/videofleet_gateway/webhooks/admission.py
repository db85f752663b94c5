"""Whether a tenant may have its webhook: checked before anything is queued."""

from videofleet_gateway.problems import Fault, Unprocessable
from videofleet_gateway.webhooks.settings_file import WebhookRules
from videofleet_gateway.webhooks.targets import check_target


def check_webhook(url: str | None, tenant: str, rules: WebhookRules) -> None:
    """Raises: Unprocessable, naming what to change."""
    if url is None:
        return
    if not rules.secrets(tenant):
        raise Unprocessable.from_faults(
            [
                Fault(
                    "webhook", "your organisation has no signing secret here; ask its operator for one, or leave it out"
                )
            ]
        )
    try:
        check_target(url, rules.reach)
    except ValueError as error:
        raise Unprocessable.from_faults([Fault("webhook", str(error))]) from None
