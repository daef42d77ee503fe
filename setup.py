"""Adds the recipes of configs/ to the package, as jaxcnn/configs; pyproject.toml says everything else."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["jaxcnn*"]), "jaxcnn.configs"],
    package_dir={"jaxcnn.configs": "configs"},
)
