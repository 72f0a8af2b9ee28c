"""A fitted model, its export and its build for this machine, made once a session."""

import pytest
from helpers.device_models import fitted

from l3clf.device.chips import HostChip
from l3clf.device.exporter import write_export
from l3clf.device.model import device_model
from l3clf.device.toolchain import build_host, export_sources

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


@pytest.fixture(scope="session")
def model():
    return fitted()


@pytest.fixture(scope="session")
def export(model, tmp_path_factory):
    return write_export(device_model(model, pool_windows=3), tmp_path_factory.mktemp("export") / "c")


@pytest.fixture(scope="session")
def host(export, tmp_path_factory):
    return HostChip(build_host(export_sources(export), tmp_path_factory.mktemp("host") / "host.so"))
