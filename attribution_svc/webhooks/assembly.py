"""The parts of webhooks, put together for ``server``."""

import contextlib
from collections.abc import AsyncIterator

from attribution_svc.settings import AttributionSettings
from attribution_svc.store.delivery_queue import PostgresDeliveryQueue
from attribution_svc.store.webhooks import PostgresWebhookStore
from attribution_svc.webhooks.dispatcher import Dispatcher, DispatchLimits
from attribution_svc.webhooks.guard import Guard
from attribution_svc.webhooks.planner import Clicks, Planner
from attribution_svc.webhooks.registry import WebhookRegistry
from attribution_svc.webhooks.sender import Sender
from attribution_svc.webhooks.servicer import WebhookServicer
from attribution_svc.webhooks.vault import Vault
from svc_runtime.clock import SystemClock
from svc_runtime.paging import PageTokens
from svc_runtime.postgres import Database
from svc_runtime.settings import MeshSettings
from svc_runtime.tasks import keep_running, running


@contextlib.asynccontextmanager
async def running_webhooks(
    mesh: MeshSettings,
    settings: AttributionSettings,
    database: Database,
    clicks: Clicks,
    tokens: PageTokens,
) -> AsyncIterator[WebhookServicer]:
    """Plan and send for the time of the block; at its end, what is on its way may arrive."""
    store, queue, clock = PostgresWebhookStore(database), PostgresDeliveryQueue(database), SystemClock()
    vault = Vault(mesh.mesh_secret.get_secret_value())
    guard = Guard(settings.webhook_allowed_networks, settings.webhook_allowed_ports)
    limits = DispatchLimits(
        most=settings.webhook_concurrency,
        most_per_webhook=settings.webhook_concurrency_each,
        attempt_seconds=settings.webhook_attempt_seconds,
        log_days=settings.webhook_log_days,
        drain_seconds=mesh.drain_seconds,
    )
    async with contextlib.AsyncExitStack() as stack:
        sender = await stack.enter_async_context(
            Sender.open(guard, total_seconds=limits.attempt_seconds, most_connections=limits.most)
        )
        dispatcher = Dispatcher(queue, sender, vault, clock=clock, limits=limits)
        await stack.enter_async_context(dispatcher.started())
        planner = Planner(store, queue, clicks, clock=clock)
        await stack.enter_async_context(
            running("webhook planner", keep_running("webhook planner", lambda: planner.run(dispatcher.wake)))
        )
        registry = WebhookRegistry(store, queue, planner, dispatcher, vault, guard, tokens, clock=clock, limits=limits)
        yield WebhookServicer(registry)
