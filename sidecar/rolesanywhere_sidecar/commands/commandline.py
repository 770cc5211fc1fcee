"""The command line: a command, its options, and settings from flags, environment and config file.

A flag wins over its variable, and a variable over the config file. Flags are made from the
settings themselves, so that none is forgotten; some also have the name that AWS's credential
helper gives them. Never reads the environment itself, never opens a file.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final

from rolesanywhere_contract import pkcs11uri
from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.names import ENVIRONMENT_PREFIX
from rolesanywhere_contract.settings import IdentitySettings, Settings, variable
from rolesanywhere_sidecar.commands import configuration, flags
from rolesanywhere_sidecar.commands.configuration import Configuration
from rolesanywhere_sidecar.commands.flags import Given
from rolesanywhere_sidecar.commands.table import (
    COMMANDS,
    CONFIG,
    IDLE,
    IDLE_VALUES,
    REFUSED,
    REFUSED_SWITCHES,
    TRUE_OR_FALSE,
    Command,
    flag,
    flags_of,
    is_switch,
)
from rolesanywhere_sidecar.version import PROGRAM, VERSION

CONFIG_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}{CONFIG.upper()}"
_HELP: Final = ("-h", "--help")
_PASSWORD: Final = "private_key_password"  # noqa: S105 - the name of a setting
_SAFER: Final = (
    "name a file with --private-key-password-file, or set ROLESANYWHERE_PRIVATE_KEY_PASSWORD"
)

_FOR_TOKENS: Final = ("pkcs11_module", "pin_file", "pin_latch_file", *IDLE_VALUES)
_TPM_HANDLE: Final = "handle:"

# The bytes of the file at a path, and whether its owner alone may read it. Raises OSError.
Load = Callable[[str], tuple[bytes, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What is to be done: a command with all of its options, whether or not they were given.

    ``settings`` are None for a command that needs none, and `InvalidSettings` for doctor alone,
    whose trade they are. ``warnings`` are sentences.
    """

    command: str
    settings: IdentitySettings | InvalidSettings | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def parse(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    load: Load,
    show: Callable[[str], None] = print,
) -> Invocation:
    """What ``argv`` (without the program's name), ``env`` and the config file ask for.

    Raises `InvalidSettings` with every mistake, each named as the user wrote it. For help and
    version it raises SystemExit(0) after ``show`` had the text.
    """
    name = _command(argv, show)
    command = COMMANDS[name]
    given = _read_flags(argv[1:], name, command)
    options, mistakes = _options(given, command)
    mistakes = (*given.mistakes, *mistakes, *_idle_mistakes(given))
    if command.needs is None:
        return _unless(mistakes, Invocation(command=name, options=options))
    told, warnings = _told(given, env, load=load, command=name)
    told, without_effect = _without_token_flags(told)
    warnings += without_effect
    settings, wrong = _settings(command, told)
    wrong = (*told.file.mistakes, *wrong, *_keys_in_a_tpm(told))
    if name == "serve":
        wrong += tuple(_nobody_served(told))
    if name == "doctor" and wrong:
        values = settings.values if isinstance(settings, InvalidSettings) else vars(settings)
        settings = InvalidSettings(wrong, values=values)
    else:
        mistakes += wrong
    found = Invocation(command=name, settings=settings, options=options, warnings=warnings)
    return _unless(mistakes, found)


def _unless(mistakes: Sequence[str], found: Invocation) -> Invocation:
    if mistakes:
        raise InvalidSettings(mistakes)
    return found


@dataclass(frozen=True, slots=True)
class _Told:
    """Where a setting was said: in a flag, else in the environment, else in the config file."""

    given: Given
    env: Mapping[str, str]
    file: Configuration = field(default_factory=Configuration)

    def text(self, name: str) -> str:
        """What was said; empty if nothing, or if a flag takes it back."""
        if name in self.given.texts:
            return self.given.texts[name][1]
        return self.env.get(variable(name)) or self.file.texts.get(name, "")

    def called(self, name: str) -> str:
        """How the user wrote the setting, or could have."""
        if name in self.given.texts:
            return self.given.texts[name][0]
        if self.env.get(variable(name)):
            return variable(name)
        if name in self.file.texts:
            return f"{self.file.where}: {name}"
        return f"{flag(name)} (or {variable(name)})"


def _command(argv: Sequence[str], show: Callable[[str], None]) -> str:
    """The command; what asks for no more than a text is answered here."""
    name = next(iter(argv), "")
    if name in ("help", *_HELP) or (name in COMMANDS and not {*_HELP}.isdisjoint(argv)):
        from rolesanywhere_sidecar.commands import manual

        page = manual.page(name) if name in COMMANDS else manual.overview()
        show(page)
        raise SystemExit(0)
    if name in ("version", "--version"):
        show(f"{PROGRAM} {VERSION}")
        raise SystemExit(0)
    if name not in COMMANDS:
        known = " or ".join((", ".join(list(COMMANDS)[:-1]), list(COMMANDS)[-1]))
        # Who forgot the command began with a flag; what follows it may be a secret.
        what = (
            "a command is missing"
            if name.startswith("-") or not name
            else f"{name!r} is no command"
        )
        raise InvalidSettings((f"{what}, expected {known} (see {PROGRAM} --help)",))
    return name


def _read_flags(words: Sequence[str], name: str, command: Command) -> Given:
    settings = {one: setting for setting in command.settings for one in flags_of(setting)}
    values = {one: setting for one, setting in settings.items() if not is_switch(setting)}
    switches = {one: setting for one, setting in settings.items() if is_switch(setting)}
    for option, about in command.options.items():
        (switches if about.is_switch else values)[flag(option)] = option
    for option, is_one in command.takes_in_vain.items():
        (switches if is_one else values)[flag(option)] = option
    if command.needs is not None:
        values[flag(CONFIG)] = CONFIG
        switches |= {one: one for one in (*IDLE, *REFUSED_SWITCHES)}
        values |= {one: one for one in IDLE_VALUES}
    return flags.read(words, values=values, switches=switches, command=name)


def _options(given: Given, command: Command) -> tuple[dict[str, str], tuple[str, ...]]:
    """Every option's text, and a sentence for each that is none of its choices."""
    chosen: dict[str, str] = {}
    mistakes: list[str] = []
    for name, option in command.options.items():
        called, chosen[name] = given.texts.get(name, (flag(name), option.default))
        if option.choices and chosen[name] not in option.choices:
            expected = ", ".join(option.choices)
            mistakes.append(f"{called}: {chosen[name]!r} is none of {expected}")
        elif not re.fullmatch(option.pattern, chosen[name]):
            mistakes.append(f"{called}: {chosen[name]!r} is no {name}")
    return chosen, tuple(mistakes)


def _idle_mistakes(given: Given) -> Iterator[str]:
    for name in (*IDLE, *REFUSED_SWITCHES):
        _, text = given.texts.get(name, ("", "false"))
        if text not in TRUE_OR_FALSE:
            yield f"{name}: {text!r} is neither 'true' nor 'false'"
        elif name in REFUSED and text == "true":
            yield f"{name}: {REFUSED[name]}"


def _told(
    given: Given, env: Mapping[str, str], *, load: Load, command: str
) -> tuple[_Told, tuple[str, ...]]:
    """What was said anywhere, and warnings about the places where passwords were."""
    if given.texts.get("--debug", ("", "false"))[1] == "true" and command == "serve":
        texts = {"log_level": ("--debug", "debug"), **given.texts}
        given = Given(texts, given.mistakes)
    warnings: list[str] = []
    if _PASSWORD in given.texts:
        called = given.texts[_PASSWORD][0]
        warnings.append(f"{called}: everybody on this machine can read a command line; {_SAFER}")
    called, path = given.texts.get(CONFIG, (CONFIG_VARIABLE, env.get(CONFIG_VARIABLE, "")))
    if not path:
        return _Told(given, env), tuple(warnings)
    try:
        content, is_private = load(path)
    except (OSError, ValueError) as wrong:  # a null in the name is a ValueError
        reason = getattr(wrong, "strerror", None) or "its name has a null character"
        unread = Configuration(mistakes=(f"{called}: the file cannot be read: {reason}",))
        return _Told(given, env, unread), tuple(warnings)
    file = configuration.read(content, where=path)
    if _PASSWORD in file.texts and not is_private:
        warnings.append(f"{path}: holds a password and others may read it; make its mode 0600")
    return _Told(given, env, file), tuple(warnings)


def _settings(
    command: Command, told: _Told
) -> tuple[IdentitySettings | InvalidSettings, tuple[str, ...]]:
    """The settings, or else what is wrong with them."""
    texts = {setting.name: told.text(setting.name) for setting in fields(Settings)}
    for name, instead in command.stand_ins.items():
        texts[name] = texts[name] or texts[instead]
    told_env = {variable(name): text for name, text in texts.items()}
    needs = command.needs or Settings
    try:
        return needs.from_env(told_env, called=told.called), ()
    except InvalidSettings as wrong:
        return wrong, wrong.mistakes


def _without_token_flags(told: _Told) -> tuple[_Told, tuple[str, ...]]:
    """Without the flags that are for keys in a token, if the key is none; and a warning for each.

    Command lines of AWS's helper have them; in environment and config file they are a mistake.
    """
    if any(pkcs11uri.is_one(told.text(name)) for name in ("certificate", "private_key")):
        return told, ()
    found = {name: told.given.texts[name][0] for name in _FOR_TOKENS if name in told.given.texts}
    kept = {name: text for name, text in told.given.texts.items() if name not in found}
    warnings = tuple(
        f"{called}: is without effect, because the private key is a file"
        for called in found.values()
    )
    return replace(told, given=replace(told.given, texts=kept)), warnings


def _keys_in_a_tpm(told: _Told) -> Iterator[str]:
    if told.text("private_key").startswith(_TPM_HANDLE):
        yield (
            f"{told.called('private_key')}: is a handle of a key in a TPM, whose keys are used by"
            " PKCS#11 alone; make one there with tpm2_ptool, and name it by a pkcs11: URI"
        )


def _nobody_served(told: _Told) -> Iterator[str]:
    """A sentence if both ways to credentials are off: IMDS, and the endpoint that wants a token."""
    if told.text("imds") == "false" and not told.text("token_file"):
        yield (
            f"{told.called('imds')}: is false while {told.called('token_file')} is not set, so that"
            " nobody could be served; name a token file, or leave IMDS on"
        )
