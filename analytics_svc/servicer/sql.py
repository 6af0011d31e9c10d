"""Statements of organisations."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

import asyncio
from collections.abc import AsyncIterator

from analytics_svc.convert.sql import header_to_pb, request_from_pb, summary_to_pb, tables_to_pb
from analytics_svc.run_sql import SqlRunner
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.analytics.v1 import sql_pb2 as pb


class SqlMethods:
    """The RPCs of SQL."""

    sql: SqlRunner

    async def RunSql(self, request: pb.RunSqlRequest, context: ServicerContext) -> AsyncIterator[pb.RunSqlResponse]:
        """Run a statement over the caller's rows."""
        caller = current_caller()
        # Values may be many: not on the event loop.
        asked = await asyncio.to_thread(
            request_from_pb, request, organization_id=caller.organization_id, actor=caller.actor
        )
        async with self.sql.run(asked) as answer:
            yield header_to_pb(answer)
            async for piece in answer.pieces:
                yield pb.RunSqlResponse(rows=piece)
            summary = summary_to_pb(answer)
        # Last, when the statement is written down as answered: whoever has it may hang up.
        yield summary

    async def DescribeSql(self, request: pb.DescribeSqlRequest, context: ServicerContext) -> pb.DescribeSqlResponse:
        """List the tables and columns of statements."""
        return tables_to_pb(await self.sql.tables(organization_id=current_caller().organization_id))
