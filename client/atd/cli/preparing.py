"""What commands about recipes show: what a recipe will do, whose it is, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atd.cli import output
from atd.cli.bar import Bar, Moment
from atd.cli.questions import confirm
from atd.recipes import agreements
from atd.recipes.engine import Event
from atd.recipes.planning import Plan
from atd.recipes.prepare import Progress
from atd.settings import Settings


def show_plan(one: Plan, settings: Settings, to: Callable[[str], None] = output.note) -> None:
    """What preparing ``one`` means: whose it is, whom it asks, how much comes."""
    origin, recipe = one.origin, one.recipe
    to(output.clean(f"{one.choice}: {recipe.title}" if recipe.title else str(one.choice)))
    rows = []
    if origin is not None:
        rows.append(("signed by", f"{origin.who} ({origin.did}), proved at rev {origin.rev}"))
        rows.append(("recipe", f"{origin.uri} {origin.cid}"))
    size = one.download_bytes
    count = sum(1 for resource in recipe.resources.values() if resource.is_download)
    amount = "of sizes that are not declared" if size is None else output.human_bytes(size)
    rows.append(("downloads", f"{output.plural(count, 'file')}, {amount}"))
    rows.append(("hosts", ", ".join(one.hosts(settings)) or "none"))
    folders = [r.key for r in recipe.resources.values() if r.kind == "folder"]
    if folders:
        rows.append(("folders", f"{', '.join(map(str, folders))}: you say where they are"))
    if recipe.license:
        rows.append(("licence", recipe.license))
    for name, text in rows:
        to(f"  {name:<9} {output.clean(text)}")


def agree(one: Plan, settings: Settings, yes: bool) -> None:
    """Show what has to be agreed to and record the answers, before anything is fetched."""
    if one.origin is not None and not agreements.trusted(one.origin, settings):
        show_plan(one, settings)
        if not _asked(f"Prepare the recipe of {output.clean(one.origin.who)}?", yes):
            raise agreements.must_trust(one.origin)
        agreements.trust(one.origin, settings)
    if agreements.agreed(one.recipe, settings):
        return
    output.note(f"{one.recipe.name} asks for your agreement:")
    output.note("")
    output.note(output.clean_lines(one.recipe.agreement))
    output.note("")
    if not _asked(f"Do you agree, for {one.recipe.name}?", yes):
        raise agreements.must_agree(one.recipe)
    agreements.agree(one.recipe, settings)


def _asked(question: str, yes: bool) -> bool:
    return yes or confirm(question, without_terminal="nothing was downloaded")


@contextmanager
def bars() -> Iterator[Progress]:
    """A progress line on stderr for all resources together."""
    latest: dict[str, Event] = {}
    with Bar() as bar:

        def show(event: Event) -> None:
            latest[event.resource] = event
            same = [one for one in latest.values() if one.what == event.what]
            total = sum(one.total or 0 for one in same)
            known = all(one.total is not None for one in same)
            bar.show(Moment(event.what, sum(one.done for one in same), total if known else 0))

        yield show
