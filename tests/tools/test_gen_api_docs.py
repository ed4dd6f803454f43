"""The API reference and the OpenAPI documents hold all of the contract, and only what is true of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import openapi_spec_validator
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor

from tools import gen_api_docs
from tools.api_docs import contract, legacy, reference
from tools.api_docs.examples import EXAMPLES, LEGACY, example_of
from tools.api_docs.openapi import PORTS

CONTRACT = contract.load()
METHODS = [method for service in CONTRACT.services() for method in service.methods]
PAGES = {page.area: reference.page_text(CONTRACT, page) for page in reference.PAGES}
MADE = gen_api_docs.made()


def area(method: MethodDescriptor) -> str:
    return str(method.containing_service.file.package).split(".")[1]


def test_what_is_committed_is_what_the_contract_says_now() -> None:
    assert gen_api_docs.stale() == []


def test_a_document_that_is_old_missing_or_left_over_is_found(tmp_path: Path) -> None:
    for path, text in MADE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert gen_api_docs.stale(tmp_path) == []
    (tmp_path / "docs/api/tts.md").write_text("old")
    (tmp_path / "docs/api/stt.md").unlink()
    (tmp_path / "envoy/openapi/gone.json").write_text("{}")
    assert [path.name for path in gen_api_docs.stale(tmp_path)] == ["stt.md", "tts.md", "gone.json"]


@pytest.mark.parametrize("package", CONTRACT.files)
def test_a_page_tells_every_field_value_and_comment_of_its_package(package: str) -> None:
    page = PAGES[package.split(".")[1]].replace("\\|", "|")
    for file in CONTRACT.files[package]:
        for message in contract.messages_of(file):
            if message.full_name.endswith("Request") and legacy_request(message.name):
                continue
            for field in message.fields:
                assert f"`{field.name}`" in page, field.full_name
                assert CONTRACT.comment(field) in page, field.full_name
        for enum in contract.enums_of(file):
            for value in enum.values:
                assert f"| `{value.name}` | {value.number} | {CONTRACT.comment(enum, value.name)} |" in page


def legacy_request(name: str) -> bool:
    """Whether a request's body is told by the fields of its form instead."""
    return any(method.input_type.name == name and legacy.route_of(method) for method in METHODS)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_a_page_tells_every_method_with_its_gRPC_name_binding_and_example(method: MethodDescriptor) -> None:
    page = PAGES[area(method)]
    (section,) = re.findall(rf"^### {method.name}\n.*?(?=^##|\Z)", page, re.M | re.S)
    assert CONTRACT.comment(method) in section
    assert f"`{method.containing_service.full_name}/{method.name}`" in section
    binding = contract.binding_of(method)
    assert (binding is None) == (method.client_streaming)
    if binding:
        assert f"`{binding.verb.upper()} {CONTRACT.path(method, binding)}`" in section
    assert "```sh" in section


@pytest.mark.parametrize("method", [m for m in METHODS if example_of(m)], ids=lambda method: method.full_name)
def test_an_example_is_a_request_of_its_method(method: MethodDescriptor) -> None:
    example = example_of(method)
    assert example is not None
    for request in example.requests:
        # What stands for a file is a text here; "@" is no base64.
        text = re.sub(r'"@[^"]+"', '""', json.dumps(request))
        json_format.Parse(text, message_factory.GetMessageClass(method.input_type)())
    assert len(example.requests) == 1 or method.client_streaming


def test_no_example_or_route_is_left_over() -> None:
    names = {f"{method.containing_service.name}.{method.name}" for method in METHODS}
    assert EXAMPLES.keys() | LEGACY.keys() == names
    assert LEGACY.keys() == legacy.ROUTES.keys()
    assert legacy.SECOND_STT_ROUTES.keys() <= legacy.ROUTES.keys()


@pytest.mark.parametrize("name", legacy.ROUTES)
def test_the_contract_names_the_same_fields_of_an_old_body(name: str) -> None:
    (method,) = [m for m in METHODS if f"{m.containing_service.name}.{m.name}" == name]
    binding = contract.binding_of(method)
    assert binding is not None
    routes = [legacy.ROUTES[name], *([legacy.SECOND_STT_ROUTES[name]] if name in legacy.SECOND_STT_ROUTES else [])]
    assert {bool(route.body) for route in routes} == {bool(binding.body)}
    if binding.body:
        comment = CONTRACT.comment(method.input_type.fields_by_name[binding.body])
        fields = {field for route in routes for field in route.fields}
        for field in fields:
            assert f'"{field}"' in comment
        defaults = {str(one.default) for route in routes for one in route.fields.values()}
        assert set(re.findall(r'"(\w+)"', comment)) - fields <= defaults


def anchors(text: str) -> list[str]:
    """The anchors of a page's headings; a comment of the shell looks like one too."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return [slug(one) for one in re.findall(r"^#+ (.+)$", prose, re.M)]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", [path for path in MADE if path.suffix == ".md"], ids=str)
def test_links_lead_somewhere_and_no_two_headings_share_an_anchor(path: Path) -> None:
    headings = {page: anchors(text) for page, text in MADE.items()}
    assert len(headings[path]) == len(set(headings[path]))
    for target in re.findall(r"\]\(([^)]+)\)", MADE[path]):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = Path("docs/api") / file if file else path
        if anchor:
            assert anchor in headings[there], target
        else:
            assert (gen_api_docs.ROOT / there).resolve().exists(), target


DOCUMENTS = {path.stem: json.loads(text) for path, text in MADE.items() if path.suffix == ".json"}


def test_every_public_port_has_a_document() -> None:
    assert set(DOCUMENTS) == {port.listener for port in PORTS}
    assert set(DOCUMENTS) == {"render", "tts", "stt", "stt_second", "page", "legacy"}


@pytest.mark.parametrize("listener", DOCUMENTS)
def test_a_document_is_valid_openapi(listener: str) -> None:
    openapi_spec_validator.validate(DOCUMENTS[listener], cls=openapi_spec_validator.OpenAPIV31SpecValidator)


@pytest.mark.parametrize("listener", DOCUMENTS)
def test_a_document_has_one_name_for_each_operation_and_no_schema_that_nothing_uses(listener: str) -> None:
    document = DOCUMENTS[listener]
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text


def test_answers_tell_what_is_always_there_and_requests_what_is_needed() -> None:
    schemas = DOCUMENTS["render"]["components"]["schemas"]
    # Envoy prints every value, and a message only where there is one.
    assert "display_name" in schemas["render.v1.Avatar"]["required"]
    assert "create_time" not in schemas["render.v1.Avatar"]["required"]
    assert schemas["render.v1.Avatar-Input"]["required"] == ["portrait", "consent"]
    assert "landmarks" not in schemas["render.v1.Avatar-Input"]["properties"]


def test_a_path_holds_one_variable_for_each_part_of_a_name_and_the_body_the_rest() -> None:
    say = DOCUMENTS["legacy"]["paths"]["/v1/conversations/{conversation}:say"]["post"]
    assert [(one["name"], one["in"]) for one in say["parameters"]] == [("conversation", "path")]
    body = DOCUMENTS["legacy"]["components"]["schemas"]["conversation.v1.SayRequest-Input"]
    assert list(body["properties"]) == ["text", "utterance_id", "expression"]


def test_fields_of_messages_are_told_by_dotted_names_in_the_address() -> None:
    still = DOCUMENTS["render"]["paths"]["/v1/avatars/{avatar}:renderStill"]["get"]
    names = [one["name"] for one in still["parameters"] if one["in"] == "query"]
    assert names == [
        "expression.kind",
        "expression.intensity",
        "viseme",
        "gaze.yaw_degrees",
        "gaze.pitch_degrees",
        "size",
    ]
