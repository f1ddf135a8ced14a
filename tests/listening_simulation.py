"""Whether the statistics of listening tests keep their word: `python -m tests.listening_simulation [runs=200]`.

Simulated raters of a known model; printed are how often an interval of a mean holds the true one (each at 95 %), how
often all intervals of differences do (together at 95 %), how often equal systems are ranked, and how often a difference
is found.
"""

import sys

from supervisors.listening.statistics import opinions, supported
from tests.test_listening_statistics import simulated

DESIGNS = {
    "8 raters, 6 clips": {"raters": 8, "clips": 6},
    "16 raters, 12 clips": {"raters": 16, "clips": 12},
    "24 raters, 8 clips": {"raters": 24, "clips": 8},
}
TRUE = (3.0, 3.0, 3.6)


def main(words: list[str]) -> None:
    """Prints the table."""
    runs = int(dict(word.split("=") for word in words).get("runs", 200))
    print("| design | runs | means covered | all differences covered | equal systems ranked | 0.6 apart: told apart |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, sizes in DESIGNS.items():
        means = covered = ranked = told = 0
        for seed in range(runs):
            found = opinions(simulated(seed, TRUE, **sizes))
            truth = {f"s{i}": mean for i, mean in enumerate(TRUE)}
            means += sum(mean.low <= truth[mean.name] <= mean.high for mean in found.means)
            covered += all(d.low <= truth[a] - truth[b] <= d.high for a, b, d in found.differences)
            better = supported(found)
            ranked += ("s0", "s1") in better or ("s1", "s0") in better
            told += ("s2", "s0") in better
        shares = (means / len(TRUE), covered, ranked, told)
        print(f"| {name} | {runs} | " + " | ".join(f"{count / runs:.1%}" for count in shares) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
