"""WebhookService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
from attribution_svc.webhooks.convert import (
    change_from_pb,
    delivery_to_pb,
    filter_from_pb,
    new_webhook_from_pb,
    range_from_pb,
    states_from_pb,
    webhook_to_pb,
)
from attribution_svc.webhooks.registry import WebhookRegistry
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import webhook_service_pb2 as pb
from trellis.attribution.v1 import webhook_service_pb2_grpc as pb_grpc


class WebhookServicer(pb_grpc.WebhookServiceServicer):
    """Destinations of conversions, and the log of what they were told."""

    def __init__(self, registry: WebhookRegistry) -> None:
        self._registry = registry

    async def CreateWebhook(
        self, request: pb.CreateWebhookRequest, context: ServicerContext
    ) -> pb.CreateWebhookResponse:
        """Create a webhook of the caller's organisation."""
        caller = current_caller()
        webhook, secret = await self._registry.create(
            new_webhook_from_pb(request), organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.CreateWebhookResponse(webhook=webhook_to_pb(webhook), secret=secret)

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: ServicerContext) -> pb.GetWebhookResponse:
        """Return a webhook of the caller's organisation."""
        webhook, circuit = await self._registry.get(
            request.webhook_id, organization_id=current_caller().organization_id
        )
        return pb.GetWebhookResponse(webhook=webhook_to_pb(webhook, circuit))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: ServicerContext) -> pb.ListWebhooksResponse:
        """Return a page of the webhooks of the caller's organisation."""
        page = await self._registry.list_page(
            organization_id=current_caller().organization_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListWebhooksResponse(
            webhooks=[webhook_to_pb(webhook) for webhook in page.items], next_page_token=page.next_page_token
        )

    async def UpdateWebhook(
        self, request: pb.UpdateWebhookRequest, context: ServicerContext
    ) -> pb.UpdateWebhookResponse:
        """Change a webhook of the caller's organisation."""
        caller = current_caller()
        webhook = await self._registry.update(
            request.webhook_id, change_from_pb(request), organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.UpdateWebhookResponse(webhook=webhook_to_pb(webhook))

    async def DeleteWebhook(
        self, request: pb.DeleteWebhookRequest, context: ServicerContext
    ) -> pb.DeleteWebhookResponse:
        """Take a webhook of the caller's organisation away."""
        caller = current_caller()
        await self._registry.delete(request.webhook_id, organization_id=caller.organization_id, actor=caller.actor)
        return pb.DeleteWebhookResponse()

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: ServicerContext
    ) -> pb.RotateWebhookSecretResponse:
        """Give a webhook of the caller's organisation another secret."""
        caller = current_caller()
        webhook, secret = await self._registry.rotate_secret(
            request.webhook_id, organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.RotateWebhookSecretResponse(webhook=webhook_to_pb(webhook), secret=secret)

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: ServicerContext) -> pb.TestWebhookResponse:
        """Send a sample to a webhook of the caller's organisation."""
        delivery = await self._registry.send_test(request.webhook_id, organization_id=current_caller().organization_id)
        return pb.TestWebhookResponse(delivery=delivery_to_pb(delivery, is_whole=True))

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: ServicerContext
    ) -> pb.ListDeliveriesResponse:
        """Return a page of what a webhook of the caller's organisation was told."""
        page = await self._registry.list_deliveries(
            request.webhook_id,
            filter_from_pb(request),
            organization_id=current_caller().organization_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListDeliveriesResponse(
            deliveries=[delivery_to_pb(delivery, is_whole=False) for delivery in page.items],
            next_page_token=page.next_page_token,
        )

    async def GetDelivery(self, request: pb.GetDeliveryRequest, context: ServicerContext) -> pb.GetDeliveryResponse:
        """Return a delivery of the caller's organisation."""
        delivery = await self._registry.get_delivery(
            request.webhook_id, request.delivery_id, organization_id=current_caller().organization_id
        )
        return pb.GetDeliveryResponse(delivery=delivery_to_pb(delivery, is_whole=True))

    async def ReplayDelivery(
        self, request: pb.ReplayDeliveryRequest, context: ServicerContext
    ) -> pb.ReplayDeliveryResponse:
        """Send a delivery of the caller's organisation again."""
        delivery = await self._registry.replay_one(
            request.webhook_id, request.delivery_id, organization_id=current_caller().organization_id
        )
        return pb.ReplayDeliveryResponse(delivery=delivery_to_pb(delivery, is_whole=True))

    async def BackfillDeliveries(
        self, request: pb.BackfillDeliveriesRequest, context: ServicerContext
    ) -> pb.BackfillDeliveriesResponse:
        """Tell a webhook of the caller's organisation of what it has not heard of."""
        start_time, end_time = range_from_pb(request.time_range)
        count, token = await self._registry.backfill(
            request.webhook_id,
            start_time,
            end_time,
            organization_id=current_caller().organization_id,
            page_token=request.page_token,
        )
        return pb.BackfillDeliveriesResponse(delivery_count=count, next_page_token=token)

    async def ReplayDeliveries(
        self, request: pb.ReplayDeliveriesRequest, context: ServicerContext
    ) -> pb.ReplayDeliveriesResponse:
        """Send deliveries of the caller's organisation again."""
        count = await self._registry.replay_all(
            request.webhook_id,
            filter_from_pb(request),
            states=states_from_pb(request.states),
            organization_id=current_caller().organization_id,
        )
        return pb.ReplayDeliveriesResponse(replayed_count=count)
