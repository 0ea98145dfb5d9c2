"""Who may call the API, from where, how often: closed until a parameter opens it."""

from __future__ import annotations

import json
import re

import pytest
from deployment import Deployment, written

JWT = {
    "Authorization": "JWT",
    "JwtIssuer": "https://idp.example.com/pool",
    "JwtAudience": "web,mobile",
}


def routes(deployment: Deployment) -> dict[str, str]:
    """Return the authorization of each route, by its key."""
    found = deployment.of_type("AWS::ApiGatewayV2::Route").values()
    return {route["RouteKey"]: route["AuthorizationType"] for route in found}


def test_the_api_is_closed_by_default() -> None:
    """Without a parameter, every request has to be signed by somebody whom IAM allows it."""
    assert routes(Deployment()) == {"$default": "AWS_IAM"}


def test_a_token_opens_the_api_when_asked_for() -> None:
    """With Authorization=JWT, requests need a token of the issuer for one of the audiences."""
    deployment = Deployment(**JWT)

    ((name, authorizer),) = deployment.of_type("AWS::ApiGatewayV2::Authorizer").items()

    assert routes(deployment) == {"$default": "JWT"}
    (route,) = deployment.of_type("AWS::ApiGatewayV2::Route").values()
    assert route["AuthorizerId"] == {"Ref": name}
    assert authorizer["JwtConfiguration"] == {
        "Issuer": "https://idp.example.com/pool",
        "Audience": ["web", "mobile"],
    }
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]


@pytest.mark.parametrize("missing", ["JwtIssuer", "JwtAudience"])
def test_a_token_needs_an_issuer_and_an_audience(missing: str) -> None:
    """CloudFormation refuses a JWT authorizer that could not tell one token from another."""
    with pytest.raises(AssertionError, match=f"Authorization=JWT needs {missing}"):
        Deployment(**{**JWT, missing: ""})


def test_everybody_may_call_only_when_it_is_said() -> None:
    """Authorization=NONE opens the API, and no other value does."""
    assert routes(Deployment(Authorization="NONE")) == {"$default": "NONE"}
    assert written()["Parameters"]["Authorization"]["AllowedValues"] == ["AWS_IAM", "JWT", "NONE"]


@pytest.mark.parametrize("authorization", ["AWS_IAM", "JWT"])
def test_health_is_open_by_a_parameter_alone(authorization: str) -> None:
    """PublicHealth=true lets GET /health through without a signature, and nothing beside it."""
    deployment = Deployment(**{**JWT, "Authorization": authorization}, PublicHealth="true")

    assert routes(deployment) == {"$default": authorization, "GET /health": "NONE"}


def test_other_origins_are_shut_out_by_default() -> None:
    """Without a parameter, no page of another origin may call the API."""
    deployment = Deployment()
    (api,) = deployment.of_type("AWS::ApiGatewayV2::Api").values()
    (bucket,) = deployment.of_type("AWS::S3::Bucket").values()

    assert "CorsConfiguration" not in api
    assert "CorsConfiguration" not in bucket


def test_named_origins_may_call() -> None:
    """Pages of the named origins may call, read where a task is, and ask first without a token."""
    deployment = Deployment(**JWT, CorsAllowOrigins="https://a.example.com,https://b.example.com")

    (api,) = deployment.of_type("AWS::ApiGatewayV2::Api").values()

    cors = api["CorsConfiguration"]
    assert cors["AllowOrigins"] == ["https://a.example.com", "https://b.example.com"]
    assert cors["AllowMethods"] == ["GET", "POST"]
    assert {"authorization", "content-type", "idempotency-key"} == set(cors["AllowHeaders"])
    assert {"location", "link", "retry-after"} == set(cors["ExposeHeaders"])
    assert "AllowCredentials" not in cors
    assert routes(deployment) == {"$default": "JWT", "OPTIONS /{proxy+}": "NONE"}


def test_named_origins_may_upload() -> None:
    """Their pages may PUT to a URL that POST /uploads has signed, and do nothing else."""
    deployment = Deployment(CorsAllowOrigins="https://a.example.com,https://b.example.com")

    (bucket,) = deployment.of_type("AWS::S3::Bucket").values()

    (rule,) = bucket["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedOrigins"] == ["https://a.example.com", "https://b.example.com"]
    assert rule["AllowedMethods"] == ["PUT"]
    # Browsers set the length by themselves, and ask nobody.
    assert rule["AllowedHeaders"] == ["content-type"]


@pytest.mark.parametrize("origins", ["example.com", "https://a.example.com, https://b", "https://"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    """An origin without a scheme, or a space, would only match nothing."""
    pattern = written()["Parameters"]["CorsAllowOrigins"]["AllowedPattern"]

    assert not re.search(pattern, origins)


def test_requests_are_throttled() -> None:
    """Rate and burst are those of the parameters, for every route."""
    (stage,) = (
        Deployment(ThrottlingRate="7", ThrottlingBurst="9")
        .of_type("AWS::ApiGatewayV2::Stage")
        .values()
    )

    assert stage["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": "7",
        "ThrottlingBurstLimit": "9",
    }
    assert "RouteSettings" not in stage


def test_every_request_leaves_a_line_in_the_access_log() -> None:
    """The line is JSON, and names the request id under which the log in S3 has its records."""
    deployment = Deployment()
    (stage,) = deployment.of_type("AWS::ApiGatewayV2::Stage").values()

    settings = stage["AccessLogSettings"]

    (group,) = (key for key in deployment.of_type("AWS::Logs::LogGroup") if "Access" in key)
    assert settings["DestinationArn"] == {"Fn::GetAtt": [group, "Arn"]}
    # API Gateway refuses a format of more than one line.
    assert "\n" not in settings["Format"].strip()
    line = json.loads(settings["Format"])
    assert line["function_request_id"] == "$context.integration.requestId"
    assert {"ip", "method", "path", "status", "caller", "error", "authorizer_error"} <= line.keys()


def test_every_route_ends_at_the_function() -> None:
    """The routes are written in app/ and nowhere else: each here hands over the whole request."""
    deployment = Deployment(**JWT, PublicHealth="true", CorsAllowOrigins="*")
    ((name, integration),) = deployment.of_type("AWS::ApiGatewayV2::Integration").items()

    for route in deployment.of_type("AWS::ApiGatewayV2::Route").values():
        assert route["Target"] == {"Fn::Sub": f"integrations/${{{name}}}"}
    assert integration["IntegrationType"] == "AWS_PROXY"
    assert integration["PayloadFormatVersion"] == "2.0"
    assert integration["IntegrationUri"] == {"Fn::GetAtt": ["ApiFunction", "Arn"]}


def test_only_this_api_may_invoke_the_function() -> None:
    """API Gateway may invoke the function in this API's name."""
    (permission,) = Deployment().of_type("AWS::Lambda::Permission").values()

    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["FunctionName"] == {"Ref": "ApiFunction"}
    assert permission["SourceArn"]["Fn::Sub"].endswith(":${HttpApi}/*")
