"""Predict whether Fargate loads the containers of an ECS task lazily, and say why not."""
