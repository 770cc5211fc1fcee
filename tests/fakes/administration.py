"""The side of AWS that makes trust anchors, profiles and roles, for AWS's own command line.

Rolesanywhere's part speaks REST with JSON, IAM's and CloudFormation's Query with XML. What is made
counts at once for the services that hand out sessions. It believes any signature: who may make a
role is not what is tested. A stack is what its template says, evaluated; what a template asks for
beyond what a guide needs is refused.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import yaml
from aiohttp import web
from cryptography import x509

from tests.fakes import policies
from tests.fakes.servers import Account
from tests.fakes.world import ACCOUNT, REGION, Profile, TrustAnchor

Json = dict[str, Any]

_OURS: Final = f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}"


class Invalid(Exception):
    """What was asked for cannot be made."""


@dataclass(slots=True)
class Administration:
    """What was made: each role's trust policies, oldest first, and each stack's outputs."""

    account: Account
    policies: dict[str, list[Json]] = field(default_factory=dict)
    stacks: dict[str, dict[str, str]] = field(default_factory=dict)
    _changes: dict[str, dict[str, str]] = field(default_factory=dict)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any call of the three services."""
        body = await request.read()
        try:
            if request.path in ("/trustanchors", "/profiles"):
                made = self._rest(request.path, json.loads(body))
                return web.json_response(made, status=201)
            asked = dict(parse_qsl(body.decode(), keep_blank_values=True))
            return self._query(asked)
        except Invalid as wrong:
            return _refused(str(wrong))

    # What there is to be made.

    def trust_anchor(self, source: Json) -> str:
        """The ARN of a new one."""
        if source.get("sourceType") != "CERTIFICATE_BUNDLE":
            raise Invalid(f"sourceType {source.get('sourceType')!r}")
        pem = source["sourceData"]["x509CertificateData"].encode()
        certificates = tuple(x509.load_pem_x509_certificates(pem))
        for one in certificates:
            if not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                raise Invalid("Incorrect basic constraints for CA certificate")
        arn = f"{_OURS}:trust-anchor/{uuid.uuid4()}"
        world = self.account.world
        self.account.world = replace(
            world, trust_anchors={**world.trust_anchors, arn: TrustAnchor(certificates)}
        )
        return arn

    def role(self, name: str, policy: Json) -> str:
        """The ARN of a new one."""
        if name in self.policies:
            raise Invalid(f"Role with name {name} already exists.")
        return self.trust(name, policy)

    def trust(self, name: str, policy: Json) -> str:
        """Say who may assume a role; its ARN."""
        try:
            parsed = policies.parse(policy)
        except policies.NotPlayed as wrong:
            raise Invalid(str(wrong)) from None
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        world = self.account.world
        self.account.world = replace(world, trust_policies={**world.trust_policies, arn: parsed})
        self.policies.setdefault(name, []).append(policy)
        return arn

    def profile(self, roles: list[str], seconds: int) -> str:
        """The ARN of a new one."""
        for role in roles:
            if role.rpartition("/")[2] not in self.policies:
                raise Invalid(f"{role} does not exist")
        arn = f"{_OURS}:profile/{uuid.uuid4()}"
        world = self.account.world
        made = Profile(frozenset(roles), duration_seconds=seconds)
        self.account.world = replace(world, profiles={**world.profiles, arn: made})
        return arn

    # How it is asked for.

    def _rest(self, path: str, asked: Json) -> Json:
        if not asked.get("enabled"):
            raise Invalid(f"{asked['name']} is not enabled")
        if path == "/trustanchors":
            return {"trustAnchor": {"trustAnchorArn": self.trust_anchor(asked["source"])}}
        return {
            "profile": {
                "profileArn": self.profile(asked["roleArns"], asked.get("durationSeconds", 3600))
            }
        }

    def _query(self, asked: Mapping[str, str]) -> web.Response:
        actions: Mapping[str, Callable[[Mapping[str, str]], str]] = {
            "CreateRole": self._create_role,
            "UpdateAssumeRolePolicy": self._update_policy,
            "CreateChangeSet": self._create_change_set,
            "DescribeChangeSet": lambda _: "<Status>CREATE_COMPLETE</Status>",
            "ExecuteChangeSet": self._execute,
            "DescribeStacks": self._describe,
        }
        action = asked["Action"]
        if action not in actions:
            raise Invalid(f"{action} is not played")
        result = f"<{action}Result>{actions[action](asked)}</{action}Result>"
        return _xml(200, f"<{action}Response>{result}</{action}Response>")

    def _create_role(self, asked: Mapping[str, str]) -> str:
        policy = json.loads(asked["AssumeRolePolicyDocument"])
        arn = self.role(asked["RoleName"], policy)
        return f"<Role><RoleName>{asked['RoleName']}</RoleName><Arn>{arn}</Arn></Role>"

    def _update_policy(self, asked: Mapping[str, str]) -> str:
        if asked["RoleName"] not in self.policies:
            raise Invalid(f"The role with name {asked['RoleName']} cannot be found.")
        self.trust(asked["RoleName"], json.loads(asked["PolicyDocument"]))
        return ""

    def _create_change_set(self, asked: Mapping[str, str]) -> str:
        self._changes[asked["StackName"]] = dict(asked)
        arn = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}"
        return f"<Id>{arn}:changeSet/1</Id><StackId>{arn}:stack/{asked['StackName']}</StackId>"

    def _execute(self, asked: Mapping[str, str]) -> str:
        change = self._changes.pop(asked["StackName"])
        if "CAPABILITY_NAMED_IAM" not in change.values():
            raise Invalid("Requires capabilities : [CAPABILITY_NAMED_IAM]")
        given = {
            value: change[key.replace("ParameterKey", "ParameterValue")]
            for key, value in change.items()
            if key.endswith("ParameterKey")
        }
        self.stacks[asked["StackName"]] = Stack(self, given).make(change["TemplateBody"])
        return ""

    def _describe(self, asked: Mapping[str, str]) -> str:
        name = asked["StackName"].rpartition("/")[2]
        if name not in self.stacks:
            raise Invalid(f"Stack with id {name} does not exist")
        outputs = "".join(
            f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
            for key, value in self.stacks[name].items()
        )
        return (
            f"<Stacks><member><StackName>{name}</StackName><Outputs>{outputs}</Outputs>"
            "<CreationTime>2026-01-01T00:00:00Z</CreationTime>"
            "<StackStatus>CREATE_COMPLETE</StackStatus></member></Stacks>"
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """An intrinsic function of a template."""

    function: str
    argument: str


class _Loader(yaml.SafeLoader):
    """YAML with a template's short forms."""


def _call(loader: yaml.SafeLoader, function: str, node: yaml.ScalarNode) -> _Call:
    return _Call(function, str(loader.construct_scalar(node)))


_Loader.add_multi_constructor("!", _call)


@dataclass(slots=True)
class Stack:
    """A template's evaluation, resource by resource as each is first referred to."""

    administration: Administration
    given: Mapping[str, str]
    _made: dict[str, str] = field(default_factory=dict)
    _template: Json = field(default_factory=dict)

    def make(self, text: str) -> dict[str, str]:
        """Its outputs."""
        self._template = yaml.load(text, _Loader)  # noqa: S506 - it makes nothing but plain data
        for name in self._template["Resources"]:
            self._resource(name)
        return {
            name: self._evaluated(output["Value"])
            for name, output in self._template["Outputs"].items()
        }

    def _resource(self, name: str) -> str:
        if name not in self._made:
            resource = self._template["Resources"][name]
            properties = self._evaluated(resource["Properties"])
            self._made[name] = self._makers()[resource["Type"]](properties)
        return self._made[name]

    def _makers(self) -> Mapping[str, Callable[[Json], str]]:
        make = self.administration
        return {
            "AWS::RolesAnywhere::TrustAnchor": lambda it: make.trust_anchor(
                {
                    "sourceType": it["Source"]["SourceType"],
                    "sourceData": {
                        "x509CertificateData": it["Source"]["SourceData"]["X509CertificateData"]
                    },
                }
            ),
            "AWS::IAM::Role": lambda it: make.role(it["RoleName"], it["AssumeRolePolicyDocument"]),
            "AWS::RolesAnywhere::Profile": lambda it: make.profile(
                it["RoleArns"], it["DurationSeconds"]
            ),
        }

    def _evaluated(self, value: Any) -> Any:
        match value:
            case dict():
                return {key: self._evaluated(each) for key, each in value.items()}
            case list():
                return [self._evaluated(each) for each in value]
            case _Call("Ref", name) if name in self._template["Parameters"]:
                return self.given.get(name) or self._template["Parameters"][name]["Default"]
            case _Call("GetAtt", path):
                name, _, attribute = path.partition(".")
                kind = self._template["Resources"][name]["Type"].rpartition("::")[2]
                if attribute != ("Arn" if kind == "Role" else f"{kind}Arn"):
                    raise Invalid(f"{name} has no attribute {attribute}")
                return self._resource(name)
            case _Call():
                raise Invalid(f"{value} is not played")
        return value


def _refused(words: str) -> web.Response:
    """As both protocols have it: each reads its own part."""
    response = _xml(
        400,
        "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>"
        f"<Message>{escape(words)}</Message></Error></ErrorResponse>",
    )
    response.headers["X-Amzn-ErrorType"] = "ValidationException"
    return response


def _xml(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/xml")
