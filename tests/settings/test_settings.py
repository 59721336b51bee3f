"""Settings: where each comes from, what a bad one says, and folders for their owner alone."""

from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path

import pytest

from atd.errors import BadSettings, StorageFault
from atd.settings import KNOBS, MAX_SOCKET_PATH_BYTES, Settings, split_host_port


def home(folder: Path, **more: str) -> Settings:
    return Settings.load({"ATD_HOME": str(folder), **more})


def write_config(folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text, "utf-8")


def test_everything_lives_below_atd_home(tmp_path: Path) -> None:
    settings = home(tmp_path)
    assert settings.config_file == tmp_path / "config.toml"
    assert settings.state_dir == tmp_path / "state"
    assert settings.cache_dir == tmp_path / "cache"
    assert settings.run_dir == tmp_path / "run"


def test_without_a_home_the_xdg_folders_are_used(tmp_path: Path) -> None:
    run = Path("/tmp") / f"xdg-{os.getpid()}"
    settings = Settings.load(
        {
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path / "c"),
            "XDG_STATE_HOME": "relative/is/ignored",
            "XDG_RUNTIME_DIR": str(run),
        }
    )
    assert settings.config_dir == tmp_path / "c" / "atd"
    assert settings.state_dir == tmp_path / ".local/state/atd"
    assert settings.cache_dir == tmp_path / ".cache/atd"
    assert settings.socket_path == run / "atd" / "daemon.sock"


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    write_config(tmp_path, 'plc_url = "https://a.example"\ndns_server = "127.0.0.1:53"\n')
    settings = home(tmp_path, ATD_PLC_URL="https://b.example/")
    assert settings.plc_url == "https://b.example"
    assert settings.dns_server == "127.0.0.1:53"
    assert settings.host_listen == "127.0.0.1:2583"
    origin = {row.name: row.origin for row in settings.described()}
    assert origin["plc_url"] == "environment ATD_PLC_URL"
    assert origin["dns_server"] == f"config file {tmp_path / 'config.toml'}"
    assert origin["host_listen"] == "default"
    assert origin["state_dir"] == "environment ATD_HOME"


def test_hosts_are_exact_pairs_and_normalised(tmp_path: Path) -> None:
    settings = home(tmp_path, ATD_ALLOW_HOSTS="LocalHost:2583, 127.0.0.1:80,[::1]:9,")
    assert settings.allow_hosts == {"localhost:2583", "127.0.0.1:80", "[::1]:9"}
    write_config(tmp_path, 'allow_hosts = ["localhost:1", "localhost:2"]')
    assert home(tmp_path).allow_hosts == {"localhost:1", "localhost:2"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ATD_PLC_URL", "plc.directory"),
        ("ATD_PLC_URL", "ftp://plc.directory"),
        ("ATD_PLC_URL", "https://user:pw@plc.directory"),
        ("ATD_PLC_URL", "https://plc.directory:99999"),
        ("ATD_PLC_URL", "https://plc.dir\nectory"),
        ("ATD_DNS_SERVER", "127.0.0.1"),
        ("ATD_DNS_SERVER", "127.0.0.1:0"),
        ("ATD_ALLOW_HOSTS", "127.0.0.1"),
        ("ATD_ALLOW_HOSTS", "*:80"),
        ("ATD_ALLOW_HOSTS", "10.0.0.0/8:80"),
        ("ATD_OFFLINE", "perhaps"),
        ("ATD_S3_ENDPOINT", "s3://x"),
        ("ATD_HOST_LISTEN", "2583"),
    ],
)
def test_a_bad_value_names_the_variable_the_value_and_the_form(
    tmp_path: Path, variable: str, value: str
) -> None:
    with pytest.raises(BadSettings) as caught:
        home(tmp_path, **{variable: value})
    form = next(knob.form for knob in KNOBS if knob.variable == variable)
    assert variable in caught.value.message
    assert ascii(value) in caught.value.message
    assert form in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "plc_url = 3",
        "plc_url = ",
        "allow_hosts = [1]",
        'offline = "maybe"',
        "unknown = 1",
        'plc_ur\\u006c = "x"',
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    write_config(tmp_path, text)
    with pytest.raises(BadSettings, match=r"config\.toml"):
        home(tmp_path)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSettings, match="UTF-8"):
        home(tmp_path)


def test_an_unknown_key_lists_the_known_ones(tmp_path: Path) -> None:
    write_config(tmp_path, "plc = 1")
    with pytest.raises(BadSettings, match=r"'plc'.*plc_url"):
        home(tmp_path)


def test_a_long_socket_path_moves_to_the_runtime_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    run = {"XDG_RUNTIME_DIR": "/run/user/1"}
    socket_path = home(deep, **run).socket_path
    assert len(os.fsencode(socket_path)) <= MAX_SOCKET_PATH_BYTES
    assert socket_path.is_relative_to("/run/user/1")
    assert socket_path != home(tmp_path / ("y" * 120), **run).socket_path
    assert socket_path == home(deep, **run).socket_path


def test_folders_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    settings = home(tmp_path / "new")
    settings.prepare()
    for folder in (settings.state_dir, settings.cache_dir, settings.run_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_open_runtime_folder_is_closed(tmp_path: Path) -> None:
    settings = home(tmp_path)
    settings.run_dir.mkdir(mode=0o777)
    os.chmod(settings.run_dir, 0o777)
    settings.prepare()
    assert stat.S_IMODE(settings.run_dir.stat().st_mode) == 0o700


def test_a_runtime_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    settings = home(tmp_path / "home")
    settings.config_dir.mkdir()
    (tmp_path / "elsewhere").mkdir()
    settings.run_dir.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFault, match="runtime folder"):
        settings.prepare()


def test_a_home_that_cannot_be_made_is_a_storage_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFault, match="cannot create the folder"):
        home(tmp_path / "file" / "home").prepare()


def test_the_digest_changes_with_what_a_daemon_does_and_not_with_offline(tmp_path: Path) -> None:
    plain = home(tmp_path).digest()
    assert home(tmp_path, ATD_OFFLINE="1").digest() == plain
    assert home(tmp_path, ATD_PLC_URL="https://other.example").digest() != plain
    assert home(tmp_path, ATD_ALLOW_HOSTS="localhost:1").digest() != plain
    assert home(tmp_path / "other").digest() != plain


def test_a_child_started_from_settings_reads_the_same_settings(tmp_path: Path) -> None:
    settings = home(tmp_path, ATD_ALLOW_HOSTS="localhost:1", ATD_OFFLINE="1")
    child = Settings.load(settings.child_environ())
    assert child.digest() == settings.digest()
    assert child.socket_path == settings.socket_path
    assert not child.offline


def test_settings_pickle(tmp_path: Path) -> None:
    settings = home(tmp_path, ATD_DNS_SERVER="127.0.0.1:53")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_addresses_split_into_host_and_port() -> None:
    assert split_host_port("[::1]:53") == ("::1", 53)
    assert split_host_port("Example.org:443") == ("example.org", 443)
    with pytest.raises(ValueError):
        split_host_port("::1:53")
