"""What does Django need to know of us? A name for our tables, and our checks."""

from __future__ import annotations

from django.apps import AppConfig


class XPayFlowConfig(AppConfig):
    """`INSTALLED_APPS = [..., "xpay_flow_django"]`; the tables begin with `xpay_flow_`."""

    name = "xpay_flow_django"
    label = "xpay_flow"
    verbose_name = "xPay payments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have our checks run with Django's own."""
        from . import checks

        checks.register_all()
