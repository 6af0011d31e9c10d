"""One mesh for all tests that break nothing: to start one takes longer than most of them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract.gateway_api.description import Description
from tests.contract.gateway_api.mesh import DESCRIPTION, Mesh, furnish, running_mesh


@pytest.fixture
def description() -> Description:
    return DESCRIPTION


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """A running mesh."""
    async with running_mesh(tmp_path_factory.mktemp("gateway")) as mesh:
        yield mesh


@pytest_asyncio.fixture(loop_scope="package")
async def mesh(shared_mesh: Mesh) -> Mesh:
    """The shared mesh, with services as new and nothing on its way to them."""
    await shared_mesh.until_shipped()
    furnish(
        shared_mesh.attribution,
        shared_mesh.warden,
        shared_mesh.capture,
        shared_mesh.projection,
        shared_mesh.analytics,
        shared_mesh.identity,
    )
    shared_mesh.journeys.__init__()  # type: ignore[misc]  # as new
    shared_mesh.conversions.__init__()  # type: ignore[misc]  # as new
    shared_mesh.partners.__init__()  # type: ignore[misc]  # as new
    shared_mesh.webhooks.__init__()  # type: ignore[misc]  # as new
    return shared_mesh
