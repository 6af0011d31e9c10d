"""The routing table: every path of the gateway, in one place. ``/openapi.json`` is checked against it."""

from ingress_gateway.app import Handler, HttpRoute
from ingress_gateway.routes import (
    attribution_explain,
    attribution_settings,
    audit,
    campaign_explain,
    campaign_versions,
    campaigns,
    conversions,
    docs,
    domains,
    events,
    health,
    identity,
    keys,
    ledger,
    link,
    mappings,
    metrics,
    operations,
    partners,
    pixel,
    postback,
    query,
    roles,
    stored_events,
    uploads,
    webhooks,
)
from ingress_gateway.routes.analytics import attribution, attribution_report, behavior, realtime, reports

_ANY: tuple[str, ...] = ()
_READ = ("GET", "HEAD")


def routes() -> list[HttpRoute]:
    """Return the table."""
    readiness = health.Readiness()
    return [
        HttpRoute(_ANY, "/in", link.click, is_capture=True),
        HttpRoute(_ANY, "/in/{slug}", link.click, is_capture=True),
        HttpRoute(_ANY, "/pixel", pixel.pixel, is_capture=True),
        HttpRoute(_ANY, "/pixel.gif", pixel.pixel, is_capture=True),
        HttpRoute(("GET", "HEAD", "POST"), "/track", pixel.track, is_capture=True),
        HttpRoute(("POST",), "/events", events.events, is_capture=True),
        HttpRoute(("POST",), "/batch", events.batch, is_capture=True),
        *_postbacks(),
        HttpRoute(_READ, "/api/v1/campaigns", campaigns.list_campaigns),
        HttpRoute(("POST",), "/api/v1/campaigns", campaigns.create_campaign),
        HttpRoute(_READ, "/api/v1/campaigns/{campaign_id}", campaigns.get_campaign),
        HttpRoute(("PATCH",), "/api/v1/campaigns/{campaign_id}", campaigns.update_campaign),
        HttpRoute(("POST",), "/api/v1/campaigns/{campaign_id}:preview", campaigns.preview_campaign),
        HttpRoute(("POST",), "/api/v1/campaigns/{campaign_id}:apply", campaigns.apply_campaign),
        HttpRoute(("POST",), "/api/v1/campaigns/{campaign_id}:explain", campaign_explain.explain_click),
        HttpRoute(_READ, "/api/v1/campaigns/{campaign_id}/versions", campaign_versions.list_versions),
        HttpRoute(_READ, "/api/v1/campaigns/{campaign_id}/versions/{version}", campaign_versions.get_version),
        HttpRoute(
            ("POST",),
            "/api/v1/campaigns/{campaign_id}/versions/{version}:activate",
            campaign_versions.activate_version,
        ),
        HttpRoute(("POST",), "/api/v1/conversions:upload", uploads.Uploads().upload),
        HttpRoute(_READ, "/api/v1/conversions", conversions.list_conversions),
        HttpRoute(_READ, "/api/v1/conversions/{conversion_id}", conversions.get_conversion),
        HttpRoute(_READ, "/api/v1/conversions/{conversion_id}/explain", attribution_explain.explain_conversion),
        HttpRoute(_READ, "/api/v1/events", stored_events.list_events),
        HttpRoute(_READ, "/api/v1/events/{event_id}", stored_events.get_event),
        HttpRoute(_READ, "/api/v1/events/{event_id}/raw", stored_events.get_raw_event),
        HttpRoute(_READ, "/api/v1/ledger", ledger.get_ledger),
        HttpRoute(_READ, "/api/v1/analytics/realtime", realtime.realtime),
        HttpRoute(_READ, "/api/v1/analytics/catalog", reports.catalog),
        *_asked("timeseries", reports.timeseries),
        *_asked("breakdown", reports.breakdown),
        *_asked("campaigns", reports.campaigns),
        *_asked("sources", reports.sources),
        *_asked("geo", reports.geo),
        *_asked("devices", reports.devices),
        *_asked("funnel", behavior.funnel),
        *_asked("retention", behavior.retention),
        *_asked("cohorts", behavior.cohorts),
        *_asked("journeys", behavior.journeys),
        *_asked("paths", behavior.paths),
        *_asked("attribution", attribution.attribution),
        HttpRoute(_READ, "/api/v1/attribution/models", attribution_report.models),
        HttpRoute(_READ, "/api/v1/attribution/settings", attribution_settings.get_settings),
        HttpRoute(("PUT",), "/api/v1/attribution/settings", attribution_settings.put_settings),
        HttpRoute(("POST",), "/api/v1/query", query.query),
        HttpRoute(_READ, "/api/v1/query/schema", query.query_schema),
        HttpRoute(_READ, "/api/v1/mappings", mappings.list_mappings),
        HttpRoute(("POST",), "/api/v1/mappings", mappings.create_mapping),
        HttpRoute(_READ, "/api/v1/mappings/{mapping_id}", mappings.get_mapping),
        HttpRoute(("POST",), "/api/v1/mappings/{mapping_id}", mappings.change_mapping),
        HttpRoute(("POST",), "/api/v1/mappings/{mapping_id}/versions/{version}:activate", mappings.activate_version),
        HttpRoute(_READ, "/api/v1/identity/persons/{id}", identity.get_person),
        HttpRoute(_READ, "/api/v1/identity/suspicious", identity.list_suspicious),
        HttpRoute(("POST",), "/api/v1/identity/edges/{edge_id}:revoke", identity.revoke_edge),
        HttpRoute(("POST",), "/api/v1/identity/edges/{edge_id}:restore", identity.restore_edge),
        HttpRoute(("POST",), "/api/v1/identity/values/{value_id}:revoke", identity.revoke_value),
        HttpRoute(("POST",), "/api/v1/identity/values/{value_id}:restore", identity.restore_value),
        HttpRoute(_READ, "/api/v1/operations", operations.list_operations),
        HttpRoute(_READ, "/api/v1/operations/{operation_id}", operations.get_operation),
        HttpRoute(_READ, "/api/v1/webhooks", webhooks.list_webhooks),
        HttpRoute(("POST",), "/api/v1/webhooks", webhooks.create_webhook),
        HttpRoute(_READ, "/api/v1/webhooks/{webhook_id}", webhooks.get_webhook),
        HttpRoute(("PATCH",), "/api/v1/webhooks/{webhook_id}", webhooks.update_webhook),
        HttpRoute(("DELETE",), "/api/v1/webhooks/{webhook_id}", webhooks.delete_webhook),
        HttpRoute(("POST",), "/api/v1/webhooks/{webhook_id}:rotate-secret", webhooks.rotate_secret),
        HttpRoute(("POST",), "/api/v1/webhooks/{webhook_id}:test", webhooks.send_test),
        HttpRoute(("POST",), "/api/v1/webhooks/{webhook_id}:replay", webhooks.replay_deliveries),
        HttpRoute(_READ, "/api/v1/webhooks/{webhook_id}/deliveries", webhooks.list_deliveries),
        HttpRoute(_READ, "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}", webhooks.get_delivery),
        HttpRoute(("POST",), "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}:replay", webhooks.replay_delivery),
        HttpRoute(_READ, "/api/v1/keys", keys.list_keys),
        HttpRoute(("POST",), "/api/v1/keys", keys.create_key),
        HttpRoute(("POST",), "/api/v1/keys/{key_id}:revoke", keys.revoke_key),
        HttpRoute(("POST",), "/api/v1/keys/{key_id}:rotate", keys.rotate_key),
        HttpRoute(_READ, "/api/v1/partners", partners.list_partners),
        HttpRoute(("POST",), "/api/v1/partners", partners.create_partner),
        HttpRoute(_READ, "/api/v1/partners/{partner_id}", partners.get_partner),
        HttpRoute(("PATCH",), "/api/v1/partners/{partner_id}", partners.update_partner),
        HttpRoute(("POST",), "/api/v1/partners/{partner_id}:rotate", partners.rotate_token),
        HttpRoute(("POST",), "/api/v1/partners/{partner_id}:signature", partners.set_signature),
        HttpRoute(("POST",), "/api/v1/partners/{partner_id}:revoke", partners.revoke_partner),
        HttpRoute(_READ, "/api/v1/domains", domains.list_domains),
        HttpRoute(("POST",), "/api/v1/domains", domains.add_domain),
        HttpRoute(("DELETE",), "/api/v1/domains/{host}", domains.remove_domain),
        HttpRoute(_READ, "/api/v1/roles", roles.list_roles),
        HttpRoute(("POST",), "/api/v1/roles", roles.create_role),
        HttpRoute(_READ, "/api/v1/audit", audit.list_audit_entries),
        HttpRoute(_READ, "/openapi.json", docs.openapi),
        HttpRoute(_READ, "/docs", docs.docs),
        HttpRoute(_READ, "/healthz", health.healthz),
        HttpRoute(_READ, "/readyz", readiness.readyz),
        HttpRoute(_READ, "/metrics", metrics.metrics),
    ]


def _postbacks() -> list[HttpRoute]:
    """Return the paths that networks are told to call, ours first."""
    plain = ("/postback", "/postback.php", "/aff_lsr", "/tracking202/static/gpb.php")
    special = (
        ("/postback/{token}", postback.keyed_postback),
        ("/{token}/postback", postback.keyed_postback),
        ("/click.php", postback.click_update),
        ("/conversion.gif", postback.conversion_pixel),
    )
    handled = (*((path, postback.postback) for path in plain), *special)
    return [HttpRoute((*_READ, "POST"), path, handler, is_capture=True) for path, handler in handled]


def _asked(name: str, report: Handler) -> list[HttpRoute]:
    """Return the routes of a report: its question may be too long for a query."""
    return [HttpRoute(methods, f"/api/v1/analytics/{name}", report) for methods in (_READ, ("POST",))]
