"""Warden's contracts: the store's and the service's, each run against every implementation."""

import pytest

pytest.register_assert_rewrite("tests.contract.auth.store_contract", "tests.contract.auth.rpc_contract")
