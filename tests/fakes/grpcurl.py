"""Reads the command lines of grpcurl and makes their calls, since grpcurl itself is in no package that tests install.

It takes only the options that our documents use, knows the contract from reflection as grpcurl does, and ends with 64
plus the gRPC code where a call fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grpcurl", allow_abbrev=False)
    # grpcurl's options have one dash.
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-d", dest="data", default="{}", help="JSON of the request; @ reads several from the input")
    parser.add_argument("-max-time", type=float)
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("address")
    parser.add_argument("target", help="list, or package.Service/Method")
    return parser


def _objects(text: str) -> Iterator[Any]:
    """JSON values, one after the other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]


def _call(channel: grpc.Channel, method: MethodDescriptor, given: argparse.Namespace) -> Iterator[Any]:
    request_type = message_factory.GetMessageClass(method.input_type)
    data = sys.stdin.read() if given.data == "@" else given.data
    # A member that the contract does not know is an error here, as in grpcurl.
    requests = [json_format.ParseDict(one, request_type()) for one in _objects(data)]
    kind = "_".join("stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming))
    call = getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_type.SerializeToString,
        message_factory.GetMessageClass(method.output_type).FromString,
    )
    metadata = [tuple(header.split(": ", 1)) for header in given.headers]
    if not method.client_streaming:
        assert len(requests) == 1, "this method takes one request"
    answer = call(iter(requests) if method.client_streaming else requests[0], metadata=metadata, timeout=given.max_time)
    yield from answer if method.server_streaming else [answer]


def main() -> None:
    given = _parser().parse_args()
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(given.address, options) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        if given.target == "list":
            print(*sorted(database.get_services()), sep="\n")
            return
        service, _, name = given.target.partition("/")
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName(service).methods_by_name[name]
        try:
            for answer in _call(channel, method, given):
                print(json_format.MessageToJson(answer, descriptor_pool=pool), flush=True)
        except grpc.RpcError as error:
            # The limit that the command line set is no failure of the call.
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or given.max_time is None:
                print(f"ERROR:\n  Code: {error.code().name}\n  Message: {error.details()}", file=sys.stderr)
                sys.exit(64 + error.code().value[0])


if __name__ == "__main__":
    main()
