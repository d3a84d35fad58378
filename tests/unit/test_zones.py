"""The zones' rules come from the package, all of them, whatever the machine has."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files

import pytest

from turnback.core.codecs.zones import ZoneClock, zone
from turnback.errors import CannotCarry, ConfigError


@pytest.fixture
def without_the_machines_zones() -> Iterator[None]:
    zone.cache_clear()
    zoneinfo.reset_tzpath(to=[])
    yield
    zoneinfo.reset_tzpath()


def test_every_zone_of_the_package_is_read(without_the_machines_zones: None) -> None:
    names = files("tzdata").joinpath("zones").read_text().split()
    assert len(names) > 400
    assert [zone(name).key for name in names] == names


def test_the_machines_own_rules_are_not_asked(
    tmp_path_factory: pytest.TempPathFactory, without_the_machines_zones: None
) -> None:
    folder = tmp_path_factory.mktemp("zones")
    (folder / "Europe").mkdir()
    tokyo = files("tzdata.zoneinfo").joinpath("Asia", "Tokyo").read_bytes()
    (folder / "Europe" / "Berlin").write_bytes(tokyo)
    zoneinfo.reset_tzpath(to=[str(folder)])
    assert ZoneClock("Europe/Berlin").to_utc(datetime(2024, 7, 1, 12)) == datetime(2024, 7, 1, 10)


@pytest.mark.parametrize(
    "name", ["", "Berlin", "Europe", "Europe/", "/etc/passwd", "../tzdata/zones", "europe/berlin"]
)
def test_a_name_that_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no time zone") as e:
        zone(name)
    assert "IANA" in e.value.hint


@pytest.mark.parametrize("moment", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)])
def test_a_moment_that_leads_out_of_the_years_1_to_9999_is_refused(moment: datetime) -> None:
    east, west = ZoneClock("Asia/Tokyo"), ZoneClock("America/New_York")
    with pytest.raises(CannotCarry, match="years 1 to 9999"):
        (east if moment.year == 1 else west).to_utc(moment)
    with pytest.raises(CannotCarry, match="years 1 to 9999"):
        (west if moment.year == 1 else east).to_local(moment)
