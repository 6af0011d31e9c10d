"""A capture_svc that keeps nothing: ``python -m tests.bench.sink PORT`` acknowledges every batch as it comes."""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
import uvloop

from svc_runtime.grpc_server import MAX_MESSAGE_BYTES
from trellis.capture.v1 import capture_service_pb2 as pb


async def capture(requests: AsyncIterator[pb.CaptureRequest], _context: object) -> AsyncIterator[pb.CaptureResponse]:
    """Acknowledge."""
    async for request in requests:
        if request.HasField("hello"):
            yield pb.CaptureResponse(sequence=0)
        elif request.HasField("batch"):
            yield pb.CaptureResponse(sequence=request.batch.sequence)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
    handler = grpc.stream_stream_rpc_method_handler(
        capture,
        request_deserializer=pb.CaptureRequest.FromString,
        response_serializer=pb.CaptureResponse.SerializeToString,
    )
    services = grpc.method_handlers_generic_handler("trellis.capture.v1.CaptureService", {"Capture": handler})
    server.add_generic_rpc_handlers((services,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
