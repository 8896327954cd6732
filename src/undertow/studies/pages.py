"""What the pages of all studies have in common: the table of claims, how the page was made, what `--quick` means."""

from collections.abc import Mapping
from typing import Any

from undertow.render.page import Prose, Section, Table, Verdict

Results = Mapping[str, Any]


def claims_section(results: Results, who: str, said: str) -> Section:
    """Every claim beside what was measured on this run.

    Args:
        results: with their ``claims`` judged.
        who: heads the column of claims: "the paper says".
        said: what the claims are, in a sentence.
    """
    rows = [[str(c["id"]), c["text"], c["measured"] + ".", Verdict(c["holds"])] for c in results["claims"]]
    return Section(
        "claims",
        "Claim by claim",
        [
            Prose(said),
            Table(["", who, "measured here", "holds"], rows, id="claim-table", caption="The claims", stacked=True),
        ],
    )


def counted(results: Results, holds: str) -> int:
    """How many claims hold so far.

    Example:
        >>> counted({"claims": [{"holds": "yes"}, {"holds": "no"}]}, "yes")
        1
    """
    return sum(claim["holds"] == holds for claim in results["claims"])


def taste(results: Results) -> str:
    """What a page says first where it is only a taste.

    Example:
        >>> taste({"quick": False})
        ''
    """
    if not results["quick"]:
        return ""
    return (
        f"**This is a quick taste** of `undertow study {results['study']}`: smaller networks, fewer of them and far "
        "less training. Run it without `--quick` for the real thing; here a claim may fail for that alone.\n\n"
    )


def made_from(results: Results, **more: str) -> dict[str, str]:
    """How a page was made, for its end: data, seed, versions, machine."""
    environment = results["environment"]
    return {
        "data": f"{results['data']['name']}, sha256 {results['data']['sha256'][:16]}",
        **{name.replace("_", " "): value for name, value in more.items()},
        "seed": str(results["seed"]),
        "undertow": environment["undertow"],
        "torch": environment["torch"],
        "numpy": environment["numpy"],
        "machine": f"{environment['machine']}, {environment['processors']} processors",
    }
