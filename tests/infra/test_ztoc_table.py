"""The table of zTOCs, and who may use it."""

from __future__ import annotations

import json

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
    assert "PointInTimeRecoverySpecification" not in properties, "nothing in it is worth a backup"


@pytest.mark.parametrize(
    ("context", "encryption"),
    [
        ({}, {"SSEEnabled": False}),
        (EVERYTHING, {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN}),
    ],
    ids=["DynamoDB's own key", "chosen key"],
)
def test_the_table_is_encrypted_with_the_key_of_dynamodb_or_the_chosen_one(context, encryption):
    assert table(context)["SSESpecification"] == encryption


def test_the_table_and_the_key_of_its_macs_go_with_the_stack():
    template = template_of({})
    (key,) = resources(template, "AWS::KMS::Key")

    assert {template["Resources"][name]["DeletionPolicy"] for name in ("ZtocTable", key)} == {"Delete"}


@pytest.mark.parametrize("context", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_key_makes_macs_and_nothing_else(context):
    (key,) = resources(template_of(context), "AWS::KMS::Key").values()

    assert (key["KeySpec"], key["KeyUsage"]) == ("HMAC_256", "GENERATE_VERIFY_MAC")
    assert "EnableKeyRotation" not in key, "keys for MACs cannot be rotated"


@pytest.mark.parametrize("context", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_one_function_makes_and_checks_macs_and_no_policy_of_the_account_can_let_another(context):
    template = template_of(context)
    (key,) = resources(template, "AWS::KMS::Key").values()
    may = {
        (json.dumps(statement["Principal"]["AWS"]), action)
        for statement in key["KeyPolicy"]["Statement"]
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
    }
    macs = {(who, action) for who, action in may if "Mac" in action}

    assert {action for _, action in macs} == {"kms:GenerateMac", "kms:VerifyMac"}
    assert all("IndexLayerRole" in who for who, _ in macs)
    assert len(macs) == 2
    assert not [action for _, action in may if "*" in action]
    assert not [action for _, action in may if "Grant" in action], "a grant would let another"
    assert "kms:PutKeyPolicy" in {action for _, action in may}, "else nobody could manage the key"


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


def test_the_function_is_told_the_table_and_the_key():
    functions = resources(template_of({}), "AWS::Lambda::Function")
    (key,) = resources(template_of({}), "AWS::KMS::Key")
    told = {
        name: {
            variable: value
            for variable, value in function["Environment"]["Variables"].items()
            if variable.startswith("SOCI_ZTOC_")
        }
        for name, function in functions.items()
    }

    assert told.pop("IndexLayer") == {
        "SOCI_ZTOC_TABLE": {"Ref": "ZtocTable"},
        "SOCI_ZTOC_MAC_KEY": {"Fn::GetAtt": [key, "Arn"]},
    }
    assert not any(told.values())
