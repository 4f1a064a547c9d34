"""The table of zTOCs, and who may use it."""

from __future__ import annotations

import pytest

from tests.infra.stacks import EVERYTHING, KEY_ARN, as_list, resources, statements, template_of

ROWS = {"dynamodb:GetItem", "dynamodb:UpdateItem"}


def table(context):
    ((name, properties),) = resources(template_of(context), "AWS::DynamoDB::Table").items()
    assert name == "ZtocTable"
    return properties


def test_rows_are_found_by_layer_and_settings_and_forgotten_when_nobody_uses_them():
    properties = table({})

    assert [(key["AttributeName"], key["KeyType"]) for key in properties["KeySchema"]] == [
        ("layer", "HASH"),
        ("settings", "RANGE"),
    ]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


@pytest.mark.parametrize(
    ("context", "encryption"),
    [
        ({}, {"SSEEnabled": True}),
        (EVERYTHING, {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN}),
    ],
    ids=["key of AWS", "chosen key"],
)
def test_the_table_is_encrypted(context, encryption):
    assert table(context)["SSESpecification"] == encryption


def test_the_table_goes_with_the_stack():
    assert template_of({})["Resources"]["ZtocTable"]["DeletionPolicy"] == "Delete"


def test_one_function_reads_and_writes_rows_and_no_other_role_may():
    allowed = [
        (name, action, resource)
        for name, statement in statements(template_of({}))
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if action.startswith("dynamodb:")
    ]

    assert {action for _, action, _ in allowed} == ROWS
    assert all("IndexLayerRole" in name for name, _, _ in allowed)
    assert all(resource == {"Fn::GetAtt": ["ZtocTable", "Arn"]} for _, _, resource in allowed)


def test_the_function_is_told_the_tables_name():
    functions = resources(template_of({}), "AWS::Lambda::Function")
    told = {
        name: function["Environment"]["Variables"].get("SOCI_ZTOC_TABLE")
        for name, function in functions.items()
    }

    assert told["IndexLayer"] == {"Ref": "ZtocTable"}
    assert [name for name, table_name in told.items() if table_name] == ["IndexLayer"]
