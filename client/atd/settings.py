"""Where atd keeps its things and how it reaches the network: settings with their origin.

What belongs here: every setting that a user can give, each as one row of `KNOBS`, and the folders
that follow from them. This is the only reader of the environment and of ``config.toml``, for the
library, the command and the daemon alike.

Rules. The environment wins over the configuration file, which wins over the default. A value that
cannot be used is `BadSettings`, and names the variable or the file, the value, and the form that
was expected. Nothing is created by reading settings; `Settings.prepare` creates the folders, for
their owner alone.

Folders. With ``ATD_HOME`` everything lives below it (``config.toml``, ``state/``, ``cache/``,
``run/``). Without it the XDG folders are used; the runtime folder is ``XDG_RUNTIME_DIR``, else
``/run/user/UID`` where that is ours (so that cron and the shell meet the same daemon), else
``/tmp/atd-UID``. The kernel takes socket paths of about 107 bytes: a longer one moves below the
runtime folder, under a hash of the home.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from atd import setting_values as spelt
from atd.errors import AtdError, BadSettings, StorageFault
from atd.setting_values import parse_bytes as parse_bytes
from atd.setting_values import split_host_port as split_host_port

MAX_SOCKET_PATH_BYTES: Final = 100
DEFAULT: Final = "default"

Parser = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting: its name in ``config.toml``, its variable, and how a value is read.

    ``parse`` takes a string (environment) or a TOML value and raises ValueError for anything else;
    ``form`` says in words what it takes.
    """

    name: str
    variable: str
    default: Any
    form: str
    parse: Parser


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as ``atd config`` shows it."""

    name: str
    variable: str
    value: str
    origin: str


KNOBS: Final = (
    Knob("plc_url", "ATD_PLC_URL", "https://plc.directory", spelt.URL_FORM, spelt.origin_url),
    Knob("dns_server", "ATD_DNS_SERVER", None, spelt.ADDRESS_FORM, spelt.host_port),
    Knob(
        "allow_hosts",
        "ATD_ALLOW_HOSTS",
        frozenset(),
        "a list of host:port (with commas between them in the environment)",
        spelt.host_ports,
    ),
    Knob("offline", "ATD_OFFLINE", False, "1 or 0 (true or false in the file)", spelt.flag),
    Knob(
        "relay",
        "ATD_RELAY",
        None,
        "the URL of a relay, such as https://relay.example",
        spelt.origin_url,
    ),
    Knob("check_every_s", "ATD_CHECK_EVERY_S", 900, spelt.SECONDS_FORM, spelt.seconds),
    Knob("fresh_within_s", "ATD_FRESH_WITHIN_S", None, "seconds, from 10 to 604800", spelt.seconds),
    Knob("s3_endpoint", "ATD_S3_ENDPOINT", None, spelt.URL_FORM, spelt.origin_url),
    Knob("hf_endpoint", "HF_ENDPOINT", "https://huggingface.co", spelt.URL_FORM, spelt.origin_url),
    Knob("recipe_max_bytes", "ATD_RECIPE_MAX_BYTES", 1 << 37, spelt.BYTES_FORM, spelt.parse_bytes),
    Knob("cache_quota", "ATD_CACHE_QUOTA", None, spelt.BYTES_FORM, spelt.parse_bytes),
    Knob("log_format", "ATD_LOG_FORMAT", "text", "text or json", spelt.log_format),
    Knob(
        "mirrors",
        "ATD_MIRRORS",
        (),
        "a list of servers such as https://data.example.org (with commas in the environment)",
        spelt.origins,
    ),
    Knob("public_listen", "ATD_PUBLIC_LISTEN", None, spelt.ADDRESS_FORM, spelt.host_port),
    Knob("host_listen", "ATD_HOST_LISTEN", "127.0.0.1:2583", spelt.ADDRESS_FORM, spelt.host_port),
)

FOLDER_VARIABLES: Final = (
    "ATD_HOME",
    "HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
)
_FOLDERS: Final = ("config_dir", "state_dir", "cache_dir", "run_dir", "socket_path")
VARIABLES: Final = (*FOLDER_VARIABLES, *(knob.variable for knob in KNOBS))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can set, as it applies to this process. Made by `Settings.load`.

    Addresses are normalised ``host:port`` strings (IPv6 in brackets, lower case); URLs have no
    trailing slash.
    """

    config_dir: Path
    state_dir: Path
    cache_dir: Path
    run_dir: Path
    socket_path: Path
    plc_url: str
    dns_server: str | None
    allow_hosts: frozenset[str]
    offline: bool
    relay: str | None
    check_every_s: int
    fresh_within_s: int | None
    s3_endpoint: str | None
    hf_endpoint: str
    recipe_max_bytes: int
    cache_quota: int | None
    log_format: str
    mirrors: tuple[str, ...]
    public_listen: str | None
    host_listen: str
    home_origin: str = DEFAULT
    origins: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment and the configuration file.

        Args:
            environ: the variables to read; this process's own where it is None.

        Raises:
            BadSettings: a value cannot be used, or the file has a key that is not a setting.
            StorageFault: the configuration file is there and cannot be read.
        """
        env = os.environ if environ is None else environ
        folders = _folders(env)
        config_file = folders["config_dir"] / "config.toml"
        table = _read_table(config_file)
        _check_keys(table, config_file)
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for knob in KNOBS:
            values[knob.name], origins[knob.name] = _value(knob, env, table, config_file)
        merged: dict[str, Any] = {**folders, **values}
        read = {name: env[name] for name in VARIABLES if name in env}
        return cls(**merged, home_origin=_home_origin(env), origins=origins, variables=read)

    @property
    def config_file(self) -> Path:
        """``config.toml``, which need not exist."""
        return self.config_dir / "config.toml"

    @property
    def lock_file(self) -> Path:
        """Held by the running daemon for its whole life; beside the state that it guards."""
        return self.state_dir / "daemon.lock"

    @property
    def daemon_file(self) -> Path:
        """``daemon.json``: what the running daemon says of itself."""
        return self.run_dir / "daemon.json"

    @property
    def log_file(self) -> Path:
        """The daemon's log."""
        return self.state_dir / "daemon.log"

    def digest(self) -> str:
        """A hash of every setting that changes what a daemon does (hex, 32 characters).

        A client and a daemon that differ here must not be mixed. ``offline`` is left out: it is
        the client's, and travels with each request.
        """
        said = json.dumps(self.shared(), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def shared(self) -> dict[str, str]:
        """What a client and its daemon must agree in, as text; `digest` is of it."""
        own = {"offline", "run_dir", "socket_path", "public_listen", "log_format", "fresh_within_s"}
        own |= {"hf_endpoint", "recipe_max_bytes"}  # no daemon looks at them
        return {row.name: row.value for row in self.described() if row.name not in own}

    def listening_publicly(self, address: str) -> Settings:
        """The same with the public mode on at ``address`` (``host:port``), also for a daemon that
        is started with these.

        Raises:
            BadSettings: it is no such address.
        """
        try:
            listen = spelt.host_port(address)
        except ValueError:
            raise BadSettings(
                f"--public should be {spelt.ADDRESS_FORM}, but is {address!a}"
            ) from None
        variables = {**self.variables, "ATD_PUBLIC_LISTEN": listen}
        origins = {**self.origins, "public_listen": "command line"}
        return replace(self, public_listen=listen, variables=variables, origins=origins)

    def child_environ(self) -> dict[str, str]:
        """The environment of a daemon that is to have these settings.

        This process's own, with every variable that settings are read from as it was when these
        were read. The daemon itself is never started offline: that is each caller's choice.
        """
        kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        return kept | dict(self.variables) | {"ATD_OFFLINE": "0"}

    def described(self) -> tuple[Described, ...]:
        """Every setting with its value and its origin, folders first."""
        folders = {name: getattr(self, name) for name in _FOLDERS}
        values = [
            _described(knob, getattr(self, knob.name), self.origins.get(knob.name, DEFAULT))
            for knob in KNOBS
        ]
        return (*_described_folders(folders, self.home_origin), *values)

    def prepare(self) -> None:
        """Create the folders, readable by their owner alone.

        Raises:
            StorageFault: a folder cannot be made or written, or the runtime folder is not ours.
        """
        if self.run_dir.is_relative_to(_shared_fallback()) or self.socket_path.is_relative_to(
            _shared_fallback()
        ):
            # Anyone may have made it first, and whoever owns it could replace what is inside.
            _make_private(_shared_fallback())
            _check_private(_shared_fallback())
        for folder in (self.config_dir, self.state_dir, self.cache_dir, self.run_dir):
            _make_private(folder)
        _make_private(self.socket_path.parent)
        for folder in (self.run_dir, self.socket_path.parent):
            _check_private(folder)


def survey(
    environ: Mapping[str, str] | None = None,
) -> tuple[tuple[Described, ...], tuple[AtdError, ...]]:
    """Every setting as far as it can be read, and what is wrong with the rest.

    This is for whoever looks for a mistake: everybody else takes all settings or none, from
    `Settings.load`. A value that cannot be used is shown as it was given.
    """
    env = os.environ if environ is None else environ
    folders = _folders(env)
    file = folders["config_dir"] / "config.toml"
    rows = [*_described_folders(folders, _home_origin(env))]
    problems: list[AtdError] = []
    table: dict[str, Any] = {}
    try:
        table = _read_table(file)
        _check_keys(table, file)
    except (BadSettings, StorageFault) as error:
        problems.append(error)
    for knob in KNOBS:
        try:
            rows.append(_described(knob, *_value(knob, env, table, file)))
        except BadSettings as error:
            problems.append(error)
            raw, origin = _given(knob, env, table, file)
            rows.append(Described(knob.name, knob.variable, str(raw), f"{origin}: cannot be used"))
    return tuple(rows), tuple(problems)


def _described_folders(folders: Mapping[str, Path], origin: str) -> list[Described]:
    return [Described(name, "ATD_HOME", str(folders[name]), origin) for name in _FOLDERS]


def _described(knob: Knob, value: Any, origin: str) -> Described:
    text = ",".join(sorted(value)) if isinstance(value, frozenset) else value
    text = ",".join(value) if isinstance(value, tuple) else text
    return Described(knob.name, knob.variable, "" if text is None else str(text), origin)


def _home_origin(env: Mapping[str, str]) -> str:
    return "environment ATD_HOME" if env.get("ATD_HOME") else DEFAULT


def _given(
    knob: Knob, env: Mapping[str, str], table: Mapping[str, Any], file: Path
) -> tuple[Any, str]:
    """One setting as it was given, and where; None where it was not."""
    if env.get(knob.variable):
        return env[knob.variable], f"environment {knob.variable}"
    if knob.name in table:
        return table[knob.name], f"config file {file}"
    return None, DEFAULT


def _value(
    knob: Knob, env: Mapping[str, str], table: Mapping[str, Any], file: Path
) -> tuple[Any, str]:
    """The value of one setting and where it came from."""
    raw, origin = _given(knob, env, table, file)
    if origin == DEFAULT:
        return knob.default, DEFAULT
    try:
        return knob.parse(raw), origin
    except ValueError:
        where = knob.variable if origin.startswith("environment") else f"{knob.name} in {file}"
        raise BadSettings(f"{where} should be {knob.form}, but is {raw!a}") from None


def _read_table(file: Path) -> dict[str, Any]:
    """The configuration file as a table; empty where there is none."""
    try:
        text = file.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UnicodeDecodeError as error:
        raise BadSettings(f"{file} should be TOML in UTF-8: {error.reason}") from None
    except OSError as error:
        raise StorageFault(f"cannot read the configuration file {file}: {error.strerror}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{file} should be TOML: {error}") from None
    return table


def _check_keys(table: Mapping[str, Any], file: Path) -> None:
    """Refuse a key that is not a setting: it may be one that was misspelt."""
    known = {knob.name for knob in KNOBS}
    for key in table:
        if key not in known:
            raise BadSettings(f"{file} has {key!a}, expected one of {', '.join(sorted(known))}")


def _folders(env: Mapping[str, str]) -> dict[str, Path]:
    """The four folders and the socket's path."""
    runtime = _runtime_folder(env)
    if env.get("ATD_HOME"):
        home = Path(os.path.abspath(os.path.expanduser(env["ATD_HOME"])))
        run = home / "run"
        folders = {
            "config_dir": home,
            "state_dir": home / "state",
            "cache_dir": home / "cache",
            "run_dir": run,
        }
    else:
        user = Path(env["HOME"]) if env.get("HOME") else Path(os.path.expanduser("~"))
        run = runtime / "atd"
        folders = {
            "config_dir": _xdg(env, "XDG_CONFIG_HOME", user / ".config") / "atd",
            "state_dir": _xdg(env, "XDG_STATE_HOME", user / ".local" / "state") / "atd",
            "cache_dir": _xdg(env, "XDG_CACHE_HOME", user / ".cache") / "atd",
            "run_dir": run,
        }
    socket_path = run / "daemon.sock"
    if len(os.fsencode(socket_path)) > MAX_SOCKET_PATH_BYTES:
        mark = hashlib.sha256(os.fsencode(folders["state_dir"])).hexdigest()[:16]
        socket_path = runtime / f"atd-{mark}" / "daemon.sock"
    return folders | {"socket_path": socket_path}


def _xdg(env: Mapping[str, str], variable: str, default: Path) -> Path:
    """An XDG base folder; the specification says to ignore one that is not absolute."""
    value = env.get(variable, "")
    return Path(value) if os.path.isabs(value) else default


def _runtime_folder(env: Mapping[str, str]) -> Path:
    value = env.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(value) and len(os.fsencode(value)) <= 60:
        return Path(value)
    usual = Path(f"/run/user/{os.getuid()}")
    try:
        if os.stat(usual).st_uid == os.getuid():
            return usual
    except OSError:
        pass
    return _shared_fallback()


def _shared_fallback() -> Path:
    """The runtime folder where the system has none: a fixed place, not tempfile's.

    Processes with different TMPDIRs must meet there.
    """
    return Path(f"/tmp/atd-{os.getuid()}")  # noqa: S108 - made 0700, checked before it is used


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFault(f"cannot create the folder {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageFault(f"the folder {folder} cannot be written by this user")


def _check_private(folder: Path) -> None:
    """Refuse a runtime folder that another user owns, or could read or change."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StorageFault(
            f"the runtime folder {folder} should be a folder of user {os.getuid()}, "
            f"but belongs to user {found.st_uid}"
        )
    if found.st_mode & 0o077:
        try:
            os.chmod(folder, 0o700)
        except OSError as error:
            raise StorageFault(f"cannot close {folder} to others: {error.strerror}") from None
