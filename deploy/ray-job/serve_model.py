"""Put a model on the local disk of every node, then serve it with Ray Serve.

    ray job submit --working-dir . --runtime-env-json '{"pip": ["castray-desktop"]}' \
        -- python serve_model.py /shared/models/llama /scratch/models

The job runs on the head. It reads the shared file system once, and the relay chain carries the model to the
other nodes, so that each replica loads it from its own disk. A node that joins later needs the model before a
replica starts there: run the job again, which sends only what is missing.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import ray
from ray import serve

from castray_desktop import connect


@serve.deployment(ray_actor_options={"num_cpus": 1}, max_replicas_per_node=1)
class Model:
    """One replica. Replace the constructor by that of your engine, such as `vllm.LLM(model=str(folder))`."""

    def __init__(self, folder: Path) -> None:
        self.digest = hashlib.sha256()
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.digest.update(file.read_bytes())

    def __call__(self) -> str:
        return f"{ray.util.get_node_ip_address()} {self.digest.hexdigest()}"


def distribute(source: Path, destination: Path) -> Path:
    """Copy `source` to `destination` on this node, and send it to all others. Returns the model's folder."""
    folder = destination / source.name
    shutil.copytree(source, folder, dirs_exist_ok=True)
    with connect(progress=False) as cluster:
        if len(cluster.nodes()) == 1:
            return folder
        result = cluster.send(folder, to="all", dest=destination, on_conflict="overwrite")
    for delivery in result.deliveries:
        print(delivery.node, delivery.state, delivery.reason or "")
    if not result.delivered:
        raise SystemExit("The model is not on all nodes.")
    return folder


def main() -> None:
    ray.init()
    folder = distribute(Path(sys.argv[1]), Path(sys.argv[2]))
    nodes = sum(node["Alive"] for node in ray.nodes())
    model = serve.run(Model.options(num_replicas=nodes).bind(folder))
    answers = {model.remote().result() for _ in range(20 * nodes)}
    print(*sorted(answers), sep="\n")


if __name__ == "__main__":
    main()
