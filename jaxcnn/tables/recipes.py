"""The table of recipes in docs/recipes.md."""

from collections.abc import Iterable, Iterator

from jaxcnn.config import TrainConfig


def published_errors(config: TrainConfig) -> str:
    """Returns the top-1 and top-5 error published for a recipe, in percent, as ``23.87 / 7.138``.

    A figure that its source does not give is ``?``; where nothing is published, the text is empty.
    """
    published = config.published
    if not published.source:
        return ""
    return " / ".join("?" if error is None else f"{error:g}" for error in (published.top1_error, published.top5_error))


def recipe_lines(recipes: Iterable[TrainConfig]) -> Iterator[str]:
    """Yields a Markdown table: what each recipe trains, for how long, and the error published for it."""
    yield "| recipe | network | batch | epochs | published top-1 / top-5 error, % | measured on |"
    yield "| --- | --- | ---: | ---: | ---: | --- |"
    for config in recipes:
        published = config.published
        where = f"{published.protocol}; {published.source}" if published.source else ""
        yield (
            f"| `{config.name}` | `{config.model.name}` | {config.data.batch_size} | {config.epochs:.4g} | "
            f"{published_errors(config)} | {where} |"
        )
