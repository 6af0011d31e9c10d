"""WebhookService as the gateway meets it: webhooks and deliveries in dicts."""

from typing import Any

from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, Violation
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import Misbehaviour, cut, stamp
from trellis.attribution.v1 import webhook_service_pb2 as pb
from trellis.attribution.v1 import webhook_service_pb2_grpc as pb_grpc

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class FakeWebhooks(pb_grpc.WebhookServiceServicer):
    """What organisations ask of it."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.webhooks: dict[tuple[str, str], pb.Webhook] = {}
        self.deliveries: dict[tuple[str, str], pb.Delivery] = {}
        self.asked: list[Any] = []

    def put(self, organization_id: str, webhook_id: str, **fields: Any) -> pb.Webhook:
        """Add a postback."""
        webhook = pb.Webhook(
            **{
                "webhook_id": webhook_id,
                "kind": pb.WEBHOOK_KIND_POSTBACK,
                "definition": pb.WebhookDefinition(
                    url="https://network.example/pb?c={click_id}", method="GET", event_kinds=["conversion.created"]
                ),
                "is_enabled": True,
                "version": 1,
                "create_time": stamp(),
                "update_time": stamp(),
                **fields,
            }
        )
        definition = webhook.definition
        definition.max_attempts = definition.max_attempts or 12
        if not definition.HasField("max_age_duration"):
            definition.max_age_duration.seconds = 259_200
        self.webhooks[organization_id, webhook_id] = webhook
        return webhook

    def put_delivery(self, organization_id: str, webhook_id: str, delivery_id: str, **fields: Any) -> pb.Delivery:
        """Add a delivery that was answered 500 and then 200."""
        attempts = [
            pb.DeliveryAttempt(number=1, attempt_time=stamp(), status=500, failure="status", response_body=b"\xff no"),
            pb.DeliveryAttempt(number=2, attempt_time=stamp(), status=200, failure="none", response_body=b"OK"),
        ]
        delivery = pb.Delivery(
            **{
                "delivery_id": delivery_id,
                "webhook_id": webhook_id,
                "event_kind": "conversion.created",
                "conversion_id": "conv_1",
                "state": pb.DELIVERY_STATE_SUCCEEDED,
                "attempt_count": 2,
                "create_time": stamp(),
                "end_time": stamp(),
                "attempts": attempts,
                "payload_json": '{"type": "conversion.created"}',
                **fields,
            }
        )
        self.deliveries[organization_id, delivery_id] = delivery
        return delivery

    async def CreateWebhook(
        self, request: pb.CreateWebhookRequest, context: ServicerContext
    ) -> pb.CreateWebhookResponse:
        organization_id = await self._step_in(request, context)
        if "10.0.0.1" in request.definition.url:
            raise InvalidArgumentError.of([Violation("url", "10.0.0.1 is in a network that webhooks do not go to")])
        shown = pb.WebhookDefinition()
        shown.CopyFrom(request.definition)
        for header in shown.headers:
            header.value = "" if header.is_secret else header.value
        webhook = self.put(
            organization_id, "wh_minted", kind=request.kind, definition=shown, is_enabled=not request.is_disabled
        )
        is_signed = request.kind == pb.WEBHOOK_KIND_WEBHOOK
        return pb.CreateWebhookResponse(webhook=webhook, secret=SECRET if is_signed else "")

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: ServicerContext) -> pb.GetWebhookResponse:
        return pb.GetWebhookResponse(webhook=self._find(await self._step_in(request, context), request.webhook_id))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: ServicerContext) -> pb.ListWebhooksResponse:
        organization_id = await self._step_in(request, context)
        items, token = cut([w for (owner, _), w in self.webhooks.items() if owner == organization_id], request)
        return pb.ListWebhooksResponse(webhooks=items, next_page_token=token)

    async def UpdateWebhook(
        self, request: pb.UpdateWebhookRequest, context: ServicerContext
    ) -> pb.UpdateWebhookResponse:
        webhook = self._find(await self._step_in(request, context), request.webhook_id)
        if request.expected_version not in (0, webhook.version):
            raise FailedPreconditionError(f"it has version {webhook.version}, not {request.expected_version}")
        for name in request.update_mask.paths:
            webhook.definition.ClearField(name)  # type: ignore[arg-type]  # a field of it
        changed = pb.WebhookDefinition()
        request.update_mask.MergeMessage(request.definition, changed)
        webhook.definition.MergeFrom(changed)
        if request.HasField("is_enabled"):
            webhook.is_enabled = request.is_enabled
        webhook.version += 1
        return pb.UpdateWebhookResponse(webhook=webhook)

    async def DeleteWebhook(
        self, request: pb.DeleteWebhookRequest, context: ServicerContext
    ) -> pb.DeleteWebhookResponse:
        organization_id = await self._step_in(request, context)
        self._find(organization_id, request.webhook_id)
        del self.webhooks[organization_id, request.webhook_id]
        return pb.DeleteWebhookResponse()

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: ServicerContext
    ) -> pb.RotateWebhookSecretResponse:
        webhook = self._find(await self._step_in(request, context), request.webhook_id)
        if webhook.kind != pb.WEBHOOK_KIND_WEBHOOK:
            raise FailedPreconditionError("nothing is signed")
        webhook.old_secret_expire_time.CopyFrom(stamp())
        return pb.RotateWebhookSecretResponse(webhook=webhook, secret=SECRET)

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: ServicerContext) -> pb.TestWebhookResponse:
        organization_id = await self._step_in(request, context)
        self._find(organization_id, request.webhook_id)
        delivery = self.put_delivery(organization_id, request.webhook_id, "msg_test", event_kind="webhook.test")
        return pb.TestWebhookResponse(delivery=delivery)

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: ServicerContext
    ) -> pb.ListDeliveriesResponse:
        organization_id = await self._step_in(request, context)
        self._find(organization_id, request.webhook_id)
        found = [
            delivery
            for (owner, _), delivery in self.deliveries.items()
            if owner == organization_id and request.state in (0, delivery.state)
        ]
        items, token = cut(found, request)
        return pb.ListDeliveriesResponse(deliveries=items, next_page_token=token)

    async def GetDelivery(self, request: pb.GetDeliveryRequest, context: ServicerContext) -> pb.GetDeliveryResponse:
        organization_id = await self._step_in(request, context)
        return pb.GetDeliveryResponse(delivery=self._find_delivery(organization_id, request.delivery_id))

    async def ReplayDelivery(
        self, request: pb.ReplayDeliveryRequest, context: ServicerContext
    ) -> pb.ReplayDeliveryResponse:
        delivery = self._find_delivery(await self._step_in(request, context), request.delivery_id)
        if not delivery.HasField("end_time"):
            raise FailedPreconditionError("it is not over yet")
        delivery.state = pb.DELIVERY_STATE_PENDING
        delivery.ClearField("end_time")
        delivery.next_attempt_time.CopyFrom(stamp())
        return pb.ReplayDeliveryResponse(delivery=delivery)

    async def BackfillDeliveries(
        self, request: pb.BackfillDeliveriesRequest, context: ServicerContext
    ) -> pb.BackfillDeliveriesResponse:
        self._find(await self._step_in(request, context), request.webhook_id)
        return pb.BackfillDeliveriesResponse(delivery_count=5, next_page_token="" if request.page_token else "more")

    async def ReplayDeliveries(
        self, request: pb.ReplayDeliveriesRequest, context: ServicerContext
    ) -> pb.ReplayDeliveriesResponse:
        self._find(await self._step_in(request, context), request.webhook_id)
        return pb.ReplayDeliveriesResponse(replayed_count=17)

    async def _step_in(self, request: Any, context: ServicerContext) -> str:
        self.asked.append(request)
        return await self.does.step_in(context)

    def _find(self, organization_id: str, webhook_id: str) -> pb.Webhook:
        if (organization_id, webhook_id) not in self.webhooks:
            raise NotFoundError(f"no webhook {webhook_id!r}")
        return self.webhooks[organization_id, webhook_id]

    def _find_delivery(self, organization_id: str, delivery_id: str) -> pb.Delivery:
        if (organization_id, delivery_id) not in self.deliveries:
            raise NotFoundError(f"no delivery {delivery_id!r}")
        return self.deliveries[organization_id, delivery_id]
